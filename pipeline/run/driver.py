"""The driver: keeps workers busy, makes every event durable, then passes it on.

Each class of failure has its own policy.

    preempted       the job goes back to the queue and resumes from its checkpoints, up to `MOST_TRIES` times
    hung            likewise, once: its process is ended first
    out_of_memory   another try with twice the share of the GPU, up to a whole one
    bug             reported with its traceback; the other cells go on
    bad_config      reported
    diverged        no failure: the cell is kept as data

When a cohort has used its tries, each of its cells gets a run of its own: a bad cell does not take the others with it.
"""

from __future__ import annotations

import itertools
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipeline.plan import LONGEST_JOB_SHARE, PlannedCell, Throughput, gather
from pipeline.run.executors import Executor, Report
from pipeline.run.job import Job
from pipeline.run.packing import Packing
from pipeline.run.schedule import Listed, Schedule
from pipeline.store import Ended, Event, Failed, Failure, Measured, Used, Writer
from pipeline.study import Cell, Study
from trainers import Ending

MOST_TRIES = {Failure.PREEMPTED: 4, Failure.HUNG: 2}
"""A job that lost its worker this often is reported: by then it is more likely the cause than the victim."""
COMMIT_SECONDS = 5.0
"""Finished cells move into Parquet at most this much later: rarely enough that files stay few."""
TICK_SECONDS = 0.5
TASK_SECONDS = 1.0
"""Short jobs go to a worker together until they are predicted to take this long: handing over costs milliseconds."""
CHECKPOINT_SECONDS = 30.0
"""Between checkpoints of a job: what a lost worker costs at most, and about a thousandth of the time to write one."""


class Listener(Protocol):
    """Someone who is told what the store has made durable: a display or a tracker."""

    def begin(self, cell: Cell, points: Sequence[Measured]) -> None: ...

    def tell(self, events: Sequence[Event]) -> None: ...


@dataclass(kw_only=True)
class Outcome:
    """How a run ended."""

    done: int = 0
    diverged: int = 0
    failed: int = 0
    interrupted: bool = False
    over_budget: bool = False
    seconds: float = 0.0
    worker_seconds: float = 0.0
    """What the workers spent on this run's points, as the points say."""
    left: int = 0
    """Cells that were not finished because the run was stopped."""

    @property
    def exit_code(self) -> int:
        """0 all done, 1 some cells failed, 130 stopped on request or at the budget with cells left."""
        if self.failed:
            return 1
        return 130 if self.interrupted and self.left else 0


@dataclass(kw_only=True)
class Driver:
    """One run of a study's unfinished cells."""

    study: Study
    writer: Writer
    executor: Executor
    listeners: Sequence[Listener]
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    budget_seconds: float = math.inf
    """Worker-seconds after which the run is stopped."""
    _queue: deque[Job] = field(default_factory=deque)
    _running: dict[int, set[str]] = field(default_factory=dict)
    """Jobs by number, with their cells that have neither ended nor failed."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _cells: dict[str, Cell] = field(default_factory=dict)
    _unfinished: dict[str, None] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _seconds: dict[str, float] = field(default_factory=dict)
    _packing: Packing = field(default_factory=Packing)
    _throughput: Throughput = field(default_factory=lambda: Throughput.fit([]))
    _task_seconds: float = 0.0
    _stopping: bool = False

    def run(self, planned: Schedule | Sequence[PlannedCell], throughput: Throughput) -> Outcome:
        """Run the cells to their end, or until asked to stop. Every event is in the store when this returns."""
        began = time.monotonic()
        schedule: Schedule = planned if hasattr(planned, "take") else Listed(planned)
        self._throughput = throughput
        for cell in self.study.cells:
            if (used := self.writer.used(cell.id)) is not None:
                self._packing.learn(cell, used)
        outcome = Outcome()
        last_commit = time.monotonic()
        with _Signals(self.stop):
            while self._goes_on(schedule):
                self._take_in(schedule)
                self._fill()
                reports = self.executor.poll(TICK_SECONDS)
                self._record([event for report in reports for event in self._read(report)], outcome)
                if outcome.worker_seconds > self.budget_seconds and not self._stopping:
                    outcome.over_budget = True
                    self.stop()
                if time.monotonic() - last_commit > COMMIT_SECONDS:
                    self.writer.commit()
                    last_commit = time.monotonic()
        outcome.interrupted, outcome.left = self._stopping, len(self._unfinished) + schedule.waiting
        outcome.seconds = time.monotonic() - began
        return outcome

    def stop(self) -> None:
        """Start no more jobs, and ask the running ones to save and end."""
        self._stopping = True
        self.executor.stop()

    def _goes_on(self, schedule: Schedule) -> bool:
        if self._stopping:
            return bool(self._running)
        return bool(self._running or self._queue or not schedule.over)

    def _take_in(self, schedule: Schedule) -> None:
        """Queue what may run from now on: in cohorts, the longest first."""
        if self._stopping or not (planned := schedule.take(self._ended)):
            return
        self._cells |= {one.cell.id: one.cell for one in planned}
        self._unfinished |= dict.fromkeys(one.cell.id for one in planned)
        workers = self.executor.workers
        cells = [one.cell for one in planned]
        cohorts = gather(cells, self._throughput, cohort_size=self.study.cohort_size, workers=workers)
        self._queue.extend(self._job(cohort) for cohort in cohorts)
        fair_share = sum(one.predicted_seconds for one in planned) / workers
        self._task_seconds = min(TASK_SECONDS, fair_share * LONGEST_JOB_SHARE)

    def _job(self, cells: Sequence[Cell], *, tries: int = 1) -> Job:
        return Job(
            number=next(self._numbers),
            trainer=self.study.trainer,
            cells=tuple(cell.id for cell in cells),
            configs=tuple(cell.config for cell in cells),
            device=self.executor.device,
            checkpoints=self.writer.store.folder.folder("checkpoints").url,
            checkpoint_seconds=self.checkpoint_seconds,
            begun=frozenset(cell.id for cell in cells if self.writer.has_begun(cell.id)),
            tries=tries,
        )

    def _fill(self) -> None:
        while not self._stopping and self.executor.wants_more() and (jobs := self._next()):
            for job in jobs:
                cells = self._cells_of(job)
                for cell in cells:
                    known = [event.point.seconds for event in self.writer.points(cell.id)]
                    self._seconds[cell.id] = max(known, default=0.0)
                self.writer.begin(cells, device=self.executor.device)
                for listener in self.listeners:
                    for cell in cells:
                        listener.begin(cell, self.writer.points(cell.id))
                self._running[job.number] = set(job.cells)
            self.executor.submit(jobs)

    def _next(self) -> list[Job]:
        """The jobs that one worker is to do next: the first of the queue that may start, or several short ones."""
        if self.executor.device != "cpu":
            return self._next_on_gpu()
        jobs, seconds = [], 0.0
        while self._queue and seconds < self._task_seconds:
            again = self._queue[0].tries > 1
            if jobs and again:
                break
            jobs.append(self._queue.popleft())
            if again:
                break  # Alone, so that a job that kills its worker does not use up the tries of others.
            seconds += sum(map(self._throughput.seconds, self._cells_of(jobs[-1])))
        return jobs

    def _next_on_gpu(self) -> list[Job]:
        self._packing.look(self.executor.gpus)
        for index, job in enumerate(self._queue):
            cells = self._cells_of(job)
            if self._packing.may_start(cells[0]):
                del self._queue[index]
                return [replace(job, gpu_share=self._packing.share(cells))]
        return []

    def _cells_of(self, job: Job) -> list[Cell]:
        return [self._cells[cell] for cell in job.cells]

    def _record(self, events: Sequence[Event], outcome: Outcome) -> None:
        """Make events durable, then tell the listeners what was new."""
        new = self.writer.append(events)
        for event in new:
            if isinstance(event, Measured):
                outcome.worker_seconds += event.point.seconds - self._seconds.get(event.cell, 0.0)
                self._seconds[event.cell] = event.point.seconds
                continue
            if isinstance(event, Used):
                self._packing.hear(self._cells[event.cell], event)
                continue
            self._unfinished.pop(event.cell, None)
            self._ended.add(event.cell)
            if isinstance(event, Failed):
                outcome.failed += 1
            elif event.ending == Ending.DIVERGED:
                outcome.diverged += 1
            else:
                outcome.done += 1
        for listener in self.listeners:
            listener.tell([event for event in new if not isinstance(event, Used)])

    def _read(self, report: Report) -> list[Event]:
        """The events of a report that are final, and what becomes of an ended or a lost job."""
        job = report.job
        events = [event for event in report.events if not isinstance(event, Failed)]
        failures = [event for event in report.events if isinstance(event, Failed)]
        self._running[job.number] -= {event.cell for event in report.events if isinstance(event, Ended | Failed)}
        if report.over:
            unheard = self._running.pop(job.number)
            self._packing.forget_probe(self._cells[job.cells[0]])
            if report.lost or not self._stopping:
                failure, message = report.lost or Failure.PREEMPTED, report.message or "the worker ended early"
                failures += [
                    Failed(cell=cell, failure=failure, message=message) for cell in job.cells if cell in unheard
                ]
        return events + (self._judge(failures, job) if failures else [])

    def _judge(self, failures: Sequence[Failed], job: Job) -> list[Failed]:
        """The failures that are final. The other cells are queued again, where a stopped study leaves them."""
        failure = failures[0].failure
        cells = [self._cells[event.cell] for event in failures]
        if failure in MOST_TRIES and (job.tries < MOST_TRIES[failure] or self._stopping):
            self._queue.appendleft(self._job(cells, tries=job.tries + 1))
        elif failure is Failure.OUT_OF_MEMORY and 0 < job.gpu_share < 1:
            self._packing.grow(cells, beyond=job.gpu_share)
            self._queue.appendleft(self._job(cells))
        elif failure is not Failure.BAD_CONFIG and len(job.cells) > 1:
            self._queue.extendleft(self._job([cell]) for cell in cells)
        else:
            return list(failures)
        return []


class _Signals:
    """Ctrl-C and SIGTERM ask for a drain; a second one ends the process as usual."""

    def __init__(self, stop: Callable[[], None]):
        self._stop = stop
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        except ValueError:
            pass  # Not in the main thread: whoever runs the driver there stops it with `Driver.stop`.

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
        self._stop()
