"""Which cells may run now: a value that the driver asks on every turn, so that it need not be handed a fixed list.

A study is run from a list, or in stages: the cells that laws are fitted to, then those that are held out, with time in
between to write forecasts down. Whatever else proposes cells, a design or a growing grid, is a schedule too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from pipeline.plan import PlannedCell


class Schedule(Protocol):
    """Asked several times a second: neither method may take long."""

    def take(self, ended: Collection[str]) -> Sequence[PlannedCell]:
        """Cells that may run from now on and were not given before. `ended` names those that ended or failed."""

    @property
    def over(self) -> bool:
        """No more cells will come, whatever ends."""

    @property
    def waiting(self) -> int:
        """Cells that are sure to come, as far as that is known."""


class Listed:
    """All cells at once."""

    def __init__(self, cells: Iterable[PlannedCell]):
        self._left: tuple[PlannedCell, ...] = tuple(cells)

    def take(self, ended: Collection[str]) -> Sequence[PlannedCell]:
        given, self._left = self._left, ()
        return given

    @property
    def over(self) -> bool:
        return not self._left

    @property
    def waiting(self) -> int:
        return len(self._left)


class Stages:
    """One list of cells after another: a stage starts once every cell of the one before has ended or failed.

    `between` is called after each stage but the last, with the number of the stage that is over, in a thread of its
    own; the next stage waits for it, and what it raises is raised by `take`.
    """

    def __init__(self, *stages: Iterable[PlannedCell], between: Callable[[int], None] | None = None):
        self._stages = [tuple(stage) for stage in stages]
        self._between = between
        self._given = 0
        """Stages that were handed out."""
        self._called: Future | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="between stages")

    def take(self, ended: Collection[str]) -> Sequence[PlannedCell]:
        while not self.over:
            if self._given and not self._may_go_on(ended):
                return ()
            stage = self._stages[self._given]
            self._given += 1
            if stage:
                return stage
        return ()

    @property
    def over(self) -> bool:
        return self._given == len(self._stages)

    @property
    def waiting(self) -> int:
        return sum(map(len, self._stages[self._given :]))

    def _may_go_on(self, ended: Collection[str]) -> bool:
        before = self._stages[self._given - 1]
        if not all(one.cell.id in ended for one in before):
            return False
        if self._between is None:
            return True
        if self._called is None:
            self._called = self._thread.submit(self._between, self._given - 1)
        if not self._called.done():
            return False
        called, self._called = self._called, None
        called.result()
        return True


def fitted_first(cells: Iterable[PlannedCell], between: Callable[[int], None] | None = None) -> Stages:
    """Cells that have points to fit, then those that are held out whole."""
    cells = list(cells)
    fitted = [one for one in cells if one.points.fitted]
    return Stages(fitted, [one for one in cells if not one.points.fitted], between=between)
