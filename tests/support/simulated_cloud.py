"""A cluster that is simulated in this process, on a clock of its own: nodes come, are taken back, and may be sick.

An executor with the rules of an autoscaled spot cluster: a node comes some seconds after it is asked for, while jobs
wait, up to a limit; it leaves when it has had nothing to do for a while; and every few seconds one is taken back with
its jobs. Jobs are trained by the real worker's code, at once, and take as long on the simulated clock as their cells
pretend to. Left out are Ray itself, processes, the network, and how long a driver takes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.run import Job, Report, run_job
from pipeline.run.executors.meter import Meter
from pipeline.store import Event, Failed, Failure, Measured

STEPS_PER_SECOND = 30
"""Of every job, on the simulated clock."""


@dataclass(kw_only=True)
class Node:
    """One GPU."""

    name: str
    up_at: float
    free_at: float
    sick: bool = False


@dataclass(kw_only=True)
class SimulatedCloud:
    """See `pipeline.run.Executor`."""

    most: int = 16
    boot_seconds: float = 40.0
    idle_seconds: float = 60.0
    lose_every: float = 10.0
    seed: int = 0
    sick_nodes: int = 1
    """The first so many nodes fail whatever runs on them, at once."""
    device: str = "cuda"
    now: float = 0.0
    losses: int = 0
    most_launched: int = 0
    """Nodes at once, those on their way included."""
    started: list[tuple[str, str]] = field(default_factory=list)
    """Cells with the nodes that they were started on, in order."""
    _nodes: dict[str, Node] = field(default_factory=dict)
    _waiting: list[Job] = field(default_factory=list)
    _running: dict[str, tuple[float, Job, Iterator[Event]]] = field(default_factory=dict)
    """By node: since when, what, and the rest of its events."""
    _heard: dict[str, int] = field(default_factory=dict)
    _saved: dict[str, int] = field(default_factory=dict)
    """The last step of cells that were lost: from there they go on."""
    _returned: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.meter = Meter(clock=lambda: self.now)
        self.gpus: dict[str, int] = {}
        self._numbers, self._draw, self._next_loss = itertools.count(1), random.Random(self.seed), self.lose_every
        self._stopping = False

    @property
    def workers(self) -> int:
        return self.most

    @property
    def nodes(self) -> dict[str, str]:
        return {name: f"address of {name}" for name, node in self._nodes.items() if node.up_at <= self.now}

    @property
    def may_grow(self) -> bool:
        return len(self.nodes) < self.most

    @property
    def idle(self) -> float:
        return len(self.nodes) - len(self._running) - len(self._waiting)

    @property
    def waiting(self) -> int:
        """Tasks that ask for a node."""
        return len(self._waiting)

    def most_cpus(self, gpu_share: float) -> int:
        return 1

    def wants_more(self) -> bool:
        return len(self._waiting) + len(self._running) < self.most

    def submit(self, jobs: Sequence[Job]) -> None:
        (job,) = jobs  # On GPUs, a task is one job.
        self._waiting.append(job)

    def poll(self, timeout: float) -> list[Report]:
        """One second of the simulated clock."""
        self.now += 1.0
        reports = [Report(job=job, over=True) for job in self._returned]
        self._returned = []
        self._place()
        self._launch()
        reports += self._advance()
        reports += self._lose()
        self._let_go()
        self.most_launched = max(self.most_launched, len(self._nodes))
        self.meter.offer({"gpu": len(self.nodes)})
        return reports

    def recall(self) -> None:
        self._returned += self._waiting
        self._waiting = []

    def stop(self) -> None:
        self._stopping = True
        self.recall()

    def close(self, *, in_haste: bool = False) -> None:
        pass

    def _launch(self) -> None:
        coming = sum(node.up_at > self.now for node in self._nodes.values())
        for _ in range(min(len(self._waiting) - coming, self.most - len(self._nodes))):
            number = next(self._numbers)
            up_at = self.now + self.boot_seconds
            node = Node(name=f"node {number}", up_at=up_at, free_at=up_at, sick=number <= self.sick_nodes)
            self._nodes[node.name] = node

    def _place(self) -> None:
        for job in list(self._waiting):
            free = [
                node
                for node in self._nodes.values()
                if node.up_at <= self.now and node.name not in self._running and node.name not in job.avoid
            ]
            if free:
                # The sick one first: what it is given fails at once, so it is always free.
                node = max(free, key=lambda node: node.sick)
                self._waiting.remove(job)
                events = self._ecc(job) if node.sick else run_job(job, lambda: self._stopping)
                self._running[node.name] = self.now, job, events
                self.started += [(cell, node.name) for cell in job.cells]
                self.meter.begin(node.name, device="gpu", devices=1.0)

    def _ecc(self, job: Job) -> Iterator[Event]:
        message = "CUDA error: uncorrectable ECC error"
        return (Failed(cell=cell, failure=Failure.BUG, message=message) for cell in job.cells)

    def _advance(self) -> list[Report]:
        """Events up to the step that each job has reached by now; all of them where it is told to stop."""
        reports = []
        for name, (since, job, events) in list(self._running.items()):
            heard, over = [], True
            until = self._saved.get(job.cells[0], 0) + STEPS_PER_SECOND * (self.now - since)
            for event in events:
                heard.append(event)
                if isinstance(event, Measured) and event.point.step >= until:
                    over = False
                    break
            self._heard |= {event.cell: event.point.step for event in heard if isinstance(event, Measured)}
            reports.append(Report(job=job, events=heard, over=over, **_where(name)))
            if over:
                self._end(name)
        return reports

    def _lose(self) -> list[Report]:
        healthy = [name for name in self.nodes if not self._nodes[name].sick]
        if self.now < self._next_loss or not healthy:
            return []
        self._next_loss = self.now + self.lose_every
        name = self._draw.choice(healthy)
        self.losses += 1
        _, job, _ = self._running.get(name, (0.0, None, ()))
        self._saved |= {cell: self._heard.get(cell, 0) for cell in (job.cells if job else ())}
        self._end(name)
        del self._nodes[name]
        lost = {"over": True, "lost": Failure.PREEMPTED, "node_lost": True, "message": "taken back"}
        return [Report(job=job, **lost, **_where(name))] if job else []

    def _let_go(self) -> None:
        for name, node in list(self._nodes.items()):
            if name not in self._running and self.now - node.free_at > self.idle_seconds:
                del self._nodes[name]

    def _end(self, name: str) -> None:
        self._running.pop(name, None)
        self._nodes[name].free_at = self.now
        self.meter.end(name)


def _where(node: str) -> dict[str, str]:
    return {"node": node, "device": "gpu", "task": node}
