"""Forecast first: an order of running a study in which no held-out cell starts before its forecast is written down.

    cells with fitted points  ->  laws are fitted, their forecasts enter the ledger  ->  cells that are held out whole

A cell may have fitted points and, later in the same run, held-out ones. It is not paused at a checkpoint until the
forecast stands: on a GPU that would mean a worker that waits or a model that is loaded twice, for every such cell, and
a run whose own beginning was fitted is the weakest test of a law anyway. Its held-out points get their entry like all
others, marked by the fact: blind if no measurement of the point was in the store when the entry was written.

The fits start as soon as the last fitted point is measured, which may be before the last of those cells has ended, and
run in a thread beside them: workers wait for a forecast only where nothing else is left to train.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence

import numpy as np

from pipeline.forecasts.entry import Entry
from pipeline.plan import PlannedCell
from pipeline.run import Schedule
from pipeline.store import Event, Measured
from pipeline.study import Cell, Study, point_columns


class ForecastFirst:
    """A `pipeline.run.Schedule` that is also one of the driver's listeners.

    forecast: writes the entries, see `forecast_held_out`; called once, in a thread of its own where `beside` is true,
    and then while cells train. What it raises is raised by `take`. order: hands out the cells that have fitted points,
    where they are not to start as they come.
    """

    def __init__(
        self,
        study: Study,
        planned: Sequence[PlannedCell],
        forecast: Callable[[], Sequence[Entry]],
        *,
        beside: bool = True,
        order: Callable[[Sequence[PlannedCell]], Schedule] | None = None,
    ):
        held_out = [one for one in planned if one.points.held_out and not one.points.fitted]
        whole = {one.cell.id for one in held_out}
        self._stages = [[one for one in planned if one.cell.id not in whole], held_out]
        self._last_fitted = {one.cell.id: _last_fitted(study, one.cell) for one in self._stages[0] if one.points.fitted}
        """For each cell that laws are fitted to and that has not got so far: the last step of its fitted points."""
        self._ordered: Schedule | None = None
        if order:
            self._ordered, self._stages[0] = order(self._stages[0]), []
        self._needed = any(one.points.held_out for one in planned)
        self._forecast, self._beside = forecast, beside
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._stands = not self._needed
        self.entries: Sequence[Entry] = ()
        """What was written, an entry a task; none where nothing had to be."""

    def begin(self, cell: Cell, points: Sequence[Measured]) -> None:
        self.tell(points)

    def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Measured) and event.point.step > self._last_fitted.get(event.cell, np.inf):
                del self._last_fitted[event.cell]

    def take(self, ended: Collection[str]) -> Sequence[PlannedCell]:
        if self._ordered and not self._ordered.over:
            return self._ordered.take(ended)
        if self._stages[0]:
            return self._give(0)
        if not self._stands and all(cell in ended for cell in self._last_fitted):
            self._go_on()
        return self._give(1) if self._stands else ()

    @property
    def over(self) -> bool:
        return self._stands and not any(self._stages) and (self._ordered is None or self._ordered.over)

    @property
    def waiting(self) -> int:
        return sum(map(len, self._stages)) + (self._ordered.waiting if self._ordered else 0)

    def _give(self, stage: int) -> Sequence[PlannedCell]:
        given, self._stages[stage] = self._stages[stage], []
        return given

    def _go_on(self) -> None:
        if self._thread is None:
            # A daemon: a study that is stopped does not wait for its fits, which are made again.
            self._thread = threading.Thread(target=self._write, name="forecast", daemon=True)
            self._thread.start()
        if not self._beside:
            self._thread.join()
        if self._thread.is_alive():
            return
        if self._error is not None:
            raise self._error
        self._stands = True

    def _write(self) -> None:
        try:
            self.entries = self._forecast()
        except BaseException as error:
            self._error = error


def _last_fitted(study: Study, cell: Cell) -> float:
    held_out, excluded = study.planned_split(cell)
    return float(point_columns(cell)["step"][~held_out & ~excluded].max())
