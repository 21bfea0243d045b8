"""`unsl rescale`: rounds that are blind tests, whenever they are called and wherever they were stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rehearsal import make_study, write_study

from pipeline import Growth, PipelineError, Split, cli
from pipeline.forecasts import Ledger
from pipeline.plan import Accounts, Budget, make_plan
from pipeline.report import round_facts
from pipeline.rescale import Terms, begin, beyond_the_grid, growth_of, look
from pipeline.rescale import rounds as rounds_module
from pipeline.store import Store, Writer
from pipeline.study import NEWEST_ROUND
from pipeline.verbs import show_rounds

ROOT = Path(__file__).parents[3]
TARGET = "parameters=1e5, dataset_size=1e5, step=512"
INLINE = ("--executor", "inline", "--wandb", "off")


def growing(**growth):
    settings = {"axes": {"parameters": 2, "dataset_size": 2}, "target": TARGET, "budget": "1cpu-hours", **growth}
    return make_study(split=Split(held_out=NEWEST_ROUND), laws=("m2", "cf"), growth=Growth(**settings))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A person's folder with a study that grows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    write_study(tmp_path, growing())
    return tmp_path


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """The store of a study whose grid is measured and which has grown by one round."""
    folder = tmp_path_factory.mktemp("once")
    path = write_study(folder, growing())
    path.write_text('"""Does it grow?"""\n' + path.read_text())
    before = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(2):
            assert cli.main(["rescale", "rehearsal", "--store", "runs", *INLINE]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def grown(once, here, monkeypatch):
    """A copy of it, to be changed; reports are no more than begun, since they have tests of their own."""
    shutil.copytree(once / "runs", here / "runs")
    monkeypatch.setattr("pipeline.verbs.report.make_report", lambda study, store, path, asked: Path(path).touch())
    return here


def store() -> Store:
    return Store("runs", "rehearsal")


def rescale(*options: str) -> int:
    return cli.main(["rescale", "rehearsal", *INLINE, *options])


def facts(capsys, *options: str):
    capsys.readouterr()
    assert rescale("--json", *options) == 0
    return json.loads(capsys.readouterr().out)


def test_the_grid_first_then_a_round_that_is_a_blind_test(once):
    kept = Store(str(once / "runs"), "rehearsal")
    (one,) = kept.rounds()
    assert one.closed["done"] == len(one.cells) > 0 and one.reported and not one.closed["left"]
    study = kept.grown(growing())
    own = {cell.id for cell in study.build(one.cells)}
    entries = Ledger(kept.folder).entries()
    (forecast,) = [entry for entry in entries if "cell" in entry.targets]
    assert set(forecast.targets["cell"]) == own and all(forecast.blind)
    assert forecast.rows == 48, "everything measured before is fitted"
    assert Ledger(kept.folder).verify(kept.records()) == []
    scores = {row["law"]: row for row in one.closed["scores"]}
    assert scores.keys() == {"m2", "cf"} and scores["cf"]["forecasts"] == 6 * len(own)
    assert one.facts["knowledge"]["rows"] == 48 and one.closed["knowledge"]["rows"] == 48 + 6 * len(own)
    assert (once / "runs/rehearsal/report.html").exists()


def test_the_target_is_in_the_ledger_as_often_as_it_was_foretold(once):
    kept = Store(str(once / "runs"), "rehearsal")
    at_target = [entry for entry in Ledger(kept.folder).entries() if "cell" not in entry.targets]
    assert [entry.rows for entry in at_target] == [48, 48 + 6 * len(kept.rounds()[0].cells)]


def test_grown_cells_are_planned_fitted_and_reported_like_any(grown, capsys):
    assert cli.main(["plan", "rehearsal", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    cells = len(store().rounds()[0].cells)
    assert plan["states"] == {"done": 8 + cells} and plan["left_behind"] == 0
    assert cli.main(["fit", "rehearsal", "--laws", "m2", "--json"]) == 0
    fit = json.loads(capsys.readouterr().out)
    assert (fit["rows_fit"], fit["rows_held_out"]) == (48, 6 * cells)
    assert fit["question_changes"] == []
    assert cli.main(["check", "rehearsal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blind"] == 2 * 6 * cells


def test_status_says_whether_a_round_is_open(grown, capsys):
    def status() -> tuple[int, bool]:
        capsys.readouterr()
        assert cli.main(["status", "rehearsal", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        return facts["rounds"], facts["round_is_open"]

    assert status() == (1, False)
    assert begin(growing(), store(), Terms.of(growing()), budget=Budget.parse("1cpu-hours")).number == 2
    assert status() == (2, True)


def test_of_a_round_that_is_under_way_nothing_is_known_yet(grown):
    (closed,) = store().rounds()
    (said,) = round_facts([closed, replace(closed, number=2, closed=None)])
    assert (said.number, said.fitted) == (1, 48) and said.held_out == 6 * len(closed.cells)
    assert said.coefficients[0].name == f"cf at {TARGET}" and said.error.value > 0


def test_what_a_round_adds_is_shown_in_the_values_of_its_axes(capsys):
    choices = [{"cost": 0.5, "half": 0.1}, {"cost": 1.0, "half": None}]
    known = {"targets": [], "laws": {}, "failed": {}}
    began = {"candidates": 9, "cost": 1.5, "budget": "2cpu-hours", "knowledge": known, "law": "cf", "after": None}
    cells = [
        {"width": 64, "learning_rate": 0.1 + 0.2, "architecture": "vit"},
        {"width": 128, "learning_rate": 0.001, "architecture": "resnet"},
    ]
    facts = {"round": 2, "cells": cells, "began": began | {"drift": None, "choices": choices, "unit": "cpu-hours"}}
    show_rounds.begun(facts)
    out = capsys.readouterr().out
    assert "round 2 adds 2 of the 9 cells that the study could grow by, for 1.5 of 2cpu-hours" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["64", "0.3", "vit", "0.5", "±10.5%"] in rows and ["128", "0.001", "resnet", "1", "-"] in rows


def test_after_the_next_round_the_last_one_is_fitted(grown, capsys):
    said = facts(capsys)
    (two,) = said["rounds"]
    assert two["round"] == 2 and said["state"] == "closed"
    first, second = store().rounds()
    assert second.facts["knowledge"]["rows"] == 48 + 6 * len(first.cells)
    assert not [cell for cell in second.cells if cell in first.cells]
    study = store().grown(growing())
    held_out = {cell.id for cell in study.cells if study.planned_points(cell).held_out}
    assert held_out == {cell.id for cell in study.build(second.cells)}
    assert second.closed["drift"]["drifts"]
    (asked,) = store().questions()
    assert asked.question["split"] == NEWEST_ROUND, "the question that was recorded is still the one that is asked"


def test_nothing_is_due(grown, capsys):
    said = facts(capsys, "--every", "7d")
    assert (said["state"], said["rounds"]) == ("nothing is due", [])
    assert len(store().rounds()) == 1


def test_an_idle_call_starts_no_ray_and_no_torch(grown):
    program = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]; from pipeline.cli import main; "
        "code = main(['rescale', 'rehearsal', '--every', '7d']); "
        "slow = {'torch', 'ray', 'wandb', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'loaded {slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=grown)
    assert done.returncode == 0, done.stderr
    assert "nothing is due" in done.stdout


def test_a_call_beside_another_says_so_and_ends_well(grown, capsys):
    with Writer.open(store()):
        assert rescale() == 0
    assert "nothing to do here: another driver is running this study" in capsys.readouterr().out
    assert len(store().rounds()) == 1


def test_a_round_whose_report_was_not_written_gets_it(grown, capsys):
    os.remove(grown / "runs/rehearsal/rounds/0001-reported.json")
    os.remove(grown / "runs/rehearsal/report.html")
    assert rescale("--every", "7d") == 0
    assert store().rounds()[0].reported and (grown / "runs/rehearsal/report.html").exists()
    assert len(store().rounds()) == 1


def open_round(**terms):
    """Begin a round as a call does that is killed right after."""
    kept = store()
    study = kept.grown(growing())
    asked = Terms.of(study, **terms)
    with Writer.open(kept):
        return begin(study, kept, asked, budget=Budget.parse(asked.budget))


def test_a_round_that_was_stopped_is_gone_on_with_and_no_other_begun(grown, capsys):
    begun = open_round()
    said = facts(capsys)
    assert [one["round"] for one in said["rounds"]] == [2] and said["rounds"][0]["cells"] == list(begun.cells)
    assert len(store().rounds()) == 2 and store().rounds()[1].closed["done"] == len(begun.cells)


def test_a_round_that_was_measured_and_not_closed_is_closed_and_not_run_again(grown, capsys):
    open_round()
    assert cli.main(["run", "rehearsal", *INLINE]) == 0
    entries, spent = len(Ledger(store().folder).entries()), Accounts.read(store().folder).held
    said = facts(capsys)
    assert said["rounds"][0]["closed"]["scores"], "what `unsl run` has forecast counts"
    assert Accounts.read(store().folder).held == spent
    cells = [entry for entry in Ledger(store().folder).entries()[entries:] if "cell" in entry.targets]
    assert cells == [], "no forecast is written twice"


def test_of_two_that_begin_one_round_one_gives_way(grown, monkeypatch):
    kept = store()
    study = kept.grown(growing())
    terms = Terms.of(study)
    begin(study, kept, terms, budget=Budget.parse(terms.budget))
    known = kept.rounds()
    monkeypatch.setattr(Store, "rounds", lambda self: known[:-1])
    with pytest.raises(PipelineError, match="somebody else has begun round 2"):
        begin(study, kept, terms, budget=Budget.parse(terms.budget))


def test_a_budget_that_is_used_up_leaves_cells_for_another_round(grown, capsys):
    """As where throughput was overestimated: they are left, the round is closed, and they may be chosen again."""
    begun = open_round()
    spent = Accounts.read(store().folder).held["cpu"] / 3600
    path = grown / "runs/rehearsal/rounds/0002.json"
    value = json.loads(path.read_text())
    value["facts"]["budget"] = f"{1e-9:.12f}cpu-hours"
    path.write_text(json.dumps(value))
    assert rescale() == 1
    closed = store().rounds()[1].closed
    assert len(closed["left"]) > 0 and closed["done"] + len(closed["left"]) == len(begun.cells)
    assert Accounts.read(store().folder).held["cpu"] / 3600 >= spent
    assert len(store().grown(growing()).cells) == 8 + len(store().rounds()[0].cells) + closed["done"]
    capsys.readouterr()
    again = facts(capsys)["rounds"][0]["cells"]
    assert [cell for cell in again if cell in closed["left"]]


def test_a_round_that_cannot_be_afforded_says_what_is_missing(grown, capsys):
    assert rescale("--budget", "0.00000000001cpu-hours") == 2
    said = capsys.readouterr().err
    assert "the cheapest of the" in said and "are missing" in said and said.count("\n") == 1
    assert len(store().rounds()) == 1


def test_a_grid_that_cannot_be_afforded_says_what_is_missing(here, capsys):
    assert rescale("--budget", "0.00000000001cpu-hours") == 2
    assert "8 cells of the grid are to be run first" in capsys.readouterr().err
    assert store().records() == {}


def test_a_round_takes_no_more_than_its_budget_covers(grown):
    study = store().grown(growing())
    made = make_plan(study, store())
    seconds = sorted(made.throughput.seconds(one.cell) for one in beyond_the_grid(study))
    budget = f"{sum(seconds[:3]) / 3600:.18f}cpu-hours"
    one = open_round(budget=budget)
    assert 0 < len(one.cells) < one.facts["candidates"] == len(seconds)
    assert one.facts["cost"] <= float(budget.removesuffix("cpu-hours")) and one.facts["budget"] == budget


def test_the_rule_may_be_the_whole_grid(grown, capsys):
    write_study(grown, growing(rule="grid"))
    (one,) = facts(capsys)["rounds"]
    assert len(one["cells"]) == one["began"]["candidates"]
    assert one["began"]["after"] is None


def test_growth_is_over_when_its_rule_says_so(grown, capsys):
    write_study(grown, growing(until="rounds >= 1"))
    said = facts(capsys)
    assert said["state"] == "nothing is due" and said["why"] == "rounds >= 1 holds after 1 rounds"
    write_study(grown, growing(until="interval <= 0.001%"))
    assert facts(capsys)["rounds"], "which does not hold"


def test_growth_that_reached_its_bounds_is_over(grown, capsys):
    kept = store().rounds()[0].cells
    most = max(cell["parameters"] for cell in kept), max(cell["dataset_size"] for cell in kept)
    study = make_study(
        split=Split(held_out=NEWEST_ROUND), laws=("m2", "cf"), growth=growing().growth,
        only=f"parameters <= {most[0]} and dataset_size <= {most[1]}",
    )  # fmt: skip
    write_study(grown, study)
    states = [facts(capsys)["state"] for _ in range(2)]
    assert states[-1] == "it has grown enough"


def test_the_calendar_may_ask_for_two_things_at_once(grown, capsys, monkeypatch):
    """The round of last week was stopped, and this week's is due: it is finished, and then the next is begun."""
    open_round()
    for number in (1, 2):
        path = grown / f"runs/rehearsal/rounds/000{number}.json"
        path.write_text(path.read_text().replace('"opened": "20', '"opened": "19'))
    said = facts(capsys, "--every", "7d")
    assert [one["round"] for one in said["rounds"]] == [2, 3]


def test_what_was_decided_earlier_stays_after_the_study_was_edited(grown, capsys):
    """A target that changed makes no drift, and the rounds' cells stay."""
    said = facts(capsys, "--target", "parameters=2e5, dataset_size=1e5, step=512")
    (two,) = said["rounds"]
    assert two["began"]["targets"] == ["parameters=2e5, dataset_size=1e5, step=512"]
    assert two["began"]["drift"] is None or not [one for one in two["began"]["drift"]["drifts"] if one["is_forecast"]]


def test_a_missing_round_is_named(grown, capsys):
    assert rescale() == 0
    os.remove(grown / "runs/rehearsal/rounds/0001.json")
    assert rescale() == 2
    assert "0001.json is missing" in capsys.readouterr().err


def test_a_damaged_round_is_named(grown, capsys):
    (grown / "runs/rehearsal/rounds/0001.json").write_text("{")
    assert rescale() == 2
    assert "rounds/0001.json is damaged" in capsys.readouterr().err


def test_a_study_that_does_not_grow_is_told_how(here, capsys):
    write_study(here, make_study())
    assert rescale() == 2
    assert "add growth=Growth(" in capsys.readouterr().err
    with pytest.raises(PipelineError):
        growth_of(make_study())


def test_looking_changes_nothing(grown):
    before = {path: path.read_bytes() for path in (grown / "runs").rglob("*") if path.is_file()}
    look(store().grown(growing()), store(), every=None, now=0.0)
    assert {path: path.read_bytes() for path in (grown / "runs").rglob("*") if path.is_file()} == before


def test_the_terminal_says_alarms_first(grown, capsys, monkeypatch):
    monkeypatch.setattr(rounds_module, "missed", lambda *facts: "everything ended beyond")
    assert rescale() == 0
    lines = capsys.readouterr().out.splitlines()
    closed = [line for line in lines if line.startswith(("ALARM", "round 2:"))]
    assert closed[0] == "ALARM: everything ended beyond" and closed[1].startswith("round 2:")
    assert store().rounds()[1].closed["alarms"] == ["everything ended beyond"]
    assert cli.main(["status", "rehearsal"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "ALARM: round 2: everything ended beyond" and said[2].startswith("round 2, begun 20")
    assert cli.main(["status", "rehearsal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["alarms"] == ["round 2: everything ended beyond"]


def test_a_report_shows_the_rounds_and_says_alarms(once):
    facts = json.loads((once / "runs/rehearsal/report.json").read_text())["facts"]
    (one,) = facts["rounds"]
    assert (one["number"], one["fitted"]) == (1, 48) and one["held_out"] > 0
    (said,) = one["coefficients"]
    assert said["name"] == f"cf at {TARGET}" and said["low"] < said["value"] < said["high"]
    (kept,) = Store(str(once / "runs"), "rehearsal").rounds()
    assert [f"round 1: {text}" for text in kept.closed["alarms"]] == facts.get("alarms", [])
    assert facts["question"] == "Does it grow?" and "Growth(" in facts["provenance"]["source"], "as its file says"
    assert not facts.get("running"), "it is written by the driver itself, when all has ended"
    assert facts["next"][0]["command"] == "unsl rescale rehearsal" and facts["next"][0]["what"] == "Begin round 2"
    assert one["cells"] == len(kept.cells) and one["spent"].endswith(f" of {kept.facts['budget']}")
    assert any(", grown to " in values for values in facts["provenance"]["axes"].values())
    columns = {tuple(row["target"]) for row in facts["ledger"]["foretold"]}
    assert len(columns) == 1, "of cells of one size too, whose column tells no two of them apart"
    page = (once / "runs/rehearsal/report.html").read_text()
    assert f"After round 1, <b>{said['value']:.4g}</b> is foretold by cf at {TARGET}, 90% between " in page
