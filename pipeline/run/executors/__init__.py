"""Executors: where jobs run. The driver hands them jobs and takes back reports; it knows nothing else of them."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.run.executors.meter import Meter
from pipeline.run.job import Job
from pipeline.run.worker import run_job
from pipeline.store import Event, Failure

BATCH_SECONDS = 0.25
"""Events travel in batches at most this old: fresh enough to watch, few enough to cost nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """News of one job."""

    job: Job
    events: Sequence[Event] = ()
    over: bool = False
    """No more reports of this job follow."""
    lost: Failure | None = None
    """The job ended from outside: its process, its node or its memory."""
    node_lost: bool = False
    """Its whole node is gone: that is hardly the job's doing."""
    message: str = ""
    node: str = ""
    """Where it ran; empty where it never started."""
    device: str = "cpu"
    """Type of the device that it ran on: `cpu`, `h100`, or `gpu` where it is not known."""
    task: str = ""
    """Tells jobs that were lost together, in one process, from those that were lost each by itself."""
    memory: int = 0
    """Main memory that its process has taken at most so far, in bytes; 0 where not told."""

    @property
    def returned(self) -> bool:
        """The job comes back as it was handed over: it never started."""
        return self.over and not self.node and self.lost is None


class Executor(Protocol):
    """Runs jobs, each on one worker."""

    device: str
    """What the workers train on, `cpu` or `cuda`."""
    workers: int
    """Devices that it has or may get: about how many jobs run at once."""
    most_devices: int
    """Devices of one node: the most that a job can hold."""
    gpus: Mapping[str, int]
    """Types of GPU among the workers, each with its memory in bytes; empty where nobody can tell."""
    meter: Meter
    """What jobs held of the devices, and what of them was up."""

    @property
    def nodes(self) -> Mapping[str, str]:
        """Nodes that jobs can go to now, with their addresses."""

    @property
    def may_grow(self) -> bool:
        """Whether nodes may come that are not there now."""

    @property
    def idle(self) -> float:
        """Devices that are up beyond those that its jobs in hand can hold."""

    def most_cpus(self, gpu_share: float) -> int:
        """Cores that a job with this part of a GPU can ask for without leaving other parts of it idle."""

    def wants_more(self) -> bool:
        """Whether it has fewer jobs in hand than it can make use of."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take on jobs that one worker does one after another."""

    def poll(self, timeout: float) -> list[Report]:
        """What has happened, waiting up to `timeout` seconds for something to happen."""

    def recall(self) -> None:
        """Take back the jobs that wait for a worker; their reports say `returned`."""

    def stop(self) -> None:
        """Take back what waits, and ask every running job to save and end; their reports still come."""

    def close(self, *, in_haste: bool = False) -> None:
        """Let go of everything, finished or not; in haste, without waiting for anyone."""


Line = tuple[int, Event | None]
"""A job's number with one of its events, or with None once it is over."""


def run_jobs(jobs: Sequence[Job], should_stop: Callable[[], bool]) -> Iterator[list[Line]]:
    """What a worker does: its jobs in turn. Lines come in lists, sent once the first is `BATCH_SECONDS` old."""
    batch: list[Line] = []
    due = 0.0
    for job in jobs:
        for event in itertools.chain(run_job(job, should_stop), (None,)):
            now = time.monotonic()
            if not batch:
                due = now + BATCH_SECONDS
            batch.append((job.number, event))
            if now >= due:
                yield batch
                batch = []
    if batch:
        yield batch


def read_lines(jobs: Iterable[Job], lines: Iterable[Line], **where: str | int) -> list[Report]:
    """One report for each job that a list of lines speaks of."""
    by_number: dict[int, list[Event | None]] = {}
    for number, event in lines:
        by_number.setdefault(number, []).append(event)
    return [
        Report(job=job, events=[event for event in events if event is not None], over=events[-1] is None, **where)
        for job in jobs
        if (events := by_number.get(job.number))
    ]


def make_executor(name: str, *, workers: int | None, device: str, hang_seconds: float) -> Executor:
    """`inline` or `ray`, imported only when asked for."""
    if name == "inline":
        from pipeline.run.executors.inline import InlineExecutor

        return InlineExecutor(device=device)
    if not os.environ.get("RAY_ADDRESS"):
        # A cluster of this machine alone keeps to loopback. Ray reads this when it is imported, on every system.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from pipeline.run.executors.on_ray import RayExecutor

    return RayExecutor(workers=workers, device=device, hang_seconds=hang_seconds)
