"""`unsl next`, and a run in the order of a design."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas
import pytest
from rehearsal import Told, make_study, run_study, write_study

from pipeline import Axis, Growth, Split, cli
from pipeline.plan import make_plan
from pipeline.rescale import ByDesign, chooser, read_targets
from pipeline.run import Driver
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Ended, Store, Writer
from pipeline.study import NEWEST_ROUND

TARGET = "parameters=1e5, dataset_size=1e5, step=512"
OWN = ("--metric", "loss", "--inputs", "N,D", "--law", "cf")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    return tmp_path


def half_done(here, **changes):
    """A study of which half the cells are measured, and its store."""
    axes = [Axis("parameters", (1_000, 2_000, 4_000)), Axis("dataset_size", (2_000, 4_000, 8_000))]
    study = make_study(**{"axes": axes, "split": Split(held_out="parameters > 1e5"), **changes})
    store = Store("runs", study.name)
    small = make_study(**{**changes, "split": study.split, "axes": [Axis(one.name, one.values[:2]) for one in axes]})
    run_study(small, store)
    write_study(here, study)
    return study, store


def asked(capsys, *arguments: str):
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_cells_of_the_grid_that_nobody_has_begun(here, capsys):
    study, store = half_done(here)
    facts = asked(capsys, "next", "rehearsal", "--target", TARGET, "-n", "3")
    assert (facts["candidates"], facts["pending"], len(facts["next"])) == (10, 0, 3)
    halves = [facts["before"], *(one["interval"] for one in facts["next"])]
    assert halves == sorted(halves, reverse=True) and facts["after"] == halves[-1]
    ids = {cell.id for cell in study.cells} - store.records().keys()
    assert all(study.build([one["at"]])[0].id in ids for one in facts["next"])
    assert cli.main(["next", "rehearsal", "--target", TARGET]) == 0
    assert "candidates narrow its 90% interval from ±" in capsys.readouterr().out


def test_a_budget_is_kept(here, capsys):
    study, store = half_done(here)
    made = make_plan(study, store)
    hours = [one.predicted_seconds / 3600 for one in made.cells if not one.state.finished]
    facts = asked(capsys, "next", "rehearsal", "--target", TARGET, "--budget", f"{3.5 * min(hours):.18f}cpu-hours")
    assert 1 <= len(facts["next"]) <= 3 and facts["cost"] <= 3.5 * min(hours)


def test_cells_under_way_are_counted_in(here, capsys):
    study, store = half_done(here)
    before = asked(capsys, "next", "rehearsal", "--target", TARGET, "-n", "1")
    chosen = study.build([before["next"][0]["at"]])[0]
    with Writer.open(store) as writer:
        writer.begin([chosen], device="cpu")
        writer.append([])
    after = asked(capsys, "next", "rehearsal", "--target", TARGET, "-n", "1")
    assert (after["candidates"], after["pending"]) == (9, 1)
    assert after["before"] == pytest.approx(before["after"])
    assert after["next"][0]["at"] != before["next"][0]["at"]


def test_of_a_fixed_split_only_what_would_be_fitted_counts(here, capsys):
    half_done(here, split=Split(held_out="dataset_size > 5000"))
    facts = asked(capsys, "next", "rehearsal", "--target", TARGET, "-n", "100")
    assert facts["candidates"] == 4
    assert {one["at"]["dataset_size"] for one in facts["next"]} <= {2_000, 4_000}


def test_a_study_that_grows_may_go_beyond_its_grid(here, capsys):
    growth = Growth(axes={"parameters": 2}, target=TARGET, budget="1cpu-hours")
    half_done(here, split=Split(held_out=NEWEST_ROUND), growth=growth)
    facts = asked(capsys, "next", "rehearsal", "-n", "100")
    assert facts["targets"] == [TARGET] and facts["candidates"] == 10 + 6
    assert 8_000 in {one["at"]["parameters"] for one in facts["next"]}


def table(path, *, missing: int = 0):
    n, d = (axis.ravel() for axis in np.meshgrid([1e6, 2e6, 4e6, 8e6], [1e8, 2e8, 4e8, 8e8]))
    noise = np.exp(0.005 * np.random.default_rng(0).standard_normal(n.size))
    rows = pandas.DataFrame({"N": n, "D": d, "loss": (1.7 + 400 / n**0.34 + 400 / d**0.28) * noise})
    rows.loc[rows.index[len(rows) - missing :], "loss"] = np.nan
    rows.to_csv(path, index=False)
    return str(path)


def test_a_tables_rows_that_wait_for_their_metric_are_its_candidates(here, capsys):
    runs = table(here / "runs.csv", missing=3)
    facts = asked(
        capsys, "next", runs, *OWN, "--target", "N=1e8, D=1e10", "--cost", "6 * N * D", "--budget", "1e16"
    )  # fmt: skip
    assert facts["candidates"] == 3 and facts["rows"] == 13
    assert {one["at"]["D"] for one in facts["next"]} == {8e8}
    costs = [6 * one["at"]["N"] * one["at"]["D"] for one in facts["next"]]
    assert facts["cost"] == pytest.approx(sum(costs)) and sum(costs) <= 1e16


def test_a_full_grid_is_gone_one_step_beyond(here, capsys):
    runs = table(here / "runs.csv")
    facts = asked(capsys, "next", runs, *OWN, "--target", "N=1e8, D=1e10", "--cost", "6*N*D", "-n", "9")
    assert facts["candidates"] == 9 == 25 - 16
    assert all(one["at"]["N"] == 1.6e7 or one["at"]["D"] == 1.6e9 for one in facts["next"])


def test_what_a_candidate_measured_is_never_looked_at(here, capsys):
    """The labels of rows that wait are not there; those of other columns say nothing."""
    runs = table(here / "runs.csv", missing=3)
    rows = pandas.read_csv(runs)
    how = (*OWN, "--target", "N=1e8, D=1e10", "--cost", "6*N*D")
    alone = asked(capsys, "next", runs, *how)
    rows.assign(other=np.arange(len(rows)) ** 3.0).to_csv(runs, index=False)
    assert asked(capsys, "next", runs, *how) == alone


# A run in the order of a design.


def run_by_design(here, *, watch=None, **changes):
    study = make_study(
        axes=[Axis("parameters", (1_000, 2_000, 4_000)), Axis("dataset_size", (2_000, 4_000, 8_000))],
        split=Split(held_out="parameters > 1e5"),
        **changes,
    )
    store = Store("runs", study.name)
    made, order = make_plan(study, store), []
    choose = chooser(study, Store("runs", study.name), read_targets(study, [TARGET]), "cf")

    def noted(left, under_way, batch):
        chosen = choose(left, under_way, batch)
        order.append((len(left), [one.cell for one in chosen]))
        return chosen

    schedule = ByDesign(made.cells, noted, workers=lambda: 1, beside=False)
    ended = []
    listener = Told(lambda events: ended.extend(event.cell for event in events if isinstance(event, Ended)))
    with Writer.open(store) as writer:
        executor = InlineExecutor(device="cpu")
        outcome = Driver(study=study, writer=writer, executor=executor, listeners=[listener]).run(
            schedule, made.throughput
        )
    return study, outcome, order, ended


def test_cheap_cells_come_first_and_every_cell_comes_once(here):
    study, outcome, order, ended = run_by_design(here)
    assert outcome.done == len(study.cells) == len(set(ended)) and outcome.left == 0
    assert len(order) > 4, "it is decided again and again"
    cheapest = min(cell.config["parameters"] for cell in study.cells)
    assert {cell.config["parameters"] for cell in order[0][1]} == {cheapest}
    assert [left for left, _ in order] == sorted((left for left, _ in order), reverse=True)


def test_a_decision_that_takes_long_holds_nobody_up():
    """The schedule is asked several times a second, and answers at once."""
    study = make_study()
    planned = make_plan(study, Store("/nonexistent", study.name)).cells
    free: list[bool] = []

    def slow(left, under_way, batch):
        while not free:
            time.sleep(0.01)
        return left[:batch]

    schedule = ByDesign(planned, slow, workers=lambda: 2)
    assert schedule.take(()) == () and schedule.waiting == 8 and not schedule.over
    free.append(True)
    while not (given := schedule.take(())):
        time.sleep(0.01)
    assert len(given) == 2 and schedule.waiting == 6
    assert schedule.take(()) == (), "while both run there is no room"


def test_a_decision_that_fails_ends_the_run():
    study = make_study()
    planned = make_plan(study, Store("/nonexistent", study.name)).cells
    schedule = ByDesign(planned, lambda *asked: [][0], workers=lambda: 1, beside=False)
    with pytest.raises(IndexError):
        schedule.take(())


def test_the_command_line_orders_what_is_fitted_and_forecasts_the_rest(here, capsys):
    write_study(here, make_study())
    how = ("run", "rehearsal", "--executor", "inline", "--wandb", "off", "--order", "design")
    assert cli.main([*how]) == 0
    assert "8 done" in capsys.readouterr().out
    assert cli.main(["check", "rehearsal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["blind"] == 24, "held-out cells still wait for their forecast"
