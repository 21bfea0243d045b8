"""The Ray executor on a real local cluster: equal points, a killed worker, a clean stop."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
import ray
from rehearsal import Told, make_study, run_study, sorted_points
from spread import spread_study

from pipeline import Axis
from pipeline.run import Costs, Spreading, spread
from pipeline.run.executors.inline import InlineExecutor
from pipeline.run.executors.on_ray import RayExecutor, _Task
from pipeline.store import Store


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    yield
    ray.shutdown()


@pytest.fixture
def executor(cluster):
    made = RayExecutor(workers=2, device="cpu", hang_seconds=600)
    yield made
    made.close()


PARITY = {
    "trainer": "parity",
    "fixed": {"bits": 12, "parity_bits": 2, "steps": 200, "batch_size": 8, "test_size": 64},
    "axes": [Axis("width", (4, 8)), Axis("dataset_size", (64, 512))],
    "inputs": ("parameters", "dataset_size", "step"),
}


@pytest.mark.parametrize("settings", [{}, PARITY], ids=["oracle", "parity"])
def test_points_equal_those_of_the_inline_executor(store, executor, tmp_path, settings):
    study = make_study(**settings)
    inline = Store(str(tmp_path / "inline"), study.name)
    alone = InlineExecutor(device="cpu")
    alone.workers = executor.workers  # The same cohorts: those of other sizes agree within rounding alone.
    run_study(study, inline, alone)
    outcome = run_study(study, store, executor)
    assert outcome.done == len(study.cells)
    assert sorted_points(store).equals(sorted_points(inline))


def test_a_cell_on_two_devices_holds_both(store, executor):
    study = spread_study()
    spreading = Spreading(trainer=study.loaded_trainer, per_cell=2)
    outcome = run_study(study, store, executor, spreading=spreading, costs=Costs(meter=executor.meter))
    assert outcome.done == 1
    assert set(store.table()["processes"]) == {2.0}
    assert outcome.account.held["cpu"] >= store.table()["seconds"].max()


def test_what_is_no_training_is_spread_over_the_cluster_in_its_order(cluster):
    assert list(spread("json", "loads", map(str, range(300)), workers=None)) == list(range(300))
    with pytest.raises(ValueError, match="Expecting property name"):
        list(spread("json", "loads", ["{"], workers=None))
    assert ray.is_initialized(), "whose cluster it is, ends it"


def test_a_bug_in_one_cell_leaves_the_others(store, executor):
    study = make_study(axes=[Axis("fault", ("none", "error")), Axis("parameters", (1_000, 4_000))])
    outcome = run_study(study, store, executor)
    assert (outcome.done, outcome.failed) == (4, 4)


def test_a_process_that_always_dies_is_reported_and_the_others_go_on(store, executor):
    study = make_study(axes=[Axis("fault", ("none", "exit"))], seeds=(0,))
    outcome = run_study(study, store, executor)
    assert (outcome.done, outcome.failed) == (1, 1)
    failed = next(record for record in store.records().values() if record.status == "failed")
    assert failed.failure == "preempted"


def test_a_killed_worker_loses_no_point(store, executor, tmp_path):
    study = make_study(axes=[Axis("parameters", (1_000,))], fixed={"steps": 512, "step_seconds": 2e-3}, seeds=(0, 1))
    whole = Store(str(tmp_path / "whole"), study.name)
    run_study(make_study(axes=study.axes, seeds=(0, 1), fixed=study.fixed), whole)
    killed = []

    def kill(events):
        if events and not killed:
            killed.extend(worker_processes())
            for process in killed:
                os.kill(process, 9)

    outcome = run_study(study, store, executor, listeners=[Told(kill)], checkpoint_seconds=0.0)
    assert killed, "a worker was to be killed"
    assert outcome.done == 2
    assert sorted_points(store).equals(sorted_points(whole))


def test_stop_reaches_the_workers(store, executor):
    study = make_study(fixed={"steps": 20_000, "step_seconds": 1e-3})
    began = time.monotonic()
    outcome = run_study(
        study, store, executor, watch=lambda driver: threading.Timer(2, driver.stop).start(), checkpoint_seconds=0.0
    )
    assert outcome.left == len(study.cells)
    assert time.monotonic() - began < 25, "twenty seconds of training a cell were not waited for"
    assert any(store.has_checkpoint(cell.id) for cell in study.cells)


def test_no_more_tasks_run_at_once_than_there_are_cores(store, cluster):
    executor = RayExecutor(workers=None, device="cpu", hang_seconds=600)
    study = make_study(fixed={"steps": 512, "step_seconds": 1e-3}, seeds=range(6), cohort_size=1)
    counts = []

    def count(events):
        counts.append(len(worker_processes()))

    assert run_study(study, store, executor, listeners=[Told(count)]).done == 24
    executor.close()
    assert max(counts) == 2


def worker_processes() -> list[int]:
    """Processes that run one of our tasks for this driver: the raylet's children, and so our grandchildren."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            title = Path("/proc", name, "cmdline").read_text()
            if title.startswith("ray::unsl") and _parent(_parent(int(name))) == os.getpid():
                found.append(int(name))
        except OSError:
            continue
    return found


def _parent(process: int) -> int:
    return int(Path("/proc", str(process), "stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_killed_board_is_made_anew(store, executor, monkeypatch):
    """What running jobs listen to dies: the study goes on."""
    monkeypatch.setattr("pipeline.run.executors.on_ray.BEAT_SECONDS", 0.5)
    study = make_study(fixed={"steps": 512, "step_seconds": 4e-3})
    killed = []

    def kill(events):
        if events and not killed:
            killed.append(ray.kill(executor._board, no_restart=False))

    outcome = run_study(study, store, executor, listeners=[Told(kill)])
    assert killed
    assert outcome.done == len(study.cells)


def test_a_task_whose_jobs_are_over_is_left_to_end_by_itself(monkeypatch):
    """A cancellation that meets the end of a task takes the whole process with it, by a check inside Ray."""
    cancelled = []
    monkeypatch.setattr(ray, "cancel", lambda stream, **how: cancelled.append(stream))
    made = object.__new__(RayExecutor)
    tasks = {"ending": _Task(jobs={}, token="", devices=1), "under way": _Task(jobs={0: None}, token="", devices=1)}
    made._own, made._tasks = False, tasks
    made.close()
    assert cancelled == ["under way"] and not made._tasks
