"""Packing: the first job of a shape is measured alone, the others ask for what it took."""

from __future__ import annotations

import itertools

import pytest
from rehearsal import make_study, run_study

from pipeline import Axis
from pipeline.events import Failure, Used
from pipeline.executors import Report
from pipeline.executors.inline import InlineExecutor
from pipeline.packing import HEADROOM, PROCESS_BYTES, Packing
from pipeline.store import Store

GPU = 80 * 2**30


def used(cell: str, gigabytes: float) -> Used:
    return Used(cell=cell, bytes=int(gigabytes * 2**30), gpu="a GPU", gpu_bytes=GPU)


def test_a_share_is_what_was_measured_and_some_room():
    cell, *others = make_study(seeds=(0, 1, 2)).cells[:3]
    packing = Packing()
    assert packing.share([cell]) == 1.0
    assert not packing.may_start(others[0])
    packing.learn(cell, used(cell.id, 4))
    assert packing.may_start(others[0])
    expected = (PROCESS_BYTES + HEADROOM * 2 * 4 * 2**30) / GPU
    assert expected <= packing.share(others) < expected + 0.01
    packing.learn(cell, used(cell.id, 79))
    assert packing.share(others) == 1.0
    packing.learn(cell, used(cell.id, 1))
    assert packing.share(others) == 1.0, "the most that was ever seen counts"


def test_a_probe_that_says_nothing_lets_the_next_one_try():
    cell = make_study().cells[0]
    packing = Packing()
    packing.share([cell])
    packing.forget_probe(cell)
    assert packing.may_start(cell)
    assert packing.share([cell]) == 1.0


class OnGpu(InlineExecutor):
    """Says that it has a GPU, on which every cell takes `gigabytes`; refuses what asks for less than `needed`."""

    def __init__(self, gigabytes: float, needed: float = 0.0):
        super().__init__(device="cpu")
        self.device, self.shares = "cuda", []
        self._gigabytes, self._needed, self._told = gigabytes, needed, False

    def submit(self, jobs):
        (job,) = jobs
        self.shares.append(job.gpu_share)
        self._told = False
        super().submit(jobs)

    def poll(self, timeout):
        if self._jobs and not self._told:
            self._told = True
            (job,) = self._jobs
            if job.gpu_share < self._needed:
                self._jobs = ()
                return [Report(job=job, over=True, lost=Failure.OUT_OF_MEMORY, message="CUDA out of memory")]
            return [Report(job=job, events=[used(cell, self._gigabytes) for cell in job.cells])]
        return super().poll(timeout)


@pytest.fixture
def study():
    """One shape, several jobs."""
    return make_study(axes=[Axis("parameters", (1_000,))], seeds=tuple(range(6)), cohort_size=1, inputs=("step",))


def test_the_first_job_is_the_probe(store, study, monkeypatch):
    executor = OnGpu(gigabytes=8)
    assert run_study(study, store, executor).done == 6
    assert executor.shares[0] == 1.0
    assert set(executor.shares[1:]) == {0.13}
    assert {record.bytes for record in store.records().values()} == {8 * 2**30}


def test_what_was_measured_is_remembered(store, study):
    run_study(study, store, OnGpu(gigabytes=8))
    grown = make_study(axes=study.axes, seeds=tuple(range(9)), cohort_size=1, inputs=("step",))
    executor = OnGpu(gigabytes=8)
    assert run_study(grown, store, executor).done == 3
    assert set(executor.shares) == {0.13}


def test_out_of_memory_doubles_the_share_up_to_the_whole(store, study, tmp_path):
    executor = OnGpu(gigabytes=8, needed=0.5)
    assert run_study(study, store, executor).done == 6
    tried = sorted(set(executor.shares))
    assert tried[0] == 0.13 and tried[-1] == 1.0
    assert all(later >= min(1.0, 2 * earlier) for earlier, later in itertools.pairwise(tried))
    assert len(executor.shares) <= 6 + 2, "a shape learns from one job's failure"
    other = Store(str(tmp_path / "other"), study.name)
    outcome = run_study(study, other, OnGpu(gigabytes=8, needed=1.1))
    assert outcome.failed == 6
    assert {record.failure for record in other.records().values()} == {"out_of_memory"}
