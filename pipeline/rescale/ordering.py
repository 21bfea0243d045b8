"""The order of a design: cells start as they teach, and it is decided again as their results come.

A study that is stopped at any moment has then spent its money on what narrows its forecast most. Until a law can be
fitted the cheapest cells start; from then on each batch is chosen by `most_telling`, those under way counted in, with
all that is measured by then.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence

from fitting import FittingError
from pipeline.analysis import of_grid
from pipeline.errors import PipelineError
from pipeline.forecasts import Targets
from pipeline.plan import PlannedCell
from pipeline.rescale.growth import Candidate, most_telling
from pipeline.rescale.knowledge import question_now
from pipeline.rescale.tasks import fit_parts
from pipeline.store import Store
from pipeline.study import Study

DECISIONS = 8
"""Batches into which the cells of a study are cut at least: each is a fit, which takes seconds."""


class ByDesign:
    """A `pipeline.run.Schedule`.

    choose: from the cells that are left and those under way to the next batch, of so many at most; see `chooser`. It is
    called in a thread of its own where `beside` is true. workers: how many cells may run at once, as far as is known.
    """

    def __init__(
        self,
        planned: Sequence[PlannedCell],
        choose: Callable[[Sequence[PlannedCell], Sequence[PlannedCell], int], Sequence[PlannedCell]],
        *,
        workers: Callable[[], int],
        beside: bool = True,
    ):
        self._left = list(planned)
        self._under_way: list[PlannedCell] = []
        self._choose, self._workers, self._beside = choose, workers, beside
        self._share = math.ceil(len(self._left) / DECISIONS)
        self._thread: threading.Thread | None = None
        self._chosen: Sequence[PlannedCell] = ()
        self._error: BaseException | None = None

    def take(self, ended: Collection[str]) -> Sequence[PlannedCell]:
        self._under_way = [one for one in self._under_way if one.cell.id not in ended]
        # The next batch is chosen while the last of this one still run: workers do not wait for a fit.
        if self.over or (self._thread is None and len(self._under_way) >= max(self._workers(), 1)):
            return ()
        if self._thread is None:
            batch = max(self._share, self._workers())
            self._thread = threading.Thread(target=self._decide, args=(batch,), name="design", daemon=True)
            self._thread.start()
        if not self._beside:
            self._thread.join()
        if self._thread.is_alive():
            return ()
        self._thread = None
        if self._error is not None:
            raise self._error
        given = [one.cell.id for one in self._chosen]
        self._left = [one for one in self._left if one.cell.id not in given]
        self._under_way += self._chosen
        return self._chosen

    @property
    def over(self) -> bool:
        return not self._left

    @property
    def waiting(self) -> int:
        return len(self._left)

    def _decide(self, batch: int) -> None:
        try:
            self._chosen = self._choose(tuple(self._left), tuple(self._under_way), batch)
        except BaseException as error:
            self._error = error


def chooser(
    study: Study, store: Store, targets: Targets, law: str
) -> Callable[[Sequence[PlannedCell], Sequence[PlannedCell], int], Sequence[PlannedCell]]:
    """Chooses by a law that is fitted to what the store has each time; the cheapest where none can be."""
    question = question_now(study)

    def choose(left: Sequence[PlannedCell], under_way: Sequence[PlannedCell], batch: int) -> Sequence[PlannedCell]:
        by_cost = sorted(left, key=lambda one: one.remaining_seconds)
        candidates = [Candidate(cell=one.cell, settings={}, cost=max(one.remaining_seconds, 1e-9)) for one in left]
        try:
            asked, _ = fit_parts(law, question, of_grid(study, store.table()), targets)
            choice = most_telling(
                study,
                asked,
                candidates,
                most=batch,
                pending=[one.cell for one in under_way],
                fitted_only=study.growth is None,
            )
        except (FittingError, PipelineError):  # Too little is measured yet.
            return by_cost[:batch]
        chosen = {one.cell.id for one in choice.chosen}
        # What would narrow nothing is still part of the study: it comes last.
        return [one for one in left if one.cell.id in chosen] or by_cost[:batch]

    return choose
