"""Cells as W&B should show them, and how far it is: what to send next, and what becomes of it when sending fails.

Every cell's points are sent in their order, so that W&B always holds the first points of a cell and lacks only its last
ones, never one from the middle. Offline, a cell is written in one go when it ends; online, it is shown live unless it
is short. Whatever fails is tried again, and in the end left to `unsl sync`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pipeline.store import CellRecord, Ended, Event, Failed, Held, History, Measured, Store
from pipeline.study import Cell
from pipeline.tracking.wandb_runs import WandbRuns
from trainers import TrainerError

OPEN_AFTER_SECONDS = 5.0
"""Online, a cell is shown live once it has lived this long; shorter ones are sent in one go when they end."""
MOST_OPEN = 32
"""Runs that are live at once: two cohorts. Each costs wandb a connection; the other cells are sent when they end."""
MOST_TRIES = 3
"""An ended cell that could not be sent this often is left to `unsl sync`, which frees its points."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 300.0
"""After a failure all sending pauses, twice as long each time: mostly W&B is down for all cells or for none."""


@dataclass(kw_only=True)
class _Mirror:
    cell: Cell
    history: History = field(default_factory=History)
    run: Any = None
    sent: int = 0
    """How many of the points W&B has."""
    row: tuple[int, int] = (-1, -1)
    """The last row at W&B: its number there, and its step."""
    not_before: float = 0.0
    tries: int = 0
    complete: bool = False

    @property
    def points(self) -> list[Measured]:
        return list(self.history.measured.values())

    def add(self, event: Event) -> None:
        if isinstance(event, Measured):
            self.again()
        else:
            self.not_before = 0.0
        if self.history.take(event):
            self.complete = False

    def again(self) -> None:
        """The cell is run once more: that it failed or was held is not its last word."""
        if isinstance(self.history.last, Failed | Held):
            self.history.again()
            self.tries, self.complete = 0, False


class Mirrors:
    """All cells of one study. Not for several threads at once.

    Cells whose run W&B may not be asked for yet wait their turn; live runs get their points meanwhile.
    """

    def __init__(self, runs: WandbRuns, clock: Callable[[], float] = time.monotonic):
        self._runs, self._clock = runs, clock
        self._mirrors: dict[str, _Mirror] = {}
        self._due: dict[str, _Mirror] = {}
        self._backlog: dict[str, Callable[[], _Mirror]] = {}
        self._pause_until = 0.0
        self._settling = False
        self._in_a_row = 0
        self._given_up: set[str] = set()
        self.complete: set[str] = set()
        """Cells that W&B has up to their end, or as far as they came."""
        self.points = 0
        """Points sent; those of a run that was written again count again."""
        self.failures: list[str] = []

    def begin(self, cell: Cell, points: Sequence[Measured]) -> None:
        mirror = self._mirrors.setdefault(cell.id, _Mirror(cell=cell, not_before=self._clock() + OPEN_AFTER_SECONDS))
        mirror.again()
        for event in points:
            mirror.add(event)
        self._due[cell.id] = mirror

    def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if mirror := self._mirrors.get(event.cell):
                mirror.add(event)
                self._due[event.cell] = mirror

    def catch_up(self, store: Store, skip: set[str], unfinished: bool) -> None:
        """Put on the list what the store has and W&B lacks. Its points are taken from the store one cell at a time."""
        missing = [
            record
            for record in store.records().values()
            if (record.finished or (unfinished and record.points)) and record.id not in skip
            if not self._runs.sent.has(self._runs.cell_id(record.id), points=record.points, status=record.status)
        ]
        if not missing:
            return
        cells = {cell.id: cell for cell in self._runs.study.cells}
        histories = store.histories(record.id for record in missing)
        for record in missing:
            if (cell := cells.get(record.id) or self._rebuilt(record)) and record.id in histories:
                read = histories[record.id]
                self._backlog[record.id] = lambda cell=cell, read=read: _Mirror(cell=cell, history=read())

    def settle(self) -> None:
        """No more events will come: cells that have not ended are sent as far as they are."""
        self._settling, self._pause_until, self._in_a_row = True, 0.0, 0
        for mirror in self._mirrors.values():
            if not mirror.complete:
                mirror.not_before = 0.0
                self._due[mirror.cell.id] = mirror

    def wait_seconds(self) -> float | None:
        """How long there is nothing to do; None if until something is told."""
        if not self._due and not self._backlog:
            return None
        now, open_at = self._clock(), self._open_at()
        next_due = min((self._due_at(one, open_at) for one in self._due.values()), default=math.inf)
        if self._backlog:
            next_due = min(next_due, open_at)
        return max(0.0, next_due - now, self._pause_until - now)

    def advance(self) -> None:
        """Bring one cell up to date: one at work if there is one, else one from the store."""
        now, open_at = self._clock(), self._open_at()
        if now < self._pause_until:
            return
        mirror = next((one for one in self._due.values() if self._due_at(one, open_at) <= now), None)
        if mirror is None and self._backlog and open_at <= now:
            mirror = self._take_from_backlog()
        if mirror is None:
            return
        self._due.pop(mirror.cell.id, None)
        try:
            self._send(mirror)
            self._in_a_row = 0
        except Exception as error:
            self._note(error, mirror)

    def _open_at(self) -> float:
        """When the next run may be opened; in the past where one may be now."""
        wait = self._runs.wait_to_open()
        return self._clock() + wait if wait else -math.inf

    def _due_at(self, mirror: _Mirror, open_at: float) -> float:
        return mirror.not_before if mirror.run is not None else max(mirror.not_before, open_at)

    def left(self) -> set[str]:
        """Cells that W&B lacks, or has not to their end."""
        unsent = {cell for cell, mirror in list(self._mirrors.items()) if not mirror.complete}
        return unsent | set(self._backlog) | self._given_up

    def _take_from_backlog(self) -> _Mirror | None:
        cell, make = next(iter(self._backlog.items()))
        del self._backlog[cell]
        try:
            self._mirrors[cell] = make()
        except Exception as error:
            self.note_failure(error)
            self._given_up.add(cell)
        return self._mirrors.get(cell)

    def _send(self, mirror: _Mirror) -> None:
        ended = self._settling or mirror.history.last is not None
        if mirror.run is None:
            if not ended and not self._may_open(mirror):
                return
            self._open(mirror)
        new = mirror.points[mirror.sent :]
        mirror.row = self._runs.log(mirror.run, new, mirror.row)
        mirror.sent += len(new)
        self.points += len(new)
        if ended:
            self._close(mirror)

    def _may_open(self, mirror: _Mirror) -> bool:
        """Whether an unended cell is shown live now. If only later, it stays due."""
        if not self._runs.online:
            return False
        now = self._clock()
        live = sum(one.run is not None for one in self._mirrors.values())
        if now < mirror.not_before or live >= MOST_OPEN:
            mirror.not_before = max(mirror.not_before, now + 1.0)
            self._due[mirror.cell.id] = mirror
            return False
        return True

    def _open(self, mirror: _Mirror) -> None:
        mirror.run, first_row = self._runs.open_cell(mirror.cell)
        mirror.row = (first_row - 1, -1)
        mirror.sent = 0
        points = mirror.points
        while mirror.sent < len(points) and points[mirror.sent].point.step < first_row:
            mirror.sent += 1

    def _close(self, mirror: _Mirror) -> None:
        last = mirror.history.last
        run, mirror.run = mirror.run, None
        self._runs.close_cell(
            run,
            mirror.points,
            row=mirror.row[0],
            status=mirror.history.status,
            failure=str(last.failure) if isinstance(last, Failed) else "",
            message=last.message if isinstance(last, Failed) else last.reason if isinstance(last, Held) else "",
        )
        cell = mirror.cell.id
        mirror.complete = True
        self.complete.add(cell)
        self._given_up.discard(cell)
        if isinstance(mirror.history.last, Ended):
            del self._mirrors[cell]

    def _note(self, error: Exception, mirror: _Mirror) -> None:
        """Make a pause, and plan another try."""
        self.note_failure(error)
        self._in_a_row += 1
        mirror.tries += 1
        if mirror.run is not None:
            with suppress(Exception):
                mirror.run.finish(exit_code=1)
        mirror.run = None
        if self._runs.recover():
            for one in self._mirrors.values():
                if one.run is not None:
                    one.run, self._due[one.cell.id] = None, one
        cell = mirror.cell.id
        if self._settling and self._in_a_row >= MOST_TRIES:
            self._given_up |= self.left()
            self._mirrors, self._due, self._backlog = {}, {}, {}
        elif mirror.tries >= MOST_TRIES and (self._settling or mirror.history.last is not None):
            self._given_up.add(cell)
            del self._mirrors[cell]
        else:
            self._due[cell] = mirror
            if not self._settling:
                pause = min(FIRST_PAUSE_SECONDS * 2 ** (self._in_a_row - 1), LONGEST_PAUSE_SECONDS)
                self._pause_until = self._clock() + pause

    def note_failure(self, error: Exception) -> None:
        self.failures.append(f"{type(error).__name__}: {error}")

    def _rebuilt(self, record: CellRecord) -> Cell | None:
        """A cell that is in the store and no longer in the study."""
        trainer = self._runs.study.loaded_trainer
        if (trainer.name, trainer.version) == (record.trainer, record.version):
            with suppress(TrainerError):
                return Cell.build(trainer, record.config)
        return None
