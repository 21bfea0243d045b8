"""The plan: states, the reasons for a change, costs that are measured, and the order of the work."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from rehearsal import make_study, run_study

from pipeline import Axis, Metric, Split, Study
from pipeline.analysis import divide
from pipeline.plan import CPU, Prices, State, Throughput, Timing, gather, make_plan
from pipeline.store import CellRecord
from pipeline.study import PlannedPoints
from pipeline.verbs import show


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


def test_steps_of_branches_cost_as_much_as_others(store):
    """Predicted before anything ran, and measured: 1.5 times the steps, in 1.5 times the seconds, are the same rate."""
    study = Study(
        name="annealed",
        trainer="modular",
        fixed={"width": 8, "heads": 2, "modulus": 31, "dataset_size": 400, "steps": 1024, "schedule": "anneal"},
        axes=[Axis("depth", (1,))],
        seeds=(0,),
        inputs=("parameters", "step"),
        metric=Metric(name="loss"),
        split=Split(held_out="step > 512"),
    )
    (cell,) = study.cells
    assert cell.counts.branch_steps > 0.4 * cell.counts.steps
    (planned,) = make_plan(study, store).cells
    assumed = Throughput.assumed(CPU)
    a_step = assumed.overhead + cell.counts.flops_per_step / assumed.rate
    assert planned.predicted_seconds == pytest.approx(a_step * (cell.counts.steps + cell.counts.branch_steps))
    record = CellRecord(
        id=cell.id, trainer=cell.trainer, version=cell.version, config=cell.config, columns={}, status="done",
        flops_per_step=cell.counts.flops_per_step, step=cell.counts.steps, seconds=60.0, device="cpu",
    )  # fmt: skip
    left = dataclasses.replace(record, id="left", seconds=6_000.0)
    measured = SimpleNamespace(records=lambda: {one.id: one for one in (record, left)}, question_changes=lambda _: ())
    made = make_plan(study, measured)
    assert made.cells[0].predicted_seconds == pytest.approx(60.0)
    assert made.throughput.cells == 1, "of cells that left the grid nobody knows the branches"


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


def test_what_changed_is_found_in_whatever_order_the_fields_were_written_down(store, monkeypatch):
    run_study(make_study(), store)
    records = {
        key: dataclasses.replace(one, config=dict(reversed(one.config.items()))) for key, one in store.records().items()
    }
    monkeypatch.setattr(type(store), "records", lambda self: records)
    made = make_plan(make_study(fixed={"steps": 512, "learning_rate": 0.02}), store)
    assert {one.reason for one in made.cells} == {"learning_rate 0.01 -> 0.02"}


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


def make_answering_study(**changes):
    """Two cells whose checkpoints are each measured at four inference budgets."""
    settings = {
        "trainer": "addition",
        "fixed": {"digits": 1, "width": 8, "heads": 2, "depth": 1, "steps": 128, "batch_size": 8, "test_size": 16}
        | {"answers": 8, "sampled_questions": 16},
        "axes": [Axis("dataset_size", (16, 64))],
        "seeds": (0,),
        "inputs": ("dataset_size", "step", "inference_steps"),
        "metric": Metric(name="pass_error"),
        "split": Split(
            held_out="inference_steps > 4 or step > 91 or dataset_size > 32",
            excluded={"warm-up": "step < 45", "one answer, long run": "inference_steps < 2 and step > 100"},
        ),
    }
    return make_study(**{**settings, **changes})


def test_the_plan_splits_the_points_as_their_table_does(store):
    study = make_answering_study()
    made = make_plan(study, store)
    run_study(study, store)
    table = store.table()
    divided = divide(study, table)
    sides = divided.rows.groupby(["cell", "held_out"]).size()
    for one in made.cells:
        counted = {
            side: int(sides.get((one.cell.id, held), 0)) for side, held in (("fitted", False), ("held_out", True))
        }
        excluded = int((table["cell"] == one.cell.id).sum()) - sum(counted.values())
        assert dataclasses.asdict(one.points) == counted | {"excluded": excluded}
        assert one.cell.points == (table["cell"] == one.cell.id).sum() == 5 * 4
    assert [one.split for one in made.cells] == ["both", "held out"]
    assert made.points.fitted == len(divided.fitted) == 3 * 3
    assert made.points.held_out == len(divided.held_out)
    assert made.points.excluded == sum(divided.excluded.values()) == 2 * (4 + 1)


def test_the_plan_shows_where_the_points_go(store, capsys):
    study = make_answering_study()
    facts = make_plan(study, store).to_json()
    assert facts["points"] == {"fitted": 9, "held_out": 21, "excluded": 10, "judged_later": []}
    assert facts["inference_budgets"] == facts["cells"][0]["inference_budgets"] == [1, 2, 4, 8]
    show.plan(make_plan(study, store), Prices(), all_cells=True)
    line = "points: 9 fitted, 21 held out, 10 excluded; each step measured at 1, 2, 4, 8 inference steps"
    assert line in capsys.readouterr().out.splitlines()


def test_a_rule_that_asks_for_the_metric_is_judged_later(store, capsys):
    study = make_study(split=Split(held_out="step > 200", excluded={"unlearned": "loss > 4", "warm-up": "step < 32"}))
    made = make_plan(study, store)
    assert made.points == PlannedPoints(fitted=8 * 3, held_out=8 * 2, excluded=8)
    show.plan(made, Prices(), all_cells=False)
    out = capsys.readouterr().out
    assert "points: 24 fitted, 16 held out, 8 excluded; 'unlearned' is judged when they are measured\n" in out


def test_a_cell_without_points_that_take_part_is_no_side_of_the_split(store):
    study = make_study(split=Split(held_out="step > 200", excluded={"small": "parameters < 2000"}))
    assert {one.split for one in make_plan(study, store).cells} == {"excluded", "both"}
    assert {study.held_out_share(cell) for cell in study.cells} == {0.0, 2 / 6}
