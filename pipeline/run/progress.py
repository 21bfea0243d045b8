"""Progress of a run: what it has done, how far it is by predicted seconds, and when it will be over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.plan import Plan, PlannedCell, State
from pipeline.store import CellRecord, Event, Measured, Standing
from pipeline.study import Cell


@dataclass(kw_only=True)
class Progress:
    """What a run has done so far, by the share of its predicted seconds."""

    predicted: Mapping[str, float]
    """Predicted seconds of every cell that this run is to finish."""
    already_done: int = 0
    """Cells of the study that earlier runs finished."""
    held: int = 0
    """Cells that the budget holds back."""
    cost: Callable[[], str] | None = None
    """Says what the study has cost so far, where someone measures it."""
    forecast: str = ""
    """What is foretold so far, where someone fits beside the run."""
    began: float = field(default_factory=time.monotonic)
    running: set[str] = field(default_factory=set)
    """Cells that have reached a point and not their end."""
    ended: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    stopped: set[str] = field(default_factory=set)
    """Cells that are not carried on since they are hopeless."""
    _steps: dict[str, int] = field(default_factory=dict)
    _standing: dict[str, Standing] = field(default_factory=dict)
    _shares: dict[str, float] = field(default_factory=dict)
    _at_start: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, planned: Sequence[PlannedCell], **facts: Any) -> Progress:
        return cls(predicted={one.cell.id: one.predicted_seconds for one in planned}, **facts)

    @classmethod
    def read(cls, made: Plan, records: Mapping[str, CellRecord], *, since: float, now: float) -> Progress:
        """What a run of another process has done, from its store; `since` is when it began, both in Unix seconds.

        Cells that failed before it began count once it takes them up. What its budget holds back is not known here.
        """
        began = time.monotonic() - max(now - since, 0.0)
        progress = cls(predicted={one.cell.id: one.predicted_seconds for one in made.cells}, began=began)
        for one in made.cells:
            id, steps, record = one.cell.id, one.cell.counts.steps, records.get(one.cell.id)
            if record is None:
                continue
            heard, taken_up = record.updated >= since, record.resumed >= since
            if not heard and not taken_up and (one.state.finished or one.state in (State.FAILED, State.HELD)):
                progress.already_done += one.state.finished
                del progress.predicted[id]
                continue
            progress._shares[id] = progress._at_start[id] = record.step / steps
            if taken_up:
                progress._at_start[id] = record.resumed_step / steps
            elif heard:
                progress._at_start[id] = 0.0
            if heard:
                progress._file(id, record.status)
        return progress

    def begin(self, cell: Cell, points: Sequence[Measured]) -> None:
        standing = self._standing[cell.id] = Standing()
        for event in points:
            standing.take(event)
        self._steps[cell.id] = cell.counts.steps
        self._shares[cell.id] = self._at_start[cell.id] = standing.step / cell.counts.steps

    def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            standing = self._standing[event.cell]
            standing.take(event)
            self._shares[event.cell] = standing.step / self._steps[event.cell]
            self._file(event.cell, standing.status)

    def _file(self, cell: str, status: str) -> None:
        """Count a cell where it belongs. One that failed or is held is behind us, as one that ended is."""
        for cells in (self.running, self.ended, self.failed, self.stopped):
            cells.discard(cell)
        if status == "started":
            self.running.add(cell)
        else:
            self._shares[cell] = 1.0
            {"failed": self.failed, "held": self.stopped}.get(status, self.ended).add(cell)

    @property
    def share(self) -> float:
        """The part of the predicted seconds that is behind us, 0 to 1."""
        total = sum(self.predicted.values())
        return sum(self.predicted[cell] * share for cell, share in self._shares.items()) / total if total else 1.0

    @property
    def remaining_seconds(self) -> float | None:
        """Wall-clock seconds to go at this run's own pace; None until there is a pace."""
        total = sum(self.predicted.values())
        # Cell by cell: of two large sums, the difference would be rounding before anything is gained.
        gained = sum(
            self.predicted[cell] * (share - self._at_start.get(cell, 0.0)) for cell, share in self._shares.items()
        )
        elapsed = time.monotonic() - self.began
        return elapsed * (1 - self.share) * total / gained if gained > 0 else None

    @property
    def cells_per_minute(self) -> float:
        """Cells that this run has ended, by its own wall clock."""
        return 60 * len(self.ended) / max(time.monotonic() - self.began, 1e-9)

    def to_json(self) -> dict[str, Any]:
        return {
            "running": len(self.running),
            "share": self.share,
            "cells_per_minute": self.cells_per_minute,
            "eta_seconds": self.remaining_seconds,
        }

    def eta(self) -> str:
        remaining = self.remaining_seconds
        return f"ETA {clock(remaining)}" if remaining is not None else "ETA ?"

    def line(self) -> str:
        done, total = len(self.ended) + self.already_done, len(self.predicted) + self.already_done
        parts = [f"{done}/{total} cells", f"{len(self.running)} running"]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        if held := self.held + len(self.stopped):
            parts.append(f"{held} held")
        parts += [f"{self.share:.0%}", f"{self.cells_per_minute:.3g} cells/min", self.eta()]
        if self.cost:
            parts.append(self.cost())
        if self.forecast:
            parts.append(self.forecast)
        return " · ".join(parts)


def clock(seconds: float) -> str:
    """`0:42`, `12:05`, `3:12:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
