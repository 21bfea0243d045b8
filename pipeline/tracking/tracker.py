"""The tracker: what the driver holds. One thread does all work with W&B, and the driver only ever fills its queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.store import Event, Measured, SavedFit, Store
from pipeline.study import Cell, Study
from pipeline.tracking.account import choose_mode
from pipeline.tracking.mirrors import Mirrors
from pipeline.tracking.wandb_runs import WandbRuns

MOST_MESSAGE = 300
"""Characters of an error that are worth a user's time."""


@dataclass(frozen=True, kw_only=True)
class TrackingOutcome:
    """What came of tracking by the time the driver ends."""

    runs: int = 0
    """Cells that W&B, or its offline files, hold up to the present."""
    points: int = 0
    """Points sent; those of a cell that was written again count again."""
    runs_left: int = 0
    """Cells that were not sent, or not to their end."""
    fits: int = 0
    """1 if a fit was sent."""
    fits_left: int = 0
    """1 if a fit was not."""
    failures: int = 0
    """Errors on the way, those included that a second try made good."""
    message: str = ""
    """What to tell the user; empty if nothing was left behind."""


class NoTracker:
    """W&B is off: nothing is kept and wandb is never imported."""

    note = ""

    def begin(self, cell: Cell, points: Sequence[Measured] = ()) -> None: ...

    def tell(self, events: Sequence[Event]) -> None: ...

    def catch_up(self, store: Store, *, unfinished: bool = False) -> None: ...

    def catch_up_fit(self, store: Store) -> None: ...

    def summarise(self, fit: SavedFit) -> None: ...

    def note_costs(self, costs: Mapping[str, Any]) -> None: ...

    def warn(self, message: str) -> None: ...

    def alert(self, text: str) -> None: ...

    def note_forecast(self, values: Mapping[str, float]) -> None: ...

    def close(self, timeout_seconds: float | None = None) -> TrackingOutcome:
        return TrackingOutcome()


def make_tracker(mode: str, *, study: Study, folder: str, store: Store | None = None) -> Tracker | NoTracker:
    """A tracker that keeps wandb's files in a local folder, and in the store what W&B has received. Modes: `auto`
    (online where there is a key, else offline), `online`, `offline` and `off`.

    Raises PipelineError for an unknown mode, and for `online` without a key.
    """
    mode = choose_mode(mode)
    return NoTracker() if mode == "off" else Tracker(WandbRuns(study, folder, online=mode == "online", store=store))


def sync(
    mode: str,
    *,
    study: Study,
    store: Store,
    folder: str,
    alerts: Sequence[str] = (),
    timeout_seconds: float | None = None,
) -> TrackingOutcome:
    """Send what W&B lacks of a study's store, unfinished cells and the last fit included; alerts first."""
    tracker = make_tracker(mode, study=study, folder=folder, store=store)
    for text in alerts:
        tracker.alert(text)
    tracker.catch_up_fit(store)
    tracker.catch_up(store, unfinished=True)
    return tracker.close(timeout_seconds)


class Tracker:
    """Keeps W&B abreast of a study's store. No method but `close` waits for W&B, and none raises because of it."""

    def __init__(self, runs: WandbRuns):
        self._runs = runs
        self.note = f"W&B: project {runs.project}, group {runs.study.name}"
        if not runs.online:
            self.note = f"W&B offline: files in {runs.folder}; send them with `wandb sync {runs.folder}/offline-run-*`"
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._begun: set[str] = set()
        self._mirrors = Mirrors(runs)
        self._lost = False
        self._fits: set[str] = set()
        """Fits that are to be sent, by what tells them apart; and those that were."""
        self._sent_fits: set[str] = set()
        self._costs: dict[str, Any] = {}
        self._closing = False
        self._left = threading.Event()
        self._outcome: TrackingOutcome | None = None
        # A daemon: a wandb that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def begin(self, cell: Cell, points: Sequence[Measured] = ()) -> None:
        """A cell starts or is resumed; `points` is what the store has of it. W&B gets those that it lacks, first."""
        self._begun.add(cell.id)
        self._queue.put((self._mirrors.begin, (cell, tuple(points))))

    def tell(self, events: Sequence[Event]) -> None:
        """Events of begun cells, in their order, durable by now."""
        if events:
            self._queue.put((self._mirrors.tell, (tuple(events),)))

    def catch_up(self, store: Store, *, unfinished: bool = False) -> None:
        """Send, when there is time, what an earlier driver did not: finished cells, and unfinished ones if asked to."""
        self._queue.put((self._mirrors.catch_up, (store, self._begun, unfinished)))

    def catch_up_fit(self, store: Store) -> None:
        """Send the store's last fit, if W&B does not have it."""
        self._queue.put((self._catch_up_fit, (store,)))

    def summarise(self, fit: SavedFit) -> None:
        """A fit's table, a row a law, and the report's HTML file: one run of job type `fit`."""
        self._fits.add(fit.digest)
        self._queue.put((self._send_fit, (fit,)))

    def note_costs(self, costs: Mapping[str, Any]) -> None:
        """What the study has cost, as plain numbers and texts: one run of W&B, which the next one replaces."""
        self._costs |= costs
        self._queue.put((self._runs.send_costs, (dict(self._costs),)))

    def warn(self, message: str) -> None:
        """Something that the person who pays should hear of, such as a node that is not used any more."""
        self.note_costs({"warnings": "\n".join(filter(None, (self._costs.get("warnings"), message)))})

    def note_forecast(self, values: Mapping[str, float]) -> None:
        """What a fit beside the run foretells at the target: `fit/forecast`, `fit/interval` and so on."""
        self._queue.put((self._runs.send_forecast, (dict(values),)))

    def alert(self, text: str) -> None:
        """Something that somebody should hear of now."""
        self._queue.put((self._runs.send_alert, (text,)))

    def close(self, timeout_seconds: float | None = None) -> TrackingOutcome:
        """Send the rest, for so long at most, and say what came of it. Never raises.

        A W&B that hangs is left behind, and does not delay the end of the process.
        """
        if self._outcome is None:
            self._queue.put((self._settle, ()))
            try:
                self._thread.join(timeout_seconds)
            finally:  # Ctrl-C while waiting leaves W&B behind too.
                if self._thread.is_alive():
                    self._left.set()
                    self._runs.leave()
            self._outcome = self._sum_up()
        return self._outcome

    def _work(self) -> None:
        """The thread."""
        while not self._left.is_set():
            wait = self._mirrors.wait_seconds()
            if self._closing and wait is None and self._queue.empty():
                self._runs.end(failed=bool(self._lost or self._mirrors.left()))
                return
            try:
                method, arguments = self._queue.get(timeout=wait)
            except queue.Empty:
                self._mirrors.advance()
                continue
            try:
                method(*arguments)
            except Exception as error:
                self._mirrors.note_failure(error)
                self._lost = True

    def _catch_up_fit(self, store: Store) -> None:
        fit = SavedFit.load(store.folder)
        if fit is not None and not self._runs.has_fit(fit):
            self._fits.add(fit.digest)
            self._send_fit(fit)

    def _send_fit(self, fit: SavedFit) -> None:
        try:
            self._runs.send_fit(fit)
        except Exception:
            self._runs.recover()
            raise
        self._sent_fits.add(fit.digest)

    def _settle(self) -> None:
        self._closing = True
        self._mirrors.settle()

    def _sum_up(self) -> TrackingOutcome:
        mirrors = self._mirrors
        left = mirrors.left() | self._unheard()
        failures = list(mirrors.failures)
        fits_left = self._fits - self._sent_fits
        missed = [f"{len(left)} of {len(left | mirrors.complete)} cells"] if left else []
        missed += ["the fit"] if fits_left else []
        message = ""
        if missed or self._lost:
            what = " and ".join(missed) or "what earlier runs left"
            why = f" ({len(failures)} errors, the first: {failures[0][:MOST_MESSAGE]})" if failures else " in time"
            remedy = f"`unsl sync {self._runs.study.address}`"
            message = f"W&B did not get {what}{why}. Nothing is lost, the store has it: {remedy}"
        return TrackingOutcome(
            runs=len(mirrors.complete - left),
            points=mirrors.points,
            runs_left=len(left),
            fits=len(self._sent_fits),
            fits_left=len(fits_left),
            failures=len(failures),
            message=message,
        )

    def _unheard(self) -> set[str]:
        """Begun cells that are still in the queue of a thread that hangs."""
        cells: set[str] = set()
        while True:
            try:
                method, arguments = self._queue.get_nowait()
            except queue.Empty:
                return cells
            if method == self._mirrors.begin:
                cells.add(arguments[0].id)
            elif method == self._mirrors.tell:
                cells |= {event.cell for event in arguments[0]} & self._begun
