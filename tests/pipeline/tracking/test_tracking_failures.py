"""A W&B that raises, dies, hangs or never answers hurts nobody."""

from __future__ import annotations

import socket
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from offline_wandb import read_offline_points
from tracked import CELLS, LONG, STUDY, ended, measured, python, rows, run_id, wait_for

from pipeline.store import SavedFit
from pipeline.tracking import make_tracker, mirrors

pytestmark = pytest.mark.usefixtures("no_account")


def everything_told(tracker) -> None:
    for cell in CELLS:
        tracker.begin(cell, [])
        tracker.tell([measured(cell, 1), measured(cell, 2), ended(cell)])


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_wandb_that_raises_hurts_nobody(folder, monkeypatch, where):
    import wandb

    def fail(*_, **__):
        raise OSError("the disk is on fire")

    fine = SimpleNamespace(
        id="any", dir="/nowhere/files", log=lambda *_, **__: None, summary={}, finish=lambda **_: None
    )
    monkeypatch.setattr(wandb, "init", fail if where == "init" else lambda **_: fine)
    if where != "init":
        setattr(fine, where, fail)
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    everything_told(tracker)
    tracker.summarise(SavedFit.from_rows([{"law": "cf"}]))
    outcome = tracker.close(LONG)
    assert (outcome.runs, outcome.runs_left) == (0, len(CELLS))
    assert outcome.failures >= 2
    assert "the disk is on fire" in outcome.message and "unsl sync rehearsal" in outcome.message


def test_of_a_long_error_its_beginning_is_told(folder, monkeypatch):
    import wandb

    def fail(**_):
        raise OSError("x" * 5_000)

    monkeypatch.setattr(wandb, "init", fail)
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    everything_told(tracker)
    assert tracker.close(LONG).message.count("x") == pytest.approx(300, abs=20)


def test_a_passing_failure_is_made_good(folder, monkeypatch):
    import wandb

    init, calls = wandb.init, []

    def fail_twice(**settings):
        calls.append(settings["id"])
        if len(calls) <= 2:
            raise TimeoutError("W&B is slow today")
        return init(**settings)

    monkeypatch.setattr(wandb, "init", fail_twice)
    monkeypatch.setattr(mirrors, "FIRST_PAUSE_SECONDS", 0.1)
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    everything_told(tracker)
    outcome = tracker.close(LONG)
    assert (outcome.runs, outcome.runs_left, outcome.failures, outcome.message) == (len(CELLS), 0, 2, "")
    assert read_offline_points(folder)[run_id(CELLS[0])] == rows(measured(CELLS[0], 1), measured(CELLS[0], 2))


def test_a_helper_that_dies_is_replaced(folder, monkeypatch):
    """wandb does its work in a process of its own."""
    monkeypatch.setattr(mirrors, "FIRST_PAUSE_SECONDS", 0.1)
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(CELLS[0], [measured(CELLS[0], 1), measured(CELLS[0], 2)])
    tracker.tell([ended(CELLS[0])])
    wait_for(lambda: tracker._mirrors.complete)
    helper = sys.modules["wandb.sdk.wandb_setup"]._singleton._connection._proc._process
    helper.kill()
    helper.wait()
    everything_told(tracker)
    outcome = tracker.close(LONG)
    assert (outcome.runs, outcome.runs_left) == (len(CELLS), 0) and outcome.failures > 0
    assert len(read_offline_points(folder)) == len(CELLS)


def test_a_wandb_that_hangs_neither_blocks_nor_delays(folder, monkeypatch):
    import wandb

    release = threading.Event()
    monkeypatch.setattr(wandb, "init", lambda **_: release.wait(30))
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    monkeypatch.setattr(tracker._runs, "leave", lambda: None)  # It would end the helper of the tests after this one.
    began = time.monotonic()
    everything_told(tracker)
    tracker.summarise(SavedFit.from_rows([{"law": "cf"}]))
    for step in range(10, 2_010):
        tracker.tell([measured(CELLS[0], step)])
    assert time.monotonic() - began < 1.0
    outcome = tracker.close(0.5)
    assert time.monotonic() - began < 2.0
    release.set()
    assert (outcome.runs_left, outcome.fits_left) == (len(CELLS), 1)
    assert f"{len(CELLS)} of {len(CELLS)} cells and the fit in time" in outcome.message


def test_a_server_that_never_answers_does_not_keep_the_process(folder):
    """The real wandb, online, against a listener that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = (
            "import time; from rehearsal import make_study; from pipeline.tracking import make_tracker\n"
            "from pipeline.store import Ended; from trainers import Ending\n"
            f"study = make_study(); tracker = make_tracker('online', study=study, folder={folder!r})\n"
            "cell = study.cells[0]; tracker.begin(cell, [])\n"
            "tracker.tell([Ended(cell=cell.id, step=1, ending=Ending.DONE)]); time.sleep(2)\n"
            "began = time.monotonic(); outcome = tracker.close(1.0)\n"
            "print(outcome.runs_left, time.monotonic() - began < 2, flush=True); print(time.time(), flush=True)"
        )
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = python(program, WANDB_API_KEY="f00d" * 10, WANDB_BASE_URL=address)
        ended_after = time.time() - float(done.stdout.split()[-1])
    assert done.stdout.startswith("1 True\n"), done.stderr
    assert ended_after < 3.0
