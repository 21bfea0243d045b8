"""`unsl status` while another process runs the study: its rate and time to go, from what the store holds alone."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rehearsal import Told, make_study, run_study, write_study
from tracked import CELLS, STUDY, ended, failed, measured, wait_for

from pipeline import cli
from pipeline.plan import make_plan
from pipeline.run import Driver, Progress
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Store, Writer

ROOT = Path(__file__).parents[3]
STEPS = CELLS[0].counts.steps


@pytest.fixture
def clock(monkeypatch):
    """The store's clock: Unix seconds as the test says."""

    class Clock:
        now = 1_000.0

    monkeypatch.setattr("pipeline.store.writer.time.time", lambda: Clock.now)
    return Clock


def read(store: Store, *, since: float, now: float) -> Progress:
    """With every cell predicted to take 10 seconds."""
    made = make_plan(STUDY, store)
    alike = replace(made, cells=[replace(one, predicted_seconds=10.0) for one in made.cells])
    return Progress.read(alike, store.records(), since=since, now=now)


def test_a_run_is_read_from_its_store(store, clock):
    """Its cells, its pace and nothing of what earlier runs did."""
    done_before, half_done, fresh, broken, broken_before, untouched, *new = CELLS
    assert len(new) == 2
    with Writer.open(store) as writer:
        writer.begin([done_before, half_done, broken_before, untouched], device="cpu")
        half = STEPS // 2
        writer.append([measured(done_before, STEPS), ended(done_before), failed(broken_before)])
        writer.append([measured(half_done, half), measured(untouched, half)])
    clock.now = 2_000.0
    with Writer.open(store) as writer:
        writer.begin([half_done, fresh, broken], device="cpu")
        clock.now = 2_010.0
        writer.append([measured(half_done, 3 * STEPS // 4), measured(fresh, STEPS), ended(fresh), failed(broken)])
        progress = read(store, since=1_999.0, now=2_039.0)
        assert progress.already_done == 1
        assert (progress.ended, progress.failed, progress.running) == ({fresh.id}, {broken.id}, {half_done.id})
        assert progress.predicted.keys() == {one.id for one in CELLS} - {done_before.id, broken_before.id}
        # Behind us: fresh, broken, 3/4 and 1/2 of a cell of six. Gained in 40 seconds: two cells and a quarter.
        assert progress.share == pytest.approx(3.25 / 6)
        assert progress.remaining_seconds == pytest.approx(40 * 2.75 / 2.25, rel=0.01)
        assert progress.cells_per_minute == pytest.approx(1.5, rel=0.01)
        assert " 54% · 1.5 cells/min · " in progress.line()


def test_a_failed_cell_that_is_tried_again_is_to_do(store, clock):
    with Writer.open(store) as writer:
        writer.begin(CELLS[:1], device="cpu")
        writer.append([measured(CELLS[0], STEPS // 2), failed(CELLS[0])])
    clock.now = 2_000.0
    with Writer.open(store) as writer:
        writer.begin(CELLS[:1], device="cpu")
        writer.append([])
        progress = read(store, since=1_999.0, now=2_100.0)
        assert CELLS[0].id in progress.predicted and not progress.failed
        assert progress.share == pytest.approx(0.5 / len(CELLS))
        assert progress.remaining_seconds is None, "no pace yet"


def test_it_agrees_with_what_the_run_itself_shows(store):
    """One code for both: half-way through a run, the store tells the same share, rate and time to go."""
    compared = []

    def compare(events):
        if len(own.ended) == 4 and not compared:
            holder = store.holder()
            theirs = Progress.read(made, store.records(), since=holder.started, now=time.time())
            theirs.began = own.began
            compared.append(theirs)
            assert theirs.share == pytest.approx(own.share)
            assert theirs.remaining_seconds == pytest.approx(own.remaining_seconds, rel=0.01)
            assert (theirs.ended, theirs.running) == (own.ended, own.running)

    made = make_plan(STUDY, store)
    own = Progress.of(made.cells, began=time.monotonic() - 100)
    with Writer.open(store) as writer:
        executor = InlineExecutor(device="cpu")
        Driver(study=STUDY, writer=writer, executor=executor, listeners=[own, Told(compare)]).run(
            made.cells, made.throughput
        )
    assert compared


def test_the_store_remembers_where_a_cell_was_taken_up(store, clock):
    cell = CELLS[0]

    def taken_up() -> tuple[float, int]:
        record = store.records()[cell.id]
        return record.resumed, record.resumed_step

    with Writer.open(store) as writer:
        writer.begin([cell], device="cpu")
        writer.append([measured(cell, 2)])
        writer.begin([cell], device="cpu")  # As after a lost worker: it is this driver's own cell.
        writer.append([measured(cell, 4)])
        assert taken_up() == (0.0, 0)
    clock.now = 2_000.0
    with Writer.open(store) as writer:
        writer.begin([cell], device="cpu")
        writer.append([measured(cell, 8)])
        assert taken_up() == (2_000.0, 4)
        clock.now = 2_050.0
        writer.begin([cell], device="cpu")
        writer.append([measured(cell, 16)])
        assert taken_up() == (2_000.0, 4)
    assert taken_up() == (2_000.0, 4), "read from the journal"
    with Writer.open(store) as writer:
        writer.append([ended(cell)])
    assert store.records()[cell.id].finished and taken_up() == (2_000.0, 4), "read from Parquet"


def test_status_of_a_study_that_another_process_runs(store, tmp_path, capsys):
    path = str(write_study(tmp_path, make_study(fixed={"steps": 512, "step_seconds": 4e-3})))
    runs = ["--store", str(tmp_path / "runs")]

    def status(*options: str) -> str:
        assert cli.main(["status", path, *runs, *options]) == 0
        return capsys.readouterr().out

    options = [*runs, "--executor", "inline", "--device", "cpu", "--wandb", "off"]
    driver = subprocess.Popen([sys.executable, "-m", "unsl", "run", path, *options], cwd=ROOT)
    try:
        wait_for(lambda: any(record.finished for record in store.records().values()), seconds=60)
        progress = json.loads(status("--json"))["progress"]
        shown = status()
    finally:
        driver.send_signal(signal.SIGTERM)
        driver.wait(60)
    assert 0 < progress["share"] < 1
    assert progress["cells_per_minute"] > 0
    assert progress["eta_seconds"] > 0
    assert re.search(r"cells/min, ETA \d+:\d\d", shown)
    assert json.loads(status("--json"))["progress"] is None
    assert "ETA" not in status()


def test_nothing_runs_and_nothing_is_foretold(store, tmp_path, capsys):
    run_study(STUDY, store)
    assert cli.main(["status", str(write_study(tmp_path, STUDY)), "--store", str(tmp_path / "runs")]) == 0
    assert "ETA" not in capsys.readouterr().out
