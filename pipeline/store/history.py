"""A cell's history: where it stands after the events that were heard of it.

The one place where events become a state. The writer, every reader, progress and W&B's mirrors all hold one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.store.events import Ended, Event, Failed, Held, Measured, Used
from trainers import Ending


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """What the store knows of one cell."""

    id: str
    trainer: str
    version: int
    config: Mapping[str, Any]
    columns: Mapping[str, Any]
    flops_per_step: float
    status: str
    """`done` or `diverged` once finished; else `failed`, `held` or `started`."""
    step: int = 0
    """The last step measured."""
    seconds: float = 0.0
    points: int = 0
    device: str = ""
    updated: float = 0.0
    """When the driver last heard of it, in Unix seconds."""
    resumed: float = 0.0
    """When a driver last took it up again, in Unix seconds; 0 if none ever did."""
    resumed_step: int = 0
    """The last step measured by then."""
    bytes: int = 0
    """GPU memory that it took, its part of its cohort's; 0 where it was not measured."""
    gpu: str = ""
    gpu_bytes: int = 0
    failure: str = ""
    message: str = ""
    """Why it failed, or is held."""
    traceback: str = ""

    @property
    def finished(self) -> bool:
        return is_finished(self.status)


def is_finished(status: str) -> bool:
    return status in (Ending.DONE, Ending.DIVERGED)


@dataclass(kw_only=True)
class Standing:
    """Where a cell stands, without its points."""

    step: int = 0
    """The last step measured."""
    seconds: float = 0.0
    """That it took until then."""
    points: int = 0
    used: Used | None = None
    last: Ended | Failed | Held | None = None
    updated: float = 0.0

    @property
    def status(self) -> str:
        """`started`, `failed`, `held`, `done` or `diverged`."""
        if self.last is None:
            return "started"
        return str(self.last.ending) if isinstance(self.last, Ended) else type(self.last).__name__.lower()

    def take(self, event: Event, at: float = 0.0) -> bool:
        """Take in an event heard at a Unix time; False if it says nothing new."""
        self.updated = max(self.updated, at)
        if isinstance(event, Measured):
            self.points += 1
            if event.point.step > self.step or self.points == 1:
                self.step, self.seconds = event.point.step, event.point.seconds
            self.again()
        elif isinstance(event, Used):
            self.used = event
        else:
            self.last = event
        return True

    def again(self) -> None:
        """The cell is run once more: that it failed or was held is not its last word."""
        if isinstance(self.last, Failed | Held):
            self.last = None


@dataclass(kw_only=True)
class History(Standing):
    """A cell with its points, each once."""

    measured: dict[tuple[int, int], Measured] = field(default_factory=dict)
    """By step and inference steps, in the order in which they were heard."""
    description: Mapping[str, Any] = field(default_factory=dict)
    """What the cell is, in the words of `CellRecord`: what was known before it ran."""
    resumed: float = 0.0
    resumed_step: int = 0

    def take(self, event: Event, at: float = 0.0) -> bool:
        if isinstance(event, Measured):
            if event.key in self.measured:
                self.updated = max(self.updated, at)
                return False
            self.measured[event.key] = event
        return super().take(event, at)

    def record(self) -> CellRecord:
        facts: dict[str, Any] = {}
        if isinstance(self.last, Failed):
            facts = {name: getattr(self.last, name) for name in ("failure", "message", "traceback")}
        if isinstance(self.last, Held):
            facts = {"message": self.last.reason}
        if self.used:
            facts |= {name: getattr(self.used, name) for name in ("bytes", "gpu", "gpu_bytes")}
        standing = ("status", "step", "seconds", "points", "updated", "resumed", "resumed_step")
        return CellRecord(**self.description, **facts, **{name: getattr(self, name) for name in standing})
