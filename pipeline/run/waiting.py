"""The jobs that wait for a worker, and which of them it is given.

The first that may start, short ones several at a time; on a GPU the first whose shape is measured, or for which a GPU
lies idle. A job that the budget covers no more lets those behind it go before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.plan import LONGEST_JOB_SHARE, Device, Throughput
from pipeline.run.costs import Costs
from pipeline.run.executors import Executor
from pipeline.run.job import Job
from pipeline.run.packing import Packing
from pipeline.run.spreading import Spreading
from pipeline.study import Cell

TASK_SECONDS = 1.0
"""Short jobs go to a worker together until they are predicted to take this long: handing over costs milliseconds."""


@dataclass(kw_only=True)
class Known:
    """What a driver knows of its cells; it learns more while they run."""

    cells: dict[str, Cell] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    """The last step of a cell that is known."""
    throughput: Throughput = field(default_factory=lambda: Throughput.fit([]))

    def of(self, job: Job) -> list[Cell]:
        return [self.cells[cell] for cell in job.cells]

    def to_go(self, id: str) -> float:
        """Predicted seconds of training that a cell still takes."""
        cell = self.cells[id]
        return self.throughput.seconds(cell) * (1 - self.reached.get(id, 0) / cell.counts.steps)


@dataclass(kw_only=True)
class Waiting:
    """See the module's docstring."""

    known: Known
    packing: Packing
    spreading: Spreading
    costs: Costs
    failed_before: Callable[[Job], bool]
    """Whether cells of a job failed on a node: such a job goes alone."""
    running: Mapping[int, Iterable[str]]
    """The jobs at work by number, with the cells that they still train."""
    _jobs: deque[Job] = field(default_factory=deque)
    _task_seconds: float = TASK_SECONDS

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, jobs: Iterable[Job], *, worker_seconds: float) -> None:
        """New ones, behind those that wait; worker_seconds: what each worker has to do of them."""
        self._jobs.extend(jobs)
        self._task_seconds = min(TASK_SECONDS, worker_seconds * LONGEST_JOB_SHARE)

    def put_back(self, *jobs: Job) -> None:
        """Those that are to be tried again, before the others."""
        self._jobs.extendleft(jobs)

    def next(self, executor: Executor, device: Device) -> list[Job]:
        """What one worker is to do next; nothing where none of them may start."""
        return self._next_on_cpu(device) if executor.device == "cpu" else self._next_on_gpu(executor, device)

    def none_payable(self, device: Device) -> bool:
        """Whether the budget covers none of those that wait."""
        return bool(self._jobs) and not any(self._can_pay(job, device) for job in self._jobs)

    def _next_on_cpu(self, device: Device) -> list[Job]:
        jobs, seconds = [], 0.0
        self._payable_first(device)
        while self._jobs and seconds < self._task_seconds and self._can_pay(self._jobs[0], device):
            again = self._jobs[0].tries > 1 or self.failed_before(self._jobs[0])
            if jobs and again:
                break
            job = self._jobs.popleft()
            jobs.append(replace(job, devices=self.spreading.fewest))
            if again:
                break  # Alone, so that a job that kills its worker does not use up the tries of others.
            seconds += sum(map(self.known.throughput.seconds, self.known.of(jobs[-1])))
        return jobs

    def _payable_first(self, device: Device) -> None:
        for index, job in enumerate(self._jobs):
            if self._can_pay(job, device):
                if index:
                    del self._jobs[index]
                    self._jobs.appendleft(job)
                return

    def _next_on_gpu(self, executor: Executor, device: Device) -> list[Job]:
        self.packing.look(executor.gpus)
        for index, job in enumerate(self._jobs):
            cells: Sequence[Cell] = self.known.of(job)
            devices = self.spreading.devices(job, executor, waiting=len(self._jobs), seconds=self._seconds)
            if devices > 1:
                if self._can_pay(job, device):
                    del self._jobs[index]
                    return [replace(job, devices=devices, gpu_share=float(devices))]
                continue
            # A GPU that is up costs the same whether it waits for a measurement or trains a cell that it could share.
            if (self.packing.may_start(cells[0]) or executor.idle >= 1) and self._can_pay(job, device):
                del self._jobs[index]
                return [replace(job, gpu_share=self.packing.share(cells))]
        return []

    def _seconds(self, job: Job) -> float:
        return sum(map(self.known.to_go, job.cells))

    def _can_pay(self, job: Job, device: Device) -> bool:
        """Whether the budget covers this job too, beside what the running ones still need."""
        if self.costs.budget is None:  # Else a thousand short cells would be summed up a thousand times.
            return True
        cells = [*job.cells, *(cell for running in self.running.values() for cell in running)]
        return self.costs.covers(sum(map(self.known.to_go, cells)), device=device.name)
