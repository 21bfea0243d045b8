"""How a run shows itself: a bar on a terminal, a plain line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from pipeline.run.progress import Progress
from pipeline.store import Event, Failed, Held, Measured
from pipeline.study import Cell

LOG_SECONDS = 10.0
"""Between lines in a log: a ten-hour run stays below 4,000 of them."""
BAR_WIDTH = 24


class Display:
    """Shows a `Progress` on a stream (default: standard error); a listener of the driver."""

    def __init__(self, progress: Progress, stream: TextIO | None = None):
        self._progress, self._stream = progress, stream or sys.stderr
        self._shown = 0.0
        self._bar: Bar | None = None
        if self._stream.isatty():
            columns = BarColumn(BAR_WIDTH), TextColumn("{task.description}", markup=False)
            self._bar = Bar(*columns, console=Console(file=self._stream, highlight=False, markup=False))
            self._task = self._bar.add_task(progress.line(), total=1.0)
            self._bar.start()

    def begin(self, cell: Cell, points: Sequence[Measured]) -> None:
        self._progress.begin(cell, points)

    def tell(self, events: Sequence[Event]) -> None:
        self._progress.tell(events)
        for event in events:
            if isinstance(event, Failed):
                self._print(f"cell {event.cell} failed ({event.failure}): {event.message}")
        if held := [event for event in events if isinstance(event, Held)]:
            first = held[0]
            self._print(f"{len(held)} cells held, the first, {first.cell}, at step {first.step}: {first.reason}")
        if self._bar or time.monotonic() - self._shown >= LOG_SECONDS:
            self._show()

    def warn(self, message: str) -> None:
        self._print(message)

    def close(self) -> None:
        self._show()
        if self._bar:
            self._bar.stop()

    def _show(self) -> None:
        self._shown = time.monotonic()
        if self._bar:
            self._bar.update(self._task, description=self._progress.line(), completed=self._progress.share)
        else:
            self._print(self._progress.line())

    def _print(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        if self._bar:
            self._bar.console.print(line)
        else:
            print(line, file=self._stream, flush=True)
