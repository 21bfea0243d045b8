"""Packing: the first job of a shape is measured alone, the others ask for what it took."""

from __future__ import annotations

import itertools

import pytest
from rehearsal import make_study, run_study

from pipeline import Axis
from pipeline.run import Report
from pipeline.run.executors.inline import InlineExecutor
from pipeline.run.packing import PROCESS_BYTES, Packing
from pipeline.store import Failure, Store, Used
from trainers import HEADROOM

GPU = 80 * 2**30
SIZES = {"a GPU": GPU, "a small GPU": 24 * 2**30}


def used(cell: str, gigabytes: float, gpu: str = "a GPU") -> Used:
    return Used(cell=cell, bytes=int(gigabytes * 2**30), gpu=gpu, gpu_bytes=SIZES[gpu])


def needed(gigabytes: float, gpu: str = "a GPU") -> float:
    """The share of a GPU that a job with so much must ask for, before it is rounded up."""
    return (PROCESS_BYTES + HEADROOM * gigabytes * 2**30) / SIZES[gpu]


def test_a_share_is_what_was_measured_and_some_room():
    cell, *others = make_study(seeds=(0, 1, 2)).cells[:3]
    packing = Packing()
    assert packing.share([cell]) == 1.0
    assert not packing.may_start(others[0])
    packing.learn(cell, used(cell.id, 4))
    assert packing.may_start(others[0])
    assert needed(2 * 4) <= packing.share(others) < needed(2 * 4) + 0.01
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


def test_a_footprint_holds_for_one_type_of_gpu():
    cell, other = make_study(seeds=(0, 1)).cells[:2]
    packing = Packing()
    packing.learn(cell, used(cell.id, 4))
    packing.look({"a small GPU": SIZES["a small GPU"]})
    assert packing.share([cell]) == 1.0, "nobody knows what it takes there"
    assert not packing.may_start(other)
    packing.hear(cell, used(cell.id, 3, "a small GPU"))
    assert needed(3, "a small GPU") <= packing.share([cell]) < needed(3, "a small GPU") + 0.01
    packing.look({"a GPU": GPU})
    packing._heard.clear()  # As on another day.
    assert needed(4) <= packing.share([cell]) < needed(4) + 0.01


def test_where_types_are_mixed_a_job_fits_on_each():
    cell = make_study().cells[0]
    packing = Packing()
    packing.look(SIZES)
    assert packing.share([cell]) == 1.0
    packing.hear(cell, used(cell.id, 4))
    guessed = needed(4, "a small GPU")
    assert guessed <= packing.share([cell]) < guessed + 0.01, "what was measured on one is expected of the other"
    packing.hear(cell, used(cell.id, 6, "a small GPU"))
    assert needed(6, "a small GPU") <= packing.share([cell]) < needed(6, "a small GPU") + 0.01
    before = packing.share([cell])
    packing.grow([cell], beyond=before)
    assert packing.share([cell]) == pytest.approx(2 * before, abs=0.011)
    packing.look({"a GPU": GPU})
    packing._heard = {"a GPU"}
    assert packing.share([cell]) >= 2 * before, "nobody knows on which type it ran out"


def test_what_jobs_say_counts_where_the_executor_uses_other_names():
    cell = make_study().cells[0]
    packing = Packing()
    packing.look({"a slice of a GPU": GPU})
    packing.share([cell])
    packing.hear(cell, used(cell.id, 3, "a small GPU"))
    packing.look({"a slice of a GPU": GPU})
    assert needed(3, "a small GPU") <= packing.share([cell]) < 1.0, "it is not measured for ever"


class OnGpu(InlineExecutor):
    """Says that it has a GPU, on which every cell takes `gigabytes`; refuses what asks for less than `needed`.

    `tells`: whether it knows its type before a job says so.
    """

    def __init__(self, gigabytes: float, needed: float = 0.0, *, gpu: str = "a GPU", tells: bool = False):
        super().__init__(device="cpu")
        self.device, self.shares = "cuda", []
        self.gpus = {gpu: SIZES[gpu]} if tells else {}
        self._gpu = gpu
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
            return [Report(job=job, events=[used(cell, self._gigabytes, self._gpu) for cell in job.cells])]
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


def test_the_store_remembers_each_type_of_gpu(store, study):
    """Three days on two types: each is measured once, and neither's footprint is taken for the other's."""

    def day(cells: int, gigabytes: float, gpu: str) -> list[float]:
        grown = make_study(axes=study.axes, seeds=tuple(range(cells)), cohort_size=1, inputs=("step",))
        executor = OnGpu(gigabytes, gpu=gpu, tells=True)
        run_study(grown, store, executor)
        return executor.shares

    assert day(3, 8, "a GPU") == [1.0, 0.13, 0.13]
    small = pytest.approx(needed(6, "a small GPU"), abs=0.01)
    assert day(6, 6, "a small GPU") == [1.0, small, small]
    assert day(9, 8, "a GPU") == [0.13] * 3
    assert day(12, 6, "a small GPU") == [small] * 3
    assert {(record.gpu, record.bytes) for record in store.records().values()} == {
        ("a GPU", 8 * 2**30),
        ("a small GPU", 6 * 2**30),
    }


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
