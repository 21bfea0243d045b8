"""The plan: states, the reasons for a change, costs that are measured, and the order of the work."""

from __future__ import annotations

import dataclasses

import pytest
from rehearsal import make_study, run_study

from pipeline import Axis
from pipeline.cost import Throughput, Timing, gather
from pipeline.plan import State, make_plan


def states(study, store) -> set[str]:
    return {str(one.state) for one in make_plan(study, store).cells}


def test_new_then_done(store):
    study = make_study()
    assert states(study, store) == {"new"}
    run_study(study, store)
    assert states(study, store) == {"done"}
    assert make_plan(study, store).to_run(retry_failed=True) == []


def test_a_grown_grid_runs_only_what_is_new(store):
    run_study(make_study(), store)
    grown = make_study(axes=[Axis("parameters", (1_000, 4_000, 16_000)), Axis("dataset_size", (2_000, 8_000))])
    made = make_plan(grown, store)
    assert made.counts() == {"done": 8, "new": 4}
    assert not made.left_behind
    assert run_study(grown, store).done == 4


def test_a_shrunk_grid_leaves_cells_behind_but_keeps_them(store):
    run_study(make_study(), store)
    made = make_plan(make_study(seeds=(0,)), store)
    assert made.counts() == {"done": 4}
    assert len(made.left_behind) == 4


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"fixed": {"steps": 512, "learning_rate": 0.02}}, "learning_rate 0.01 -> 0.02"),
        (
            {"axes": [Axis("parameters", (1_000, 5_000)), Axis("dataset_size", (2_000, 8_000))]},
            "parameters 4000 -> 5000",
        ),
        ({"fixed": {"steps": 256, "ceiling": 3.0}}, "steps 512 -> 256, ceiling 4.0 -> 3.0"),
    ],
)
def test_a_changed_literal_says_what_changed(store, changes, reason):
    run_study(make_study(), store)
    changed = [one for one in make_plan(make_study(**changes), store).cells if one.state is State.CHANGED]
    assert changed
    assert {one.reason for one in changed} == {reason}


def test_a_new_version_of_the_trainer_is_a_change(store, monkeypatch):
    run_study(make_study(), store)
    study = make_study()
    monkeypatch.setattr(type(study.loaded_trainer), "version", 2)
    assert {one.reason for one in make_plan(study, store).cells} == {"version 1 -> 2"}


def test_a_failed_cell_waits_until_it_is_asked_for(store):
    study = make_study(fixed={"steps": 512, "fault": "error"})
    run_study(study, store)
    made = make_plan(study, store)
    assert made.counts() == {"failed": 8}
    assert "a rehearsed error" in made.cells[0].reason
    assert made.to_run(retry_failed=False) == []
    assert len(made.to_run(retry_failed=True)) == 8


def test_throughput_is_assumed_then_measured():
    assert Throughput.fit([]).cells == 0
    rows = [Timing(flops_per_step=f, steps=10, seconds=10 * (1e-3 + f / 2e9)) for f in (1e3, 1e5, 1e6, 1e7)]
    fitted = Throughput.fit(rows)
    assert fitted.overhead == pytest.approx(1e-3)
    assert fitted.rate == pytest.approx(2e9)
    assert fitted.cells == 4


@pytest.mark.parametrize("seconds", [lambda f: 1e-3, lambda f: f / 1e9, lambda f: 1e-3 - f * 1e-12])
def test_throughput_never_goes_negative(seconds):
    rows = [Timing(flops_per_step=f, steps=1, seconds=seconds(f)) for f in (1e6, 1e7, 1e8)]
    fitted = Throughput.fit(rows)
    assert fitted.overhead >= 0
    assert fitted.rate > 0


def test_cohorts_are_of_one_shape_longest_first():
    cells = make_study(seeds=tuple(range(20))).cells
    cohorts = gather(cells, Throughput.fit([]), cohort_size=8, workers=2)
    assert sorted(cell.id for cohort in cohorts for cell in cohort) == sorted(cell.id for cell in cells)
    assert all(len({cell.cohort_key for cell in cohort}) == 1 for cohort in cohorts)
    assert max(map(len, cohorts)) <= 8
    sizes = [sum(cell.counts.flops for cell in cohort) for cohort in cohorts]
    assert sizes == sorted(sizes, reverse=True)


def test_no_job_makes_the_other_workers_wait():
    cells = make_study(seeds=tuple(range(20))).cells
    cohorts = gather(cells, Throughput.fit([]), cohort_size=1000, workers=8)
    assert len(cohorts) >= 4 * 8


def test_every_cell_says_what_it_costs(store):
    study = make_study()
    listed = make_plan(study, store).to_json()["cells"]
    assert len(listed) == len(study.cells)
    for entry, cell in zip(listed, study.cells, strict=True):
        assert entry["flops"] == 6 * cell.config["parameters"] * 32 * 512
        assert entry["predicted_seconds"] > 0
        assert entry["split"] in ("fitted", "held out", "both")
        assert dataclasses.asdict(cell.counts).items() >= {("parameters", entry["parameters"])}
