"""Tasks: one fit each and one table over all, wherever laws are fitted, written down or shown."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest
from rehearsal import make_study, run_study, write_study

from fitting import Comparison, Rmsle
from pipeline import Axis, PipelineError, Split, cli
from pipeline.analysis import Question, Tasks, analyse, by_task, divide, task_name
from pipeline.forecasts import Ledger, check_ledger, forecast_held_out
from pipeline.store import SavedFit, Store
from pipeline.store.question import Asked

AXES = [*make_study().axes, Axis("irreducible", (0.1, 3.0))]
LOW, HIGH = "irreducible 0.1", "irreducible 3"


def make_tasked(**changes):
    """Two tasks of the oracle, one of whose floors is thirty times the other's: a law for both errs by a factor."""
    return make_study(**{"axes": AXES, "tasks": ("irreducible",), "seeds": (0, 1, 2), **changes})


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Store:
    store = Store(str(tmp_path_factory.mktemp("tasks") / "runs"), "rehearsal")
    run_study(make_tasked(), store)
    return store


def errors(facts: dict) -> list[float]:
    return [law["rmsle_held_out"] for one in facts["tasks"].values() for law in one["laws"]]


def test_each_task_has_its_own_fit(ran):
    facts = analyse(make_tasked(), ran.table()).to_json()
    assert list(facts["tasks"]) == [LOW, HIGH] and facts["task_columns"] == ["irreducible"]
    assert [(one["rows_fit"], one["rows_held_out"]) for one in facts["tasks"].values()] == [(36, 36)] * 2
    pooled = analyse(make_study(axes=AXES, seeds=(0, 1, 2)), ran.table()).to_json()["laws"][0]["rmsle_held_out"]
    assert max(errors(facts)) < 0.1 < 0.3 < pooled


def test_tasks_are_not_pooled_by_whoever_asks_for_one_table(ran):
    with pytest.raises(PipelineError, match=r"several tasks \(irreducible\)"):
        divide(make_tasked(), ran.table())


def scored(**held_out: float) -> list[Comparison]:
    score = {law: Rmsle(value=value, error=0.0, points=3) for law, value in held_out.items()}
    return [
        Comparison(law=law, fit=None, reason="", rmsle_fit=one, rmsle_held_out=one, seconds=0.0)
        for law, one in score.items()
    ]


def test_shares_of_tasks_won():
    rows = {"a": scored(m2=0.1, cf=0.2), "b": scored(m2=0.3, cf=0.2), "c": scored(m2=0.1, cf=0.1), "d": []}
    won = Tasks(columns=("family",), divided={}, comparisons=rows, left_out={}).won()
    assert won == pytest.approx({"m2": 0.5, "cf": 0.5})


def test_a_task_with_too_little_is_left_out_with_its_reason(ran):
    rows = ran.table()
    short = rows[(rows["irreducible"] == 0.1) | (rows["step"] > 256)]
    facts = analyse(make_tasked(split=Split(held_out="step > 256")), short).to_json()
    assert list(facts["tasks"]) == [LOW] and "at least 8 are needed" in facts["left_out"][HIGH]
    with pytest.raises(PipelineError, match="at least 8 are needed"):
        analyse(make_tasked(split=Split(held_out="step > 0")), rows)


def test_names_of_tasks():
    assert task_name({"architecture": "vit"}) == "vit"
    assert task_name({"digits": 3, "scratchpad": True}) == "digits 3, scratchpad"
    assert task_name({"digits": 3, "scratchpad": False}) == "digits 3, no scratchpad"


def test_a_row_of_no_task_is_refused():
    question = Question(about="runs.csv", metric=make_study().metric, inputs=("N",), tasks=("family",))
    rows = pandas.DataFrame({"N": [1.0, 2.0], "loss": [1.0, 2.0], "family": ["gpt", None]})
    with pytest.raises(PipelineError, match="column 'family' is empty in 1 rows"):
        by_task(question, rows)


@pytest.mark.parametrize(
    "tasks, message",
    [(("irreducble",), "task 'irreducble' is no field; did you mean 'irreducible'"), (("step",), "is no field")],
)
def test_a_study_whose_tasks_are_no_fields_is_refused(tasks, message):
    with pytest.raises(PipelineError, match=message):
        make_tasked(tasks=tasks).check()


def test_a_task_is_no_input():
    with pytest.raises(PipelineError, match="task 'parameters' is read by the laws too"):
        make_tasked(tasks=("parameters",)).check()


def test_the_question_holds_the_tasks_and_is_what_it_was_without():
    assert "tasks" not in Asked.by(make_study()).question
    assert Asked.by(make_tasked()).question["tasks"] == ["irreducible"]
    assert Asked.by(make_tasked()).digest != Asked.by(make_study(axes=AXES)).digest


def test_a_study_that_gets_tasks_too_late_says_so(store):
    run_study(make_study(axes=AXES), store)
    store.ask(make_study(axes=AXES))
    (said,) = store.question_changes(make_tasked())
    assert said.startswith("tasks changed since")


def test_a_forecast_is_that_of_its_task(ran, tmp_path):
    store = Store(str(tmp_path), "rehearsal")
    study = make_tasked(axes=[Axis("irreducible", (0.1, 3.0)), *make_study().axes])
    run_study(study, store, forecast=True)
    first, second = Ledger(store.folder).entries()
    assert [entry.question["task"] for entry in (first, second)] == [{"irreducible": 0.1}, {"irreducible": 3.0}]
    for entry in (first, second):
        assert set(entry.targets["irreducible"]) == set(entry.question["task"].values())
        assert entry.rows == 36 and all(entry.blind)
    assert np.median(first.laws[0].median) < 3 < np.median(second.laws[0].median)
    checked = check_ledger(store, store.table(), study=study).to_json()
    assert checked["laws"][0]["forecasts"] == 72 and checked["laws"][0]["rmsle"] < 0.1
    assert forecast_held_out(study, store) == (), "nothing is said twice"


def test_a_task_that_is_held_out_whole_is_said_to_be_foretold_by_nobody(store):
    study = make_tasked(split=Split(held_out="parameters > 2000 or irreducible > 1"))
    run_study(study, store, forecast=True)
    by_value = {entry.question["task"]["irreducible"]: entry for entry in Ledger(store.folder).entries()}
    assert by_value[0.1].laws and not by_value[3.0].laws and "no points yet" in by_value[3.0].failed["cf"]


@pytest.fixture
def here(ran, tmp_path, monkeypatch):
    """A folder with the study and a table of its points."""
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, make_tasked())
    monkeypatch.setenv("UNSL_STORE", ran.folder.path().rpartition("/")[0])
    ran.table().to_csv("points.csv", index=False)
    return tmp_path


TABLE = "fit points.csv --metric loss --inputs parameters,dataset_size,step --laws cf,m2 --tasks irreducible"


def test_fit_shows_one_table_over_all_tasks(here, capsys):
    assert cli.main([*TABLE.split(), "--held-out", "parameters > 2000", "--json", "out.json"]) == 0
    printed = capsys.readouterr().out
    assert LOW in printed and HIGH in printed and "won" in printed and "±" in printed
    brought = json.loads((here / "out.json").read_text())
    assert cli.main(["fit", "rehearsal", "--laws", "cf,m2", "--json", "out.json"]) == 0
    assert errors(json.loads((here / "out.json").read_text())) == pytest.approx(errors(brought), rel=0.2)
    assert sum(brought["won"].values()) == pytest.approx(1)


def test_report_and_what_w_and_b_gets_have_every_task(here, ran):
    assert cli.main(["report", "rehearsal", "--laws", "cf,m2", "--wandb", "off", "--out", "page.html"]) == 0
    page = (here / "page.html").read_text()
    assert "Wins over tasks" in page and f"<h3>{HIGH}</h3>" in page
    rows = SavedFit.load(ran.folder).rows
    assert [(row["task"], row["law"]) for row in rows] == [
        *((task, law) for task in (LOW, HIGH) for law in ("cf", "m2")),
        *(("all", law) for law in ("cf", "m2")),
    ]
    assert sum(row["won"] for row in rows[-2:]) == pytest.approx(1)


def test_a_named_target_is_forecast_by_its_task(here, capsys):
    at = "parameters=8000, dataset_size=8000, step=512, irreducible={}"
    assert cli.main(["forecast", "rehearsal", "--at", at.format(0.1), "--at", at.format(3), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["tasks"]
    medians = {name: one["targets"][0]["laws"]["cf"]["median"] for name, one in facts.items()}
    assert medians[LOW] < 3 < medians[HIGH]


SPEND = "allocate rehearsal --cost 6*parameters*dataset_size --budget 1e9 --fix step=512 --law cf --everything"


@pytest.mark.parametrize(
    "words, message",
    [
        ("forecast rehearsal --at parameters=8000,dataset_size=8000,step=512", "must say irreducible too"),
        (
            "forecast rehearsal --at parameters=8000,dataset_size=8000,step=512,irreducible=7",
            "of the task irreducible=7",
        ),
        (SPEND, f"several tasks, one fit each: --task takes one of {LOW}; {HIGH}"),
        (f"{SPEND} --task vit", f"no task 'vit': --task takes one of {LOW}"),
        (f"{TABLE} --tasks family", "no column 'family'"),
        ("fit rehearsal --tasks irreducible", "--tasks is for a table of your own"),
    ],
)
def test_what_is_asked_of_no_task_is_refused_in_words(here, capsys, words, message):
    assert cli.main(words.split()) == 2
    assert message in capsys.readouterr().err


def test_a_budget_is_spent_by_the_law_of_a_task(here, capsys):
    assert cli.main([*SPEND.split(), "--task", HIGH, "--json"]) == 0
    (optimum,) = json.loads(capsys.readouterr().out)["answers"][0]["optima"]
    assert optimum["metric"] > 3
