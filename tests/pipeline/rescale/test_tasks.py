"""Studies with tasks: one fit and one forecast a task, one budget over all."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from growing import GROWTH
from rehearsal import make_study, run_study, write_study

from fitting import design
from pipeline import Axis, PipelineError, Split, cli
from pipeline.forecasts import Ledger
from pipeline.rescale import Live, beyond_the_grid, chooser, drift, learn, most_telling, read_targets
from pipeline.rescale.alarms import not_narrowing
from pipeline.rescale.growth import rows_of
from pipeline.store import Store
from pipeline.study import NEWEST_ROUND

LOW, HIGH = "irreducible 0.1", "irreducible 3"
TARGETS = tuple(f"irreducible={floor}, parameters=1e5, dataset_size=1e5, step=512" for floor in ("3", "0.1"))
"""Not in the order of the tasks."""
GROWTH_OF_TASKS = {"axes": {"parameters": 2}, "target": TARGETS, "budget": "1cpu-hours", "rule": "design"}


def tasked(**changes):
    """Two tasks of the oracle, one of whose floors is thirty times the other's."""
    growth = type(GROWTH)(**GROWTH_OF_TASKS)
    axes = [*make_study().axes, Axis("irreducible", (0.1, 3.0))]
    how = {"axes": axes, "tasks": ("irreducible",), "split": Split(held_out=NEWEST_ROUND), "growth": growth}
    return make_study(**{**how, **changes})


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    study = tasked()
    store = Store(str(tmp_path_factory.mktemp("tasks")), study.name)
    run_study(study, store)
    return study, store, learn(study, store, TARGETS)


def test_each_task_is_known_by_itself_and_all_of_them_together(learnt):
    study, store, made = learnt
    known = made.knowledge
    assert list(known.tasks) == [HIGH, LOW] and known.rows == len(store.table())
    assert [one.median for one in known.laws["cf"].said] == [
        known.tasks[name].laws["cf"].said[0].median for name in (HIGH, LOW)
    ]
    high, low = known.laws["cf"].said
    assert high.median - low.median > 2, "each at its own floor"
    assert known.interval("cf") == max(one.interval("cf") for one in known.tasks.values())
    assert type(known).from_json(json.loads(json.dumps(known.to_json()))) == known
    entries = Ledger(store.folder).entries()
    assert [entry.question["task"] for entry in entries] == [{"irreducible": 3.0}, {"irreducible": 0.1}]


def test_the_gain_is_that_of_all_tasks(learnt):
    """Within a task as its own design goes; between tasks by what a cell takes off the squares for its cost."""
    study, _, made = learnt
    asked = made.fits["cf"]
    candidates = [replace(one, cost=1.0) for one in beyond_the_grid(study)]
    choice = most_telling(study, asked, candidates, most=6)
    own = {}
    for one in asked:
        cells = [candidate.cell for candidate in candidates if one.holds(candidate.cell.columns)]
        columns, cell = rows_of(study, one.fit.columns, cells)
        where = one.targets.numbers(one.fit.columns)
        own[one.name] = design(one.fit, columns, cell=cell, cost=np.ones(len(cells)), target=where), cells
    at, half = dict.fromkeys(own, 0), {name: made.before for name, (made, _) in own.items()}
    assert choice.design.before == pytest.approx(math.sqrt(sum(one**2 for one in half.values()) / 2))
    for pick, one in zip(choice.design.picks, choice.chosen, strict=True):
        gains = {
            name: half[name] ** 2 - made.picks[at[name]].half ** 2
            for name, (made, _) in own.items()
            if at[name] < len(made.picks)
        }
        best = max(gains, key=gains.get)
        made, cells = own[best]
        assert one.cell.id == cells[made.picks[at[best]].candidate].id
        half[best], at[best] = made.picks[at[best]].half, at[best] + 1
        assert pick.half == pytest.approx(math.sqrt(sum(one**2 for one in half.values()) / 2))
    assert all(at.values()), "both tasks have cells"


def test_a_budget_is_that_of_all_tasks(learnt):
    study, _, made = learnt
    candidates = [replace(one, cost=float(one.settings["dataset_size"])) for one in beyond_the_grid(study)]
    choice = most_telling(study, made.fits["cf"], candidates, budget=21_000)
    assert choice.cost <= 21_000 and len({one.cell.id for one in choice.chosen}) == len(choice.chosen)
    assert min(one.cost for one in candidates) > 21_000 - choice.cost, "nothing that was left would have fitted"


def test_drift_and_alarms_name_the_task(learnt):
    study, store, made = learnt
    known = made.knowledge
    moved = json.loads(json.dumps(known.to_json()))
    law = moved["tasks"][LOW]["laws"]["cf"]
    law["said"][0]["log_median"] += 1000 * law["said"][0]["unknown"]
    law["coefficients"]["E"] = [1e6, 1e6, 1e6]
    drifts = drift(known, type(known).from_json(moved))
    assert {one.what for one in drifts.alarming} == {TARGETS[1], f"{LOW}: E"}
    assert {one.what for one in drifts.drifts if one.is_forecast} == set(TARGETS)
    spent = {"spent": 1.0, "budget": 1.0, "unit": "cpu-hours"}
    assert "is no narrower" in not_narrowing(known, known, "cf", **spent)
    narrower = json.loads(json.dumps(known.to_json()))
    narrower["tasks"][LOW]["laws"]["cf"]["said"][0]["half"] /= 2
    assert not_narrowing(known, type(known).from_json(narrower), "cf", **spent) == ""


def test_the_verbs_take_tasks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    monkeypatch.setattr("pipeline.verbs.report.make_report", lambda study, store, path, asked: Path(path).touch())
    study = tasked()
    write_study(tmp_path, study)

    def call(*arguments):
        assert cli.main([*arguments]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    how = ("--executor", "inline", "--wandb", "off")
    call("rescale", study.name, *how)
    store = Store("runs", study.name)
    said = json.loads(call("next", study.name, "-n", "4", "--json"))
    assert said["targets"] == list(TARGETS) and said["median"][0] - said["median"][1] > 2
    assert said["rows"] == len(store.table()) == 16 * 6
    said = json.loads(call("rehearse", study.name, "-n", "2", "--processes", "1", "--json"))
    assert [(name, one["targets"]) for name, one in said["tasks"].items()] == [
        (HIGH, [TARGETS[0]]),
        (LOW, [TARGETS[1]]),
    ]
    assert all(one["from"] == "fit" and one["grids"][0]["cells"] == 8 for one in said["tasks"].values())
    shown = call("rescale", study.name, *how)
    (one,) = store.rounds()
    assert one.closed is not None and {cell["irreducible"] for cell in one.cells} == {0.1, 3.0}
    assert f"{LOW}: " in shown and TARGETS[1] in shown
    assert {row["law"] for row in one.closed["scores"]} == {"cf"}
    assert list(one.closed["knowledge"]["tasks"]) == [HIGH, LOW]
    grown = store.grown(study)
    targets = read_targets(grown, TARGETS)
    live = Live(grown, store, targets, "cf", every=1.0)
    live.look()
    assert [glance.rows for glance in live.glances] == [len(store.table())]
    planned = [type("Planned", (), {"cell": cell, "remaining_seconds": 1.0}) for cell in grown.cells]
    assert len(chooser(grown, store, targets, "cf")(planned, [], 2)) == 2


def test_a_target_must_be_of_a_task_that_is_measured(learnt):
    study, store, _ = learnt
    with pytest.raises(PipelineError, match="must say irreducible too"):
        read_targets(study, ["parameters=1e5, dataset_size=1e5, step=512"])
    with pytest.raises(PipelineError, match="no measurement of the task irreducible 7"):
        learn(study, store, [TARGETS[0].replace("=3", "=7")])


def test_rows_of_a_table_are_of_their_task(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    rows = [
        {"family": family, "N": n, "D": d, "loss": floor + 20 / n**0.4 + 30 / d**0.4}
        for family, floor in (("gpt", 1.0), ("mamba", 2.0))
        for n in (1e3, 4e3, 1.6e4)
        for d in (1e3, 4e3, 1.6e4)
    ]
    waiting = [{"family": family, "N": 6.4e4, "D": 6.4e4} for family in ("gpt", "mamba")]
    pandas.DataFrame([*rows, *waiting]).to_csv("runs.csv", index=False)
    own = ("--metric", "loss", "--inputs", "N,D", "--tasks", "family", "--law", "cf", "--cost", "6 * N * D", "--json")
    targets = [part for family in ("mamba", "gpt") for part in ("--target", f"family={family}, N=1e6, D=1e6")]
    assert cli.main(["next", "runs.csv", *targets, *own]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {one["at"]["family"] for one in said["next"]} == {"gpt", "mamba"} and said["candidates"] == 2
    assert said["median"][0] > said["median"][1] > 1
