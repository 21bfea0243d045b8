"""Executors: where jobs run. The driver hands them jobs and takes back reports; it knows nothing else of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.events import Event, Failure, Job

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
    message: str = ""


class Executor(Protocol):
    """Runs jobs, each on one worker."""

    device: str
    """What the workers train on, `cpu` or a GPU's name: throughput is measured for each."""
    workers: int
    """Jobs that run at once."""
    window: int
    """Jobs that it wants in hand, running ones included."""

    def submit(self, job: Job) -> None: ...

    def poll(self, timeout: float) -> list[Report]:
        """What has happened, waiting up to `timeout` seconds for something to happen."""

    def stop(self) -> None:
        """Ask every job to save and end; their reports still come."""

    def close(self) -> None:
        """Let go of everything, finished or not."""


def in_batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """The events in lists, each sent once its first event is `BATCH_SECONDS` old."""
    batch: list[Event] = []
    due = 0.0
    for event in events:
        now = time.monotonic()
        if not batch:
            due = now + BATCH_SECONDS
        batch.append(event)
        if now >= due:
            yield batch
            batch = []
    if batch:
        yield batch


def make_executor(name: str, *, workers: int | None, device: str) -> Executor:
    """`inline` or `ray`, imported only when asked for."""
    if name == "inline":
        from pipeline.executors.inline import InlineExecutor

        return InlineExecutor(device=device)
    from pipeline.executors.on_ray import RayExecutor

    return RayExecutor(workers=workers, device=device)
