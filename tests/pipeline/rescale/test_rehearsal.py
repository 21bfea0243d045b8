"""Rehearsals: what a study would say of worlds that are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rehearsal import make_study, run_study, write_study

from fitting import fit
from pipeline import Axis, Split, cli
from pipeline.analysis import divide
from pipeline.plan import make_plan
from pipeline.rescale import read_targets, rehearsal
from pipeline.rescale import truths as worlds
from pipeline.store import Store

TARGET = "parameters=1e4, dataset_size=1e4, step=512"


def wide(**changes):
    axes = [Axis("parameters", (1_000, 2_000, 4_000)), Axis("dataset_size", (2_000, 4_000, 8_000))]
    return make_study(**{"axes": axes, "split": Split(held_out="parameters > 2000"), **changes})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    write_study(tmp_path, wide())
    return tmp_path


def rehearsed(capsys, *options: str):
    capsys.readouterr()
    how = ("rehearse", "rehearsal", "--target", TARGET, "-n", "3", "--processes", "1", "--json", *options)
    assert cli.main([*how]) == 0
    return json.loads(capsys.readouterr().out)


def grids(study, store):
    return {grid.name: grid for grid in rehearsal.grids(study, make_plan(study, store).throughput)}


def test_the_grid_as_it_is_has_the_points_that_the_split_fits(store):
    study = wide()
    grid = grids(study, store)["as it is"]
    assert (grid.cells, grid.run.size) == (12, 12 * 6)
    assert grid.columns["parameters"].max() == 2_000
    assert np.unique(grid.group).size == 6 * 6, "both seeds of a place share their group"


def test_larger_grids_and_what_they_cost(store):
    found = grids(wide(), store)
    assert found.keys() == {
        "as it is",
        "2 more values of parameters",
        "2 more values of dataset_size",
        "3 more seeds",
    }
    assert found["2 more values of parameters"].columns["parameters"].max() == 16_000
    assert found["2 more values of dataset_size"].cells == 12 + 3 * 2 * 2
    assert found["3 more seeds"].cells == 12 + 6 * 3
    assert all(one.seconds >= found["as it is"].seconds for one in found.values())


def test_an_axis_that_is_no_scale_is_not_extended(store):
    study = wide(axes=[*wide().axes, Axis("fault", ("none", "error"))])
    assert "2 more values of fault" not in grids(study, store)


def test_points_of_a_run_err_alike_and_noise_is_as_asked(store):
    study = wide()
    grid, targets = grids(study, store)["3 more seeds"], read_targets(study, [TARGET])
    truth = worlds.Truth(fitted=np.zeros(grid.run.size), targets=np.zeros(1), noise=0.1)
    rng = np.random.default_rng(0)
    logs = np.stack([np.log(rehearsal.task(study, grid, truth, targets, law="cf", rng=rng).y) for _ in range(300)])
    first, other = np.flatnonzero(grid.run == 0)[:2], np.flatnonzero(grid.run == 1)[0]
    assert logs.std() == pytest.approx(0.1, rel=0.05)
    assert np.corrcoef(logs[:, first].T)[0, 1] > 0.6
    assert abs(np.corrcoef(logs[:, first[0]], logs[:, other])[0, 1]) < 0.25


def test_the_answer_is_the_same_when_asked_again(here, capsys):
    first = rehearsed(capsys)
    assert rehearsed(capsys) == first
    assert rehearsed(capsys, "--seed", "1") != first
    assert (first["from"], first["law"], first["noise"]) == ("prior", "cf", 0.02)
    assert [one["draws"] for one in first["grids"]] == [3] * 4


def test_without_noise_the_true_law_is_found_and_with_much_it_is_not(here, capsys):
    quiet, loud = (rehearsed(capsys, "--noise", noise)["grids"][0] for noise in ("1e-6", "0.3"))
    assert quiet["fitted"] == 3 and quiet["error"] < 0.02 < loud["error"]
    assert quiet["interval"] < loud["interval"]


def test_truths_come_from_what_was_measured(here, capsys):
    run_study(wide(), Store("runs", "rehearsal"))
    facts = rehearsed(capsys)
    assert facts["from"] == "fit" and 0.001 < facts["noise"] < 0.1 and facts["measured_throughput"]
    assert rehearsed(capsys, "--prior")["from"] == "prior"


def test_truths_of_a_fit_are_around_what_it_says(store):
    """With coefficients that are known well, so that their spread is the forecast's own."""
    study = wide(seeds=tuple(range(6)), split=Split(held_out="parameters > 4000"))
    run_study(study, store)
    targets = read_targets(study, ["parameters=5e3, dataset_size=1e4, step=512"])
    known = fit("cf", divide(study, store.table()).fitted, toward=targets.numbers(study.inputs))
    drawn = worlds.truths(
        study,
        grids(study, store)["as it is"],
        targets,
        law="cf",
        known=known,
        noise=None,
        losses=(0.5, 4),
        rng=np.random.default_rng(0),
    )
    said = known.uncertainty(targets.numbers(study.inputs))
    there = np.array([next(drawn).targets[0] for _ in range(200)])
    assert abs(np.median(there) - said.log_median[0]) < 2 * said.scale[0]
    assert 0 < there.std() < 5 * said.scale[0]


def test_a_prior_that_makes_no_such_losses_says_so(here, capsys):
    how = ["rehearse", "rehearsal", "--target", TARGET, "--law", "m2", "--losses", "1e-30,1e30"]
    assert cli.main(how) == 2
    assert "say --losses LEAST,GREATEST" in capsys.readouterr().err


def test_processes_and_ray_change_nothing(store, monkeypatch):
    """Ray itself is in `run/test_ray.py`."""
    study = wide()
    grid, targets = grids(study, store)["as it is"], read_targets(study, [TARGET])
    rng = np.random.default_rng(0)
    truths = worlds.truths(
        study, grid, targets, law="cf", known=None, noise=0.02, losses=(0.5, 4), rng=rng
    )  # fmt: skip
    tasks = [rehearsal.task(study, grid, next(truths), targets, law="cf", rng=rng) for _ in range(3)]
    alone = list(rehearsal.in_processes(tasks, 1))
    assert list(rehearsal.in_processes(tasks, 2)) == alone
    monkeypatch.setattr(
        rehearsal, "spread", lambda module, name, values, workers: map(getattr(rehearsal, name), values)
    )
    assert list(rehearsal.on_ray(tasks, 2)) == alone


def test_the_terminal_shows_what_more_would_buy(here, capsys):
    assert cli.main(["rehearse", "rehearsal", "--target", TARGET, "-n", "2", "--processes", "1"]) == 0
    said = capsys.readouterr().out
    assert "2 more values of parameters" in said and "3 more seeds" in said and "by an assumed speed" in said
