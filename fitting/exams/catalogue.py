"""The exams, fixed before any law was scored on a held-out row.

Splits are the authors' own where they published one, else the rule that a user would set: fit what is small, predict
what is large. Exams of one source share runs (the same models on other test sets, the same curves with other shots), so
they are not independent, and a source is in one half only: "development" holds those on which the procedure was chosen
and which were often looked at, "report" those that came afterwards.

Ceilings are given where the metric fixes them: 1 - 1/classes for an error, the logarithm of the vocabulary for a loss
whose tokeniser is known, 1 for what was scaled to [0, 1]; elsewhere they are fitted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fitting import FittingError

from . import curves, language, others, reinforcement, vision
from .definition import HALVES, Exam
from .sources import AFTERWARDS

EXAMS: tuple[Exam, ...] = tuple(
    replace(exam, half="report" if exam.source in AFTERWARDS else "development")
    for exams in (
        language.exams(),
        vision.exams(),
        reinforcement.exams(),
        others.exams(),
        curves.curves(),
        reinforcement.curves(),
    )
    for exam in exams
)


def choose(only: Iterable[str] = (), half: str | None = None, kind: str | None = None) -> tuple[Exam, ...]:
    """Exams whose name contains one of `only` (all if empty), of one half and of one kind. Raises FittingError if none
    is."""
    if half is not None and half not in HALVES:
        raise FittingError(f"unknown half {half!r}; it is one of: {', '.join(HALVES)}")
    parts = tuple(only)
    unknown = [part for part in parts if not any(part in exam.name for exam in EXAMS)]
    chosen = tuple(
        exam
        for exam in EXAMS
        if (not parts or any(part in exam.name for part in parts))
        and half in (None, exam.half)
        and kind in (None, exam.kind)
    )
    if unknown or not chosen:
        raise FittingError(
            f"no exam is called {', '.join(unknown) or ', '.join(parts) or half}; some names are: "
            f"{', '.join(exam.name for exam in EXAMS[:: max(1, len(EXAMS) // 12)])}"
        )
    return chosen
