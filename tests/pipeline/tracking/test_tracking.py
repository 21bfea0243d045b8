"""Tracking: W&B shows what the store has, each point once and in order."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
from offline_wandb import read_offline_points, read_offline_runs
from rehearsal import make_study, run_study
from tracked import CELLS, LONG, STUDY, ended, failed, measured, rows, run_id, wait_for

from pipeline import Axis
from pipeline.store import SavedFit, Writer
from pipeline.tracking import make_tracker, sync
from trainers import Ending

pytestmark = pytest.mark.usefixtures("no_account")


def test_offline_files_hold_the_points_once_and_in_order(folder):
    tracker = make_tracker("auto", study=STUDY, folder=folder)
    points = {cell.id: [measured(cell, step) for step in (1, 2, 4, 8, 512)] for cell in CELLS}
    for cell in CELLS:
        tracker.begin(cell, [])
    for number in range(5):  # Cells take turns, as in a cohort.
        tracker.tell([points[cell.id][number] for cell in CELLS])
    tracker.tell([points[CELLS[0].id][2]])  # Said twice, held once.
    tracker.tell([ended(cell) for cell in CELLS])
    outcome = tracker.close(LONG)
    assert (outcome.runs, outcome.points, outcome.runs_left, outcome.failures) == (len(CELLS), 5 * len(CELLS), 0, 0)
    assert outcome.message == ""
    assert read_offline_points(folder) == {run_id(cell): rows(*points[cell.id]) for cell in CELLS}
    assert folder in tracker.note and "wandb sync" in tracker.note
    assert tracker.close(LONG) == outcome


def test_a_run_says_what_it_is(folder):
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    done, diverged, broken, stopped = CELLS[0], CELLS[1], CELLS[-1], CELLS[2]
    for cell in (done, diverged, broken, stopped):
        tracker.begin(cell, [])
        tracker.tell([measured(cell, 1), measured(cell, 2, loss=0.25)])
    tracker.tell([ended(done), ended(diverged, Ending.DIVERGED), failed(broken, "s3://key:hunter2@host is away")])
    tracker.close(LONG)
    runs = read_offline_runs(folder)
    run = runs[run_id(done)]
    assert run.name == "parameters 1000, dataset_size 2000, seed 0"
    assert (run.group, run.job_type, run.project) == (STUDY.name, "oracle", "unsl")
    assert set(run.tags) == {"rehearsal", "oracle", "fitted"} and "held out" in runs[run_id(broken)].tags
    expected = {**done.columns, "flops": done.counts.flops, "trainer_version": done.version, "cell": done.id}
    assert run.config.items() >= expected.items()
    summaries = {key: (run.summary["status"], run.exit_code, run.summary["points/loss"]) for key, run in runs.items()}
    assert summaries == {
        run_id(done): ("done", 0, 0.25),
        run_id(diverged): ("diverged", 0, 0.25),
        run_id(broken): ("failed", 1, 0.25),
        run_id(stopped): ("started", 255, 0.25),
    }
    assert runs[run_id(broken)].summary["failure"] == "bug"
    assert runs[run_id(broken)].summary["message"] == "s3://***@host is away"


def test_inference_budgets_share_the_row_of_their_step(folder):
    cell = CELLS[0]
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(cell, [])
    tracker.tell([measured(cell, step, budget) for step in (1, 2) for budget in (1, 8)])
    tracker.tell([measured(cell, 1, 64), measured(cell, 4), ended(cell)])  # The first comes late.
    tracker.close(LONG)
    (run,) = read_offline_runs(folder).values()
    assert [row["_step"] for row in run.rows] == [1, 2, 3, 4]
    assert [row["step"] for row in run.rows] == [1, 2, 1, 4]
    losses = [{name: value for name, value in row.items() if name.startswith("points/")} for row in run.rows]
    assert losses == [
        {"points/loss": 1 / 2, "points/loss@k8": 1 / 9},
        {"points/loss": 1 / 3, "points/loss@k8": 1 / 10},
        {"points/loss@k64": 1 / 65},
        {"points/loss": 1 / 5},
    ]


def test_a_resumed_cell_is_written_whole_and_once(folder):
    cell, points = CELLS[0], [measured(CELLS[0], step) for step in (1, 2, 4, 8)]
    first = make_tracker("offline", study=STUDY, folder=folder)
    first.begin(cell, [])
    first.tell(points[:2])
    assert first.close(LONG).runs_left == 0
    assert read_offline_points(folder) == {run_id(cell): rows(*points[:2])}
    second = make_tracker("offline", study=STUDY, folder=folder)
    second.begin(cell, points[:3])
    second.tell([points[3], ended(cell)])
    second.close(LONG)
    assert read_offline_points(folder) == {run_id(cell): rows(*points)}


@pytest.mark.parametrize("then", ["kept", "cleaned"])
def test_what_the_user_has_sent_is_not_written_again(folder, tmp_path, then):
    """`wandb sync` adds a file's rows to those it finds, so that a whole file would double them."""
    cell, points = CELLS[0], [measured(CELLS[0], step) for step in (1, 2, 4, 8)]

    def go_on(known: int, new: int) -> None:
        tracker = make_tracker("offline", study=STUDY, folder=folder)
        tracker.begin(cell, points[:known])
        tracker.tell([*points[known:new], *([ended(cell)] if new == len(points) else [])])
        assert tracker.close(LONG).failures == 0

    go_on(0, 2)
    (sent,) = Path(folder, "wandb").glob("offline-run-*")
    next(sent.glob("*.wandb")).with_suffix(".wandb.synced").touch()
    if then == "cleaned":
        sent.rename(tmp_path / "gone")
        time.sleep(1.0)  # The next folder gets another name, which has the seconds of the clock in it.
    go_on(2, 3)
    go_on(3, 4)
    (unsent,) = [path for path in Path(folder, "wandb").glob("offline-run-*") if path != sent]
    assert read_offline_points(unsent) == {run_id(cell): rows(*points[2:])}


def test_a_failed_cell_that_is_tried_again_is_one_run(folder):
    cell, points = CELLS[0], [measured(CELLS[0], step) for step in (1, 2, 4, 8)]
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(cell, [])
    tracker.tell([*points[:2], failed(cell)])
    wait_for(lambda: tracker._mirrors.complete)  # The failure is written.
    tracker.begin(cell, points[:2])
    tracker.tell([*points[2:], ended(cell)])
    tracker.close(LONG)
    assert read_offline_points(folder) == {run_id(cell): rows(*points)}
    assert read_offline_runs(folder)[run_id(cell)].summary["status"] == "done"


def in_store(store) -> dict[str, list[dict]]:
    table = store.table().sort_values(["step"])
    kept = ["loss", "step", "examples", "flops", "seconds"]
    table = table[["cell", *kept]].rename(columns={"loss": "points/loss"})
    return {
        f"{STUDY.name}-{cell}": part.drop(columns="cell").to_dict("records") for cell, part in table.groupby("cell")
    }


def test_a_tracked_study_matches_its_store(store, folder):
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    assert run_study(STUDY, store, listeners=[tracker]).done == len(CELLS)
    assert tracker.close(LONG).runs == len(CELLS)
    assert read_offline_points(folder) == in_store(store)


def test_what_a_killed_driver_did_not_send_is_sent_from_the_store(store, folder):
    """Also runs whose files are cut short, and a list of sent runs that is."""
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    with Writer.open(store) as writer:
        writer.begin([CELLS[0]], device="cpu")
        tracker.begin(CELLS[0], [])
        tracker.tell(writer.append([measured(CELLS[0], 1), ended(CELLS[0])]))
    tracker.close(LONG)
    (whole,) = Path(folder, "wandb").glob("offline-run-*")
    run_study(STUDY, store)
    cut = Path(folder, "wandb", f"offline-run-20260101_000000-{run_id(CELLS[1])}")
    cut.mkdir()
    (cut / f"run-{run_id(CELLS[1])}.wandb").write_bytes(next(whole.glob("*.wandb")).read_bytes()[:300])
    with open(Path(folder, "wandb", "sent.jsonl"), "a") as file:
        file.write('\n{"run": "rehea')
    before = whole.stat().st_mtime_ns
    outcome = sync("offline", study=STUDY, store=store, folder=folder, timeout_seconds=LONG)
    assert (outcome.runs, outcome.failures) == (len(CELLS) - 1, 0)
    assert read_offline_points(folder) == in_store(store)
    assert whole.stat().st_mtime_ns == before
    assert sync("offline", study=STUDY, store=store, folder=folder, timeout_seconds=LONG).runs == 0


def test_a_fit_is_a_run_of_its_own(folder, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<p>a report</p>")
    table = [{"law": "cf", "rmsle_fit": 0.1, "rmsle_held_out": math.nan}, {"law": "unsl", "rmsle_fit": 0.05}]
    for _ in range(2):
        tracker = make_tracker("offline", study=STUDY, folder=folder)
        tracker.summarise(SavedFit.from_rows(table, str(report)))
        assert tracker.close(LONG).failures == 0
    (run,) = read_offline_runs(folder).values()
    assert (run.job_type, run.group) == ("fit", STUDY.name)
    assert run.summary["fit/unsl/rmsle_fit"] == 0.05 and "fit/cf/rmsle_held_out" not in run.summary
    assert run.rows[0]["fit/laws/nrows"] == 2 and run.rows[0]["fit/report/_type"] == "html-file"


def test_nothing_that_is_no_number_is_sent(folder):
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(CELLS[0], [measured(CELLS[0], 1, loss=math.nan, error=math.inf, accuracy=0.5)])
    tracker.close(LONG)
    (run,) = read_offline_runs(folder).values()
    assert "points/loss" not in run.rows[0] and "points/error" not in run.rows[0]
    assert run.rows[0]["points/accuracy"] == 0.5


def test_points_are_drawn_along_steps_or_examples(folder):
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(CELLS[0], [measured(CELLS[0], 1)])
    tracker.close(LONG)
    (run,) = read_offline_runs(folder).values()
    assert run.axes == {"step": "", "examples": "", "points/*": "step"}
    assert {"step", "examples"} < run.rows[0].keys()


def test_costs_and_warnings_are_a_run_of_their_own(folder):
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.warn("node 10.0.0.7 is not used any more")
    tracker.warn("nor is 10.0.0.8")
    tracker.note_costs({"h100_hours": 2.5, "gpu_idle_share": 0.1})
    assert tracker.close(LONG).failures == 0
    (run,) = read_offline_runs(folder).values()
    assert (run.job_type, run.group) == ("costs", STUDY.name)
    assert run.summary["costs/warnings"] == "node 10.0.0.7 is not used any more\nnor is 10.0.0.8"
    assert (run.summary["costs/h100_hours"], run.summary["costs/gpu_idle_share"]) == (2.5, 0.1)


ROW = ((1_234_567, 7_654_321, 0.00123456, 0.0123456, 0.00654321, 12345),)


def test_a_long_name_is_cut(folder):
    study = make_study(axes=[Axis("parameters, dataset_size, learning_rate, run_noise, point_noise, batch_size", ROW)])
    tracker = make_tracker("offline", study=study, folder=folder)
    tracker.begin(study.cells[0], [])
    assert tracker.close(LONG).failures == 0


def test_alerts_are_sent_as_such(server, store, tmp_path):
    outcome = sync("online", study=STUDY, store=store, folder=str(tmp_path), alerts=["round 3: it drifts"])
    assert outcome.message == "" and server.alerts == [(STUDY.name, "round 3: it drifts")]
    sync("off", study=STUDY, store=store, folder=str(tmp_path), alerts=["nobody hears it"])
    assert len(server.alerts) == 1
