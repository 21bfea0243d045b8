"""The driver: keeps workers busy, makes every event durable, then passes it on.

Which job a worker is given is said in `waiting`, what becomes of one that failed in `retries`, and how a sick node is
told from a sick cell in `health`.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from pipeline.plan import Device, PlannedCell, SickNode, Throughput, device_shown, gather
from pipeline.run.costs import Costs
from pipeline.run.executors import Executor, Report
from pipeline.run.health import SICK_AFTER, Health
from pipeline.run.job import Job
from pipeline.run.outcome import Outcome
from pipeline.run.packing import Packing
from pipeline.run.retries import Next, after
from pipeline.run.rungs import Rungs
from pipeline.run.schedule import Listed, Schedule
from pipeline.run.signals import Signals
from pipeline.run.spreading import Spreading
from pipeline.run.waiting import Known, Waiting
from pipeline.store import Ended, Event, Failed, Failure, Held, Measured, Used, Writer
from pipeline.study import Cell, Study
from trainers import Ending, threads

COMMIT_SECONDS = 5.0
"""Finished cells move into Parquet at most this much later: rarely enough that files stay few."""
TICK_SECONDS = 0.5
CHECKPOINT_SECONDS = 30.0
"""Between checkpoints of a job: what a lost worker costs at most, and about a thousandth of the time to write one."""


class Listener(Protocol):
    """Someone who is told what the store has made durable: a display or a tracker.

    The driver waits for it: whoever takes long does its work in a thread of its own.
    """

    def begin(self, cell: Cell, points: Sequence[Measured]) -> None: ...

    def tell(self, events: Sequence[Event]) -> None: ...


@dataclass(kw_only=True)
class Driver:
    """One run of a study's unfinished cells."""

    study: Study
    writer: Writer
    executor: Executor
    listeners: Sequence[Listener]
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    spreading: Spreading | None = None
    """Over how many devices cells are spread; each has one where left out."""
    costs: Costs | None = None
    """What may be spent, and what was spent before; no limit where left out."""
    rungs: Rungs | None = None
    """Where cells pause until it is decided which of them go on; every cell runs to its end where left out."""
    _running: dict[int, set[str]] = field(default_factory=dict)
    """Jobs by number, with their cells that have neither ended nor failed."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _known: Known = field(default_factory=Known)
    _unfinished: dict[str, None] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)
    _before: dict[int, dict[str, int]] = field(default_factory=dict)
    """The last steps of the cells of a job that were known when it started."""
    _ended: set[str] = field(default_factory=set)
    _paused: set[str] = field(default_factory=set)
    """Cells at a rung, undecided."""
    _devices: dict[str, str] = field(default_factory=dict)
    """The type of device on which a cell was last heard of."""
    _packing: Packing = field(default_factory=Packing)
    _health: Health = field(default_factory=Health)
    _waiting: Waiting = field(init=False)
    _stopping: bool = False
    _stop_by: float = math.inf

    def __post_init__(self) -> None:
        self.costs = self.costs or Costs(meter=self.executor.meter)
        self.spreading = self.spreading or Spreading(trainer=self.study.loaded_trainer)
        self._waiting = Waiting(
            known=self._known,
            packing=self._packing,
            spreading=self.spreading,
            costs=self.costs,
            failed_before=lambda job: bool(self._failed_on(job)),
            running=self._running,
        )

    def run(self, planned: Schedule | Sequence[PlannedCell], throughput: Throughput) -> Outcome:
        """Run the cells to their end, or until asked to stop. Every event is in the store when this returns."""
        began = time.monotonic()
        schedule: Schedule = planned if hasattr(planned, "take") else Listed(planned)
        self._known.throughput = throughput
        for cell in self.study.cells:
            if (used := self.writer.used(cell.id)) is not None:
                self._packing.learn(cell, used)
        outcome = Outcome()
        last_commit = time.monotonic()
        with Signals(self.stop):
            while self._goes_on(schedule):
                self._take_in(schedule)
                self._fill()
                reports = self.executor.poll(TICK_SECONDS)
                self._record([event for report in reports for event in self._read(report)], outcome)
                self._hear_verdicts(outcome)
                self._leave_sick_nodes()
                self._keep_to_budget(outcome)
                if time.monotonic() - last_commit > COMMIT_SECONDS:
                    self.costs.keep(self.writer.store.folder)
                    self.writer.commit()
                    last_commit = time.monotonic()
        outcome.account = self.costs.keep(self.writer.store.folder)
        outcome.interrupted, outcome.left = self._stopping, len(self._unfinished) + schedule.waiting
        outcome.terminated = math.isfinite(self._stop_by)
        outcome.seconds = time.monotonic() - began
        return outcome

    def stop(self, *, seconds: float = math.inf) -> None:
        """Start no more jobs, take back those that wait, and give the running ones so many seconds to save and end."""
        self._stop_by = min(self._stop_by, time.monotonic() + seconds)
        self._stopping = True
        self.executor.stop()

    def _goes_on(self, schedule: Schedule) -> bool:
        if self._stopping:
            return bool(self._running) and time.monotonic() < self._stop_by
        return bool(self._running or self._waiting or self._paused or not schedule.over)

    def _take_in(self, schedule: Schedule) -> None:
        """Queue what may run from now on: in cohorts, the longest first."""
        if self._stopping or not (planned := schedule.take(self._ended)):
            return
        self._known.cells |= {one.cell.id: one.cell for one in planned}
        self._known.reached |= {one.cell.id: one.reached for one in planned}
        self._unfinished |= dict.fromkeys(one.cell.id for one in planned)
        if self.rungs and (standing := self.rungs.admit([one.cell for one in planned], self._known.reached)):
            self._begin(standing)
            self._pause(standing)
        self._queue([one.cell for one in planned if one.cell.id not in self._paused])

    def _queue(self, cells: Sequence[Cell]) -> None:
        """Give cells to workers, those together that pause together."""
        workers = max(1, self.executor.workers // self.spreading.fewest)
        known, rungs = self._known, dict[int, list[Cell]]()
        for cell in cells:
            rungs.setdefault(self._rung(cell), []).append(cell)
        how = {"cohort_size": self.study.cohort_size, "workers": workers, "device": self._device()}
        cohorts = [cohort for one in rungs.values() for cohort in gather(one, known.throughput, **how)]
        fair_share = sum(known.to_go(cell.id) for cell in cells) / workers
        self._waiting.add(map(self._job, cohorts), worker_seconds=fair_share)

    def _rung(self, cell: Cell) -> int:
        """The step at which a cell is to pause next; 0 for its end."""
        return self.rungs.until(cell, self._known.reached.get(cell.id, 0)) if self.rungs else 0

    def _pause(self, cells: Sequence[Cell]) -> None:
        self._paused |= {cell.id for cell in cells}
        self.rungs.pause(cells, self._known.reached)

    def _hear_verdicts(self, outcome: Outcome) -> None:
        """Carry on the paused cells that are to go on, and write down which are held."""
        if not self._paused or self._stopping:
            return
        hungry = not self._waiting or self._waiting.none_payable(self._device())
        verdicts = self.rungs.verdicts(hungry=hungry, idle=hungry and not self._running)
        self._paused -= {*verdicts.go_on, *(event.cell for event in verdicts.held)}
        if verdicts.held:
            self._record(verdicts.held, outcome)
        if verdicts.go_on:
            self._queue([self._known.cells[cell] for cell in verdicts.go_on])

    def _device(self) -> Device:
        """The smallest of the devices at hand, as any of them may be given."""
        gpus = [device_shown(name, size) for name, size in self.executor.gpus.items()]
        return min(gpus, key=lambda gpu: gpu.bytes, default=device_shown("" if self._on_cpu else "gpu"))

    @property
    def _on_cpu(self) -> bool:
        return self.executor.device == "cpu"

    def _job(self, cells: Sequence[Cell], *, tries: int = 1, nodes_lost: int = 0) -> Job:
        number = next(self._numbers)
        return Job(
            number=number,
            series=f"{self.writer.series}-{number:06d}",
            trainer=self.study.trainer,
            base=self.study.folder,
            cells=tuple(cell.id for cell in cells),
            configs=tuple(cell.config for cell in cells),
            device=self.executor.device,
            checkpoints=self.writer.store.folder.folder("checkpoints").url,
            checkpoint_seconds=self.checkpoint_seconds,
            until=tuple(map(self._rung, cells)) if self.rungs else (),
            begun=frozenset(cell.id for cell in cells if self.writer.has_begun(cell.id)),
            tries=tries,
            nodes_lost=nodes_lost,
        )

    def _fill(self) -> None:
        while not self._stopping and self.executor.wants_more():
            if not (jobs := self._waiting.next(self.executor, self._device())):
                return
            for job in jobs:
                cells = self._known.of(job)
                for cell in cells:
                    points = [event.point for event in self.writer.points(cell.id)]
                    self._seconds[cell.id] = max((point.seconds for point in points), default=0.0)
                    self._known.reached[cell.id] = max((point.step for point in points), default=0)
                self._before[job.number] = {cell.id: self._known.reached[cell.id] for cell in cells}
                self._begin(cells)
                self._running[job.number] = set(job.cells)
            self.executor.submit([self._placed(job) for job in jobs])

    def _begin(self, cells: Sequence[Cell]) -> None:
        self.writer.begin(cells, device=self.executor.device)
        for listener in self.listeners:
            for cell in cells:
                listener.begin(cell, self.writer.points(cell.id))

    def _placed(self, job: Job) -> Job:
        """A job with what it asks for of a node, and with the nodes to keep away from."""
        sick = self._sick()
        avoid = sick | self._failed_on(job)
        if avoid >= self.executor.nodes.keys() and not self.executor.may_grow:
            avoid = sick  # Nowhere else to go.
        threads = job.devices * (1 if self._on_cpu else self._threads(job))
        cpus = threads if self._on_cpu else min(threads, self.executor.most_cpus(job.gpu_share))
        return replace(job, avoid=avoid, cpus=cpus, memory=self._packing.memory(self._known.cells[job.cells[0]]))

    def _threads(self, job: Job) -> int:
        """Threads that the cells make use of on a GPU."""
        trainer = self.study.loaded_trainer
        return max(threads(trainer, trainer.Config(**config)) for config in job.configs)

    def _keep_to_budget(self, outcome: Outcome) -> None:
        """Stop at the budget, and where it covers none of the jobs that are left."""
        stuck = not self._running and not self._paused and self._waiting.none_payable(self._device())
        if not self._stopping and (stuck or self.costs.used_up):
            outcome.over_budget = True
            self.stop()

    def _record(self, events: Sequence[Event], outcome: Outcome) -> None:
        """Make events durable, then tell the listeners what was new."""
        new = self.writer.append(events)
        for event in new:
            if isinstance(event, Measured):
                seconds = event.point.seconds - self._seconds.get(event.cell, 0.0)
                outcome.worker_seconds += seconds
                self.costs.train(self._devices[event.cell], seconds)
                self._seconds[event.cell] = event.point.seconds
                continue
            if isinstance(event, Used):
                self._packing.hear(self._known.cells[event.cell], event)
                continue
            self._unfinished.pop(event.cell, None)
            self._ended.add(event.cell)
            if isinstance(event, Failed):
                outcome.failed += 1
            elif isinstance(event, Held):
                outcome.held += 1
            elif event.ending == Ending.DIVERGED:
                outcome.diverged += 1
            else:
                outcome.done += 1
        for listener in self.listeners:
            listener.tell([event for event in new if not isinstance(event, Used)])

    def _read(self, report: Report) -> list[Event]:
        """The events of a report that are final, and what becomes of an ended or a lost job."""
        job = report.job
        for event in report.events:
            self._devices[event.cell] = report.device
            if isinstance(event, Measured):
                self._known.reached[event.cell] = max(event.point.step, self._known.reached.get(event.cell, 0))
            elif isinstance(event, Ended):
                self._health.did_well(event.cell, report.node)
        if report.memory:
            self._packing.hear_memory(self._known.cells[job.cells[0]], report.memory)
        events = [event for event in report.events if not isinstance(event, Failed)]
        failures = [event for event in report.events if isinstance(event, Failed)]
        self._running[job.number] -= {event.cell for event in report.events if isinstance(event, Ended | Failed)}
        if report.over:
            unheard = self._running.pop(job.number)
            unheard -= self._paused_of(job, unheard)
            self._packing.forget_probe(self._known.cells[job.cells[0]], ended=report.lost is None and not failures)
            if report.returned:
                self._waiting.put_back(self._job(self._known.of(job), tries=job.tries, nodes_lost=job.nodes_lost))
            elif report.lost or not self._stopping:
                failure, message = report.lost or Failure.PREEMPTED, report.message or "the worker ended early"
                failures += [
                    Failed(cell=cell, failure=failure, message=message) for cell in job.cells if cell in unheard
                ]
        return events + (self._judge(failures, report) if failures else [])

    def _paused_of(self, job: Job, unheard: set[str]) -> set[str]:
        """Those of a job that is over which stand at their rung, noted as paused."""
        rungs = dict(zip(job.cells, job.until, strict=False))
        at_rung = {cell for cell in unheard if 0 < rungs.get(cell, 0) <= self._known.reached.get(cell, 0)}
        if at_rung:
            self._pause([self._known.cells[cell] for cell in at_rung])
        return at_rung

    def _judge(self, failures: Sequence[Failed], report: Report) -> list[Failed]:
        """The failures that are final. The other cells are queued again, where a stopped study leaves them."""
        job, failure = report.job, failures[0].failure
        cells = [self._known.cells[event.cell] for event in failures]
        self._blame(failures, report)
        before = self._before.pop(job.number)
        progressed = any(self._known.reached.get(cell.id, 0) > before.get(cell.id, 0) for cell in cells)
        what = after(
            failure,
            job,
            progressed=progressed,
            stopping=self._stopping,
            elsewhere=self.executor.may_grow or not self._failed_on(job) >= self.executor.nodes.keys(),
            failed_elsewhere=self._health.elsewhere_too(job.cells),
            node_lost=report.node_lost,
        )
        if what is Next.GIVE_UP:
            return list(failures)
        if what is Next.LARGER:
            self._packing.grow(cells, beyond=job.gpu_share)
        if what is Next.APART:
            self._waiting.put_back(*(self._job([cell]) for cell in cells))
        else:
            tries, lost = (1, 0) if progressed or what is not Next.AGAIN else (job.tries, job.nodes_lost)
            if what is Next.AGAIN and not progressed:
                tries, lost = (tries, lost + 1) if report.node_lost else (tries + 1, lost)
            self._waiting.put_back(self._job(cells, tries=tries, nodes_lost=lost))
        return []

    def _blame(self, failures: Sequence[Failed], report: Report) -> None:
        """Hold failures against the node that they happened on."""
        if (
            report.node
            and not report.node_lost
            and failures[0].failure not in (Failure.BAD_CONFIG, Failure.OUT_OF_MEMORY)
        ):
            job = report.task if report.lost else report.job.number
            cells = [event.cell for event in failures]
            self._health.failed(cells, report.node, job=job, message=failures[-1].message)

    def _leave_sick_nodes(self) -> None:
        """Stop using nodes that are proved to be sick, and say so once."""
        said = {node.node for node in self.costs.account.sick}
        for node in self._health.proved.keys() - said:
            address, message = self.executor.nodes.get(node, "that has left"), self._health.proved[node]
            found = SickNode(node=node, address=address, jobs=SICK_AFTER, message=message, at=time.time())
            self.costs.find_sick(found)
            self.costs.keep(self.writer.store.folder)
            self.executor.recall()  # What waits may have been meant for it.
            for listener in self.listeners:
                if hasattr(listener, "warn"):
                    listener.warn(found.to_text())

    def _failed_on(self, job: Job) -> frozenset[str]:
        return frozenset.union(*map(self._health.failed_on, job.cells))

    def _sick(self) -> frozenset[str]:
        return self._health.sick(self.executor.nodes.keys(), may_grow=self.executor.may_grow)
