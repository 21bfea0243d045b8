"""Run exams: fit every law to the small rows, score it on the large ones, in parallel processes.

The unit of work is one exam, whose laws share their fits. What fails is a result with a reason; it stops nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from fitting import LAWS, Blend, Fit, FittingError, Law, Recipe, Rmsle, compare, find_law

from .catalogue import choose
from .definition import Exam, Sheet, load

# What is fitted by default: on one input the laws of several are the same as M2 or do not apply.
_ONE_INPUT_LAWS = ("unsl", "a1", "a2", "a3", "bnsl", "m1", "m2", "m3", "m4", "blend")
# Seconds of a fit in units of those of a small law: the costly go first, so that the last process is not left alone
# with one, and they tell progress how much of the work is done.
_COST = {"unsl": 40.0, "a3": 8.0, "a2": 6.0, "a1": 5.0, "bnsl": 2.0, "m4": 2.0}
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Score:
    """One law on one exam. reason: why there is no score, "" if there is one. coverage, coverage_50: the part of the
    held-out rows inside the law's 90% and 50% intervals. predicted: y at the fitted and at the held-out rows, for
    figures."""

    law: str
    status: str
    structure: str
    reason: str
    rmsle_fit: Rmsle | None
    rmsle_held_out: Rmsle | None
    coverage: float
    coverage_50: float
    seconds: float
    coefficients: Mapping[str, float] = field(default_factory=dict)
    predicted: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class ExamResult:
    """All laws on one exam. reason: why the exam could not be held ("" if it was): then `scores` is empty."""

    exam: Exam
    rows_fit: int
    rows_held_out: int
    excluded: Mapping[str, int]
    scores: tuple[Score, ...]
    reason: str = ""

    def score(self, law: str) -> Score | None:
        """The law's score if it has one."""
        return next((s for s in self.scores if s.law == law and s.rmsle_held_out is not None), None)

    @property
    def ranked(self) -> list[Score]:
        """Scores, least held-out error first."""
        scored = [s for s in self.scores if s.rmsle_held_out is not None]
        return sorted(scored, key=lambda s: s.rmsle_held_out.value if s.rmsle_held_out else np.inf)


def run_exams(
    data: str | Path,
    *,
    laws: Sequence[str | Law] | None = None,
    half: str | None = None,
    only: Sequence[str] = (),
    kind: str | None = None,
    exams: Sequence[Exam] | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    processes: int = 2,
    progress: Callable[[int, int, float, str, Score], None] | None = None,
) -> tuple[ExamResult, ...]:
    """Hold exams over the tables in `data`.

    laws: names or laws; None = all that are registered and apply to the kind of exam. half, only (parts of names),
    kind: which exams of the catalogue; `exams` gives them outright. progress: called with (done, all, share of the
    work, exam's name, score) as scores arrive. Results do not depend on `processes`, and are in the catalogue's order.
    Raises FittingError for an unknown name or if the folder is missing; one exam's missing table or one law's failure
    is a reason in its result.
    """
    chosen = tuple(exams) if exams is not None else choose(only, half, kind)
    given = list(LAWS) if laws is None else list(laws)
    found = [find_law(law) for law in given]
    # A law that was loaded from a path goes to other processes as its address: they know nothing of our import of it.
    addresses = {law.name: one for law, one in zip(found, given, strict=True)}

    def laws_of(exam: Exam) -> list[Law]:
        return [law for law in found if laws is not None or not exam.one_input or law.name in _ONE_INPUT_LAWS]

    if not Path(data).is_dir():
        raise FittingError(f"there is no folder {data}; give the folder that holds one sub-folder a source with --data")
    sheets, reasons = {}, {}
    for exam in chosen:
        try:
            sheets[exam.name] = load(exam, data)
        except FittingError as error:
            reasons[exam.name] = str(error)

    def cost(exam: Exam) -> float:
        fitted, laws = sheets[exam.name].fitted, laws_of(exam)
        # A blend takes the fits of its laws; the mean of a law is its own fit once more, and is counted for little.
        names = {part.name for law in laws for part in (law.laws if isinstance(law, Blend) else [law])}
        return sum(_COST.get(name, 1.0) for name in names) * (100 + len(fitted)) * len(fitted.columns)

    work = sorted((exam for exam in chosen if exam.name in sheets), key=lambda exam: -cost(exam))
    asked = [(exam, [addresses[law.name] for law in laws_of(exam)]) for exam in work]
    everything, spent, done = sum(map(cost, work)), 0.0, 0
    count = sum(len(wanted) for _, wanted in asked)
    scores: dict[tuple[str, str], Score] = {}
    for exam, some in _scores(asked, data, recipe, seed, processes):
        spent += cost(exam)
        for score in some:
            scores[exam.name, score.law] = score
            done += 1
            if progress is not None:
                progress(done, count, spent / everything, exam.name, score)
    return tuple(
        ExamResult(
            exam=exam,
            rows_fit=len(sheets[exam.name].fitted) if exam.name in sheets else 0,
            rows_held_out=len(sheets[exam.name].held_out) if exam.name in sheets else 0,
            excluded=sheets[exam.name].excluded if exam.name in sheets else {},
            scores=tuple(scores[exam.name, law.name] for law in laws_of(exam)) if exam.name in sheets else (),
            reason=reasons.get(exam.name, ""),
        )
        for exam in chosen
    )


def _scores(
    work: Sequence[tuple[Exam, Sequence[str | Law]]],
    data: str | Path,
    recipe: Recipe | None,
    seed: int,
    processes: int,
) -> Iterator[tuple[Exam, list[Score]]]:
    if processes < 2 or len(work) < 2:
        for exam, laws in work:
            yield exam, hold(exam, laws, data, recipe, seed)
        return
    with _one_thread_each(), ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(hold, exam, laws, data, recipe, seed): (exam, laws) for exam, laws in work}
        for future in as_completed(futures):
            exam, laws = futures[future]
            try:
                yield exam, future.result()
            except Exception as error:  # the worker died: out of memory, or killed from outside
                yield exam, [_failed(find_law(law), f"its process ended: {error!r}", 0.0) for law in laws]


def hold(
    exam: Exam, laws: Sequence[str | Law], data: str | Path, recipe: Recipe | None = None, seed: int = 0
) -> list[Score]:
    """Laws on one exam, in this process; a blend comes after its laws. Never raises: what goes wrong is a reason."""
    fits: dict[str, Fit] = {}
    found = sorted(map(find_law, laws), key=lambda law: isinstance(law, Blend))
    try:
        sheet = load(exam, data)
    except Exception as error:
        return [_failed(law, f"{type(error).__name__}: {error}", 0.0) for law in found]
    return [_score(law, sheet, recipe, seed, fits) for law in found]


def _score(law: Law, sheet: Sheet, recipe: Recipe | None, seed: int, fits: dict[str, Fit]) -> Score:
    began = time.perf_counter()
    try:
        (row,) = compare([law], sheet.fitted, sheet.held_out, seed=seed, recipe=recipe, fits=fits)
        if row.fit is None or row.rmsle_held_out is None:
            return _failed(law, row.reason or "it gave no prediction", row.seconds)
        known = row.fit.uncertainty(sheet.held_out.columns)
        inside = []
        for level in (0.5, 0.9):
            low, high = known.interval(level)
            inside.append(float(((low <= sheet.held_out.y) & (sheet.held_out.y <= high)).mean()))
        return Score(
            law=law.name,
            status=row.fit.status.value,
            structure=row.fit.structure,
            reason="",
            rmsle_fit=row.rmsle_fit,
            rmsle_held_out=row.rmsle_held_out,
            coverage=inside[1],
            coverage_50=inside[0],
            seconds=row.seconds,
            coefficients=dict(row.fit.coefficients),
            predicted=(row.fit.predict(sheet.fitted.columns), row.fit.predict(sheet.held_out.columns)),
        )
    except Exception as error:  # a law of the user's own may raise anything; the other exams go on
        return _failed(law, f"{type(error).__name__}: {error}", time.perf_counter() - began)


def _failed(law: Law, reason: str, seconds: float) -> Score:
    return Score(
        law=law.name,
        status="failed",
        structure="",
        reason=reason,
        rmsle_fit=None,
        rmsle_held_out=None,
        coverage=float("nan"),
        coverage_50=float("nan"),
        seconds=seconds,
    )


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start inside use one thread: the matrices are small, and threads would fight for the cores."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
