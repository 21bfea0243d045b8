"""A forecast that tightens while its study runs.

Now and then the law is fitted to what is measured by then, beside training and never in the driver's loop: on a Ray
cluster as a task of its own, else in a thread. What it says at the target is shown, kept in the store for `unsl
status`, and once it is narrow enough the study drains.

    STORE/STUDY/live.json    what the run at work has foretold so far, the last one last
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fitting import Fit, FitStatus, FittingError, Table, fit
from pipeline.analysis import of_grid
from pipeline.errors import PipelineError
from pipeline.forecasts import Targets
from pipeline.rescale.knowledge import LEVEL, as_part, question_now
from pipeline.rescale.tasks import Part, parts_of
from pipeline.store import Event, Folder, Measured, Store
from pipeline.study import Cell, Study

NAME = "live.json"
MOST_KEPT = 1_000
"""Glances that are kept: a week of one every ten minutes."""


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What a law foretold at one moment, at the target of the widest interval, of whichever task that is."""

    at: float
    """Unix seconds."""
    law: str
    rows: int
    median: float
    low: float
    high: float
    interval: float
    """Half the width of the 90% interval as a part of the value."""

    def to_text(self) -> str:
        return f"{self.law} foretells {self.median:.4g} ({self.low:.4g} to {self.high:.4g}, ±{self.interval:.1%})"


class Live:
    """One of the driver's listeners. See the module's docstring.

    every: seconds between fits. until: whether an interval is narrow enough. stop: makes the driver drain; called once,
    by the driver's own thread. told: of every glance, in the fit's thread.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        targets: Targets,
        law: str,
        *,
        every: float,
        until: Callable[[float], bool] = lambda interval: False,
        told: Sequence[Callable[[Glance], Any]] = (),
        beside: bool = True,
    ):
        self._study, self._store, self._targets, self._law = study, store, targets, law
        self._every, self._until, self._told, self._beside = every, until, told, beside
        self.stop: Callable[[], None] = lambda: None
        self.enough = ""
        """Why the study was drained; empty where it was not."""
        self.glances: list[Glance] = []
        self._news, self._last = 0, time.monotonic()
        self._thread: threading.Thread | None = None
        self._drained = False

    def begin(self, cell: Cell, points: Sequence[Measured]) -> None: ...

    def tell(self, events: Sequence[Event]) -> None:
        self._news += sum(isinstance(event, Measured) for event in events)
        if self.enough and not self._drained:
            self._drained = True
            self.stop()
        busy = self._thread is not None and self._thread.is_alive()
        if self._drained or busy or not self._news or time.monotonic() - self._last < self._every:
            return
        self._news, self._last = 0, time.monotonic()
        self._thread = threading.Thread(target=self.look, name="live forecast", daemon=True)
        self._thread.start()
        if not self._beside:
            self._thread.join()

    def look(self) -> None:
        """Fit, and say what it foretells; nothing where too little is measured, or what is at hand cannot be fitted."""
        try:
            rows = of_grid(self._study, self._store.table())
            parts, left_out = parts_of(question_now(self._study), rows, self._targets)
            found = [] if left_out else [_glance(part, _fitted(self._law, part)) for part in parts]
        except (FittingError, PipelineError):
            return
        if not found or None in found:
            return
        glance = replace(max(found, key=lambda one: one.interval), rows=sum(one.rows for one in found))
        if not np.isfinite([glance.median, glance.low, glance.high]).all():
            return
        self.glances = [*self.glances, glance][-MOST_KEPT:]
        with suppress(OSError):  # It is a view of the store: the next one may be kept.
            self._store.folder.write(NAME, json.dumps([asdict(one) for one in self.glances]).encode())
        for told in self._told:
            told(glance)
        if not self.enough and self._until(glance.interval):
            self.enough = f"{glance.to_text()}, which is narrow enough"


def read_glances(folder: Folder) -> list[Glance]:
    """What the last run that was watched has foretold; none where none was."""
    try:
        return [Glance(**one) for one in json.loads(folder.read(NAME))]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def _glance(part: Part, found: Fit | None) -> Glance | None:
    """Of one task; None where nothing could be fitted."""
    if found is None:
        return None
    known = found.uncertainty(part.targets.numbers(found.columns))
    half = np.log(known.interval(LEVEL)[1]) - known.log_median
    widest, metric = int(np.argmax(half)), part.question.metric
    ends = sorted(float(metric.from_loss(end[widest])) for end in known.interval(LEVEL))
    return Glance(
        at=round(time.time(), 3),
        law=found.law,
        rows=len(part.divided.fitted),
        median=float(metric.from_loss(np.exp(known.log_median[widest]))),
        low=ends[0],
        high=ends[1],
        interval=as_part(float(half[widest])),
    )


def _fitted(law: str, part: Part) -> Fit | None:
    table = part.divided.fitted
    return fitted_beside(law, table, part.targets.numbers(table.columns))


def fitted_beside(law: str, table: Table, toward: Any) -> Fit | None:
    """On the cluster where there is one: the driver's process has other work, and one core. None where it failed."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        # It asks for no core, since all of them train and it must not wait for the last of them.
        task = ray.remote(num_cpus=0, max_retries=0)(_fit)
        try:
            found = ray.get(task.remote(law, table, toward))
        except Exception:  # A node that went, or one that lacks a law of somebody's own.
            found = _fit(law, table, toward)
    else:
        found = _fit(law, table, toward)
    return None if found.status is FitStatus.FAILED else found


def _fit(law: str, table: Table, toward: Any) -> Fit:
    return fit(law, table, toward=toward)
