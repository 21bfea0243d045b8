"""A cell on several devices: the same points, checkpoints and ends as on one, and no process that is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from corpus import CORPUS
from rehearsal import run_study
from small_vision import TINY
from spread import IN_STEP, spread_study

from pipeline import Axis, PipelineError, Study
from pipeline.plan import Throughput, check_even, device_named, make_plan
from pipeline.run import Costs, Job, Spreading, run_job
from pipeline.run.executors.inline import InlineExecutor
from pipeline.run.packing import Packing
from pipeline.run.ranks import processes
from pipeline.run.waiting import Known, Waiting
from pipeline.store import Ended, Failed, Failure, Measured, Store

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
            os.kill(processes()[1], signal.SIGKILL)
    assert isinstance(events[-1], Failed) and events[-1].failure is Failure.PREEMPTED
    assert "process 2 of the 2" in events[-1].message and "SIGKILL" in events[-1].message
    assert not processes()
    again = list(run_job(make_job("language", tmp_path / "two", begun=True, number=2, **LANGUAGE), no_stop))
    assert isinstance(again[-1], Ended)
    assert losses(events) | losses(again) == pytest.approx(losses(whole), rel=1e-4)


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
    assert not any(isinstance(event, Failed | Ended) for event in events[:-1])
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


def test_device_seconds_are_those_of_all_devices_and_identity_is_that_of_one(store):
    study, executor = spread_study(), InlineExecutor(device="cpu")
    costs = Costs(meter=executor.meter)
    spreading = Spreading(trainer=study.loaded_trainer, per_cell=2)
    spreading.check(study, make_plan(study, store).cells, executor)
    outcome = run_study(study, store, executor, costs=costs, spreading=spreading)
    assert outcome.done == 1
    table = store.table()
    assert set(table["processes"]) == {2.0}
    assert set(table["cell"]) == {cell.id for cell in spread_study(devices_per_cell=4).cells}
    assert outcome.account.held["cpu"] > 1.5 * outcome.seconds, "two cores were held for most of the time"
    assert outcome.worker_seconds == table["seconds"].max()
    assert make_plan(spread_study(devices_per_cell="auto"), store).counts() == {"done": 1}


def test_what_cannot_be_shared_out_is_refused_before_anything_runs(store):
    def refused(**settings) -> str:
        study = spread_study(devices_per_cell=2, **settings)
        with pytest.raises(PipelineError) as error:
            check_even(study, make_plan(study, store).cells, study.devices_per_cell)
        return str(error.value)

    assert "batch_size 3 evenly: its 3 parts are no multiple of 2" in refused(axes=[Axis("batch_size", (2, 3))])
    perceptrons = {"trainer": "parity", "axes": [Axis("width", (4, 8))], "inputs": ("parameters", "step")}
    assert "'parity' trains a cell on one" in refused(**perceptrons)
    study, most = spread_study(axes=[Axis("batch_size", (1024,))]), InlineExecutor(device="cpu").most_devices
    with pytest.raises(PipelineError, match=f"no node has more than {most} cores"):
        Spreading(trainer=study.loaded_trainer, per_cell=1024).check(study, [], InlineExecutor(device="cpu"))
    with pytest.raises(PipelineError, match="devices_per_cell 'many' must be a whole number"):
        spread_study(devices_per_cell="many")


def asked_for(study: Study, store: Store, per_cell, *, idle: float, waiting: int, step_seconds=1e3) -> list:
    """Devices and GPUs that jobs ask for, of so many that wait, on nodes of eight GPUs."""
    cells = [one.cell for one in make_plan(study, store).cells]
    throughput = Throughput(overhead=step_seconds, rate=1e12, cells=1)
    waits = Waiting(
        known=Known(cells={cell.id: cell for cell in cells}, throughput=throughput),
        packing=Packing(),
        spreading=Spreading(trainer=study.loaded_trainer, per_cell=per_cell),
        costs=Costs(meter=None),
        failed_before=lambda job: False,
        running={},
    )
    jobs = [make_job(IN_STEP, "", number=number, **cells[0].config) for number in range(waiting)]
    waits.add([replace(job, cells=(cells[0].id,)) for job in jobs], worker_seconds=1e6)
    executor = SimpleNamespace(device="cuda", gpus={}, idle=idle, most_devices=8)
    return [(job.devices, job.gpu_share) for job in waits.next(executor, device_named("h100"))]


def test_a_cell_takes_whole_gpus_and_auto_takes_those_that_would_idle(store):
    study = spread_study(axes=[Axis("batch_size", (64,))], fixed={"steps": 2})
    assert asked_for(study, store, 4, idle=0, waiting=3) == [(4, 4.0)]
    assert asked_for(study, store, 1, idle=8, waiting=1) == [(1, 1.0)]
    assert asked_for(study, store, "auto", idle=16, waiting=1) == [(8, 8.0)]
    assert asked_for(study, store, "auto", idle=7, waiting=2) == [(2, 2.0)], "3 do not divide the batch"
    assert asked_for(study, store, "auto", idle=8, waiting=9) == [(1, 1.0)]
    assert asked_for(study, store, "auto", idle=16, waiting=1, step_seconds=1.0) == [(1, 1.0)], "it is soon over"
