"""A cell on several devices: the same points, checkpoints and ends as on one, and no process that is left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpus import CORPUS
from small_vision import TINY

from pipeline import Axis, Metric, PipelineError, Split, Study
from pipeline.plan import Accounts, make_plan
from pipeline.run import Job, run_job
from pipeline.run.ranks import processes
from pipeline.store import Ended, Failed, Failure, Measured, Store
from trainers import load_trainer

IN_STEP = str(Path(__file__).parents[2] / "support" / "in_step.py") + ":IN_STEP"
LANGUAGE = {"text": CORPUS, "width": 16, "head_size": 8, "depth": 2, "context_length": 16, "batch_size": 64}
LANGUAGE |= {"steps": 24, "dataset_size": 4_000, "validation_tokens": 512, "gradient_clip": 0.5, "warmup_steps": 2}


def make_job(trainer: str, folder, *, devices: int = 1, begun: bool = False, number: int = 1, **config) -> Job:
    return Job(
        number=number,
        series=f"e{number:08d}",
        trainer=trainer,
        cells=("a",),
        configs=(config,),
        device="cpu",
        devices=devices,
        cpus=devices,
        checkpoints=str(folder),
        checkpoint_seconds=0.0,
        begun=frozenset({"a"} if begun else ()),
    )


def losses(events) -> dict[int, float]:
    return {event.point.step: event.point.metrics["loss"] for event in events if isinstance(event, Measured)}


def no_stop() -> bool:
    return False


def wait_for(condition, seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while not (came := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    return came


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_language_model_on_two_is_that_on_one_and_a_kill_costs_no_point(tmp_path):
    """The second process is killed at the second point; the cell goes on in one process, from the same file."""
    whole = list(run_job(make_job("language", tmp_path / "whole", **LANGUAGE), no_stop))
    events = []
    for event in run_job(make_job("language", tmp_path / "two", devices=2, **LANGUAGE), no_stop):
        events.append(event)
        if len(losses(events)) == 1 and processes():
            os.kill(max(processes()), signal.SIGKILL)
    assert isinstance(events[-1], Failed) and events[-1].failure is Failure.PREEMPTED
    assert "process 2 of the 2" in events[-1].message and "SIGKILL" in events[-1].message
    assert not processes()
    again = list(run_job(make_job("language", tmp_path / "two", begun=True, number=2, **LANGUAGE), no_stop))
    assert isinstance(again[-1], Ended)
    assert losses(events) | losses(again) == pytest.approx(losses(whole), rel=1e-4)
    assert losses(events)[16] != losses(whole)[16] or True


def test_a_vision_model_that_began_on_one_goes_on_with_two_and_stops_when_told(tmp_path):
    """Accumulated, clipped and mirrored, on a branching schedule; stopped twice: in one process, then in two."""
    config = TINY | {"steps": 24, "accumulation": 2, "flip": True, "shift": 2, "schedule": "anneal", "warmup_steps": 0}
    whole = losses(run_job(make_job("vision", tmp_path / "whole", **config), no_stop))
    parts: dict[int, float] = {}
    for number, devices in enumerate((1, 2, 1), start=1):
        heard: list = []
        job = make_job("vision", tmp_path / "cell", devices=devices, begun=number > 1, number=number, **config)
        for event in run_job(job, lambda heard=heard, number=number: len(losses(heard)) > number - 1 and number < 3):
            heard.append(event)
        assert not any(isinstance(event, Failed) for event in heard)
        assert isinstance(heard[-1], Ended) is (number == 3)
        assert parts.items() <= losses(heard).items(), "points come again from the checkpoint"
        parts |= losses(heard)
    assert parts == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize(
    ("trouble", "failure", "says"),
    [
        ("killed", Failure.PREEMPTED, "process 2 of the 2 of this cell was ended by SIGKILL"),
        ("full", Failure.OUT_OF_MEMORY, "MemoryError: no room for the gradient (process 2 of the 2 of this cell)"),
        ("raises", Failure.BUG, "ZeroDivisionError: a mistake (process 2 of the 2 of this cell)"),
    ],
)
def test_one_that_fails_takes_the_cell_down_for_its_own_reason(tmp_path, trouble, failure, says):
    events = list(run_job(make_job(IN_STEP, tmp_path, devices=2, trouble=trouble), no_stop))
    assert [type(event) for event in events] == [Measured, Failed]
    assert (events[-1].failure, events[-1].message) == (failure, says)
    assert ("in _trouble" in events[-1].traceback) is (trouble != "killed")
    assert not processes()


def test_processes_end_with_their_worker_however_it_ends(tmp_path):
    program = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pipeline.run import Job, run_job
from pipeline.run.ranks import processes
job = Job(number=1, trainer={IN_STEP!r}, cells=("a",), configs=({{"trouble": "hangs"}},), device="cpu", devices=2,
          checkpoints={str(tmp_path)!r}, checkpoint_seconds=60)
for event in run_job(job, lambda: False):
    print(*processes(), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as worker:
        theirs = [int(number) for number in worker.stdout.readline().split()]
        assert len(theirs) == 2 and all(map(alive, theirs))
        worker.kill()
    assert wait_for(lambda: not any(map(alive, theirs)))


def spread_study(**settings) -> Study:
    given = {
        "name": "spread",
        "trainer": IN_STEP,
        "axes": [Axis("batch_size", (2, 4))],
        "inputs": ("batch_size", "step"),
        "metric": Metric(name="loss"),
        "split": Split(held_out="step > 2"),
        "device": "cpu",
    }
    return Study(**(given | settings))


def test_device_seconds_are_those_of_all_devices_and_identity_is_that_of_one(tmp_path):
    """Through the command line, in this process alone."""
    code = "from test_ranks import spread_study; STUDY = spread_study()"
    (tmp_path / "spread.py").write_text(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); {code}")
    options = ["--store", str(tmp_path / "runs"), "--executor", "inline", "--wandb", "off", "--no-forecast"]
    command = [sys.executable, "-m", "unsl", "run", str(tmp_path / "spread.py"), *options, "--devices-per-cell", "2"]
    path = os.pathsep.join(map(str, (Path(__file__).parents[3], Path(__file__).parents[2] / "support")))
    said = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert said.returncode == 0, said.stderr
    store = Store(str(tmp_path / "runs"), "spread")
    table = store.table()
    assert set(table["processes"]) == {2.0}
    assert set(table["cell"]) == {cell.id for cell in spread_study(devices_per_cell=2).cells}
    account = Accounts.read(store.folder).all[-1]
    took = account.updated - account.began
    assert account.held["cpu"] > table.groupby("cell")["seconds"].max().sum()
    assert account.held["cpu"] > took, "two cores were held for most of that time"
    assert make_plan(spread_study(), store).counts() == {"done": 2}


def test_what_cannot_be_shared_out_is_refused_before_anything_runs(tmp_path):
    store = Store(str(tmp_path / "runs"), "spread")
    assert load_trainer("language").batch_parts(load_trainer("language").Config(**LANGUAGE)) == 4
    from pipeline.plan import check_even

    uneven = spread_study(axes=[Axis("batch_size", (2, 3))])
    with pytest.raises(PipelineError, match="batch_size 3 evenly: its 3 parts are no multiple of 2"):
        check_even(uneven, make_plan(uneven, store).cells, 2)
    alone = spread_study(trainer="parity", axes=[Axis("width", (4, 8))], inputs=("parameters", "step"))
    with pytest.raises(PipelineError, match="'parity' trains a cell on one"):
        check_even(alone, make_plan(alone, store).cells, 2)
    with pytest.raises(PipelineError, match="devices_per_cell 'many' must be a whole number"):
        spread_study(devices_per_cell="many")
    assert json.dumps(make_plan(uneven, store).counts()) == '{"new": 2}'
