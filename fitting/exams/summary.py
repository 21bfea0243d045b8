"""What many exams say together: who wins, by how much, with which standard error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .definition import DOMAINS
from .runner import ExamResult

# What Caballero et al. report for UNSL: the part of the tasks, of several inputs, on which it extrapolates best.
PAPER_WINS = {"vision": 0.6087, "language": 0.8889}
# An error of 0 (a single held-out row that is hit exactly) has no logarithm.
_LEAST_ERROR = 1e-9
_BEST_OTHER = "best other law"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The geometric mean, over exams, of one law's held-out error to a rival's; below 1 is better.

    error: its standard error, from the spread of the paired log ratios. wins: exams on which the law is better.
    """

    rival: str
    value: float
    error: float
    wins: int
    exams: int


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """Of the exams of a domain on which the law has a score, the part on which no other law extrapolates better.

    rival: the law that wins most of the exams, but for this one; rival_wins: how many.
    """

    domain: str
    wins: int
    exams: int
    paper: float | None
    rival: str
    rival_wins: int

    @property
    def value(self) -> float:
        return self.wins / self.exams if self.exams else math.nan


@dataclass(frozen=True, kw_only=True)
class LawSummary:
    """One law over all exams it suits. error: geometric mean of held-out RMSLE; coverage, coverage_50: mean over exams
    of the part of held-out rows inside the 90% and the 50% interval."""

    law: str
    exams: int
    wins: int
    error: float
    coverage: float
    coverage_50: float
    seconds: float


def error_of(result: ExamResult, law: str) -> float | None:
    """The law's held-out RMSLE, None without one."""
    score = result.score(law)
    return None if score is None or score.rmsle_held_out is None else max(score.rmsle_held_out.value, _LEAST_ERROR)


def ratio(results: Sequence[ExamResult], law: str, rival: str) -> Ratio:
    """`law` against `rival`, over the exams on which both have a score."""
    pairs = [(error_of(r, law), error_of(r, rival)) for r in results]
    return _ratio(rival, [math.log(a / b) for a, b in pairs if a is not None and b is not None])


def ratio_to_best_other(results: Sequence[ExamResult], law: str) -> Ratio:
    """`law` against the best of the other laws on each exam: a rival chosen with hindsight."""
    logs = []
    for result in results:
        own = error_of(result, law)
        others = [error_of(result, s.law) for s in result.scores if s.law != law]
        others = [e for e in others if e is not None]
        if own is not None and others:
            logs.append(math.log(own / min(others)))
    return _ratio(_BEST_OTHER, logs)


def _ratio(rival: str, logs: Sequence[float]) -> Ratio:
    if not logs:
        return Ratio(rival=rival, value=math.nan, error=math.nan, wins=0, exams=0)
    value = math.exp(float(np.mean(logs)))
    error = value * float(np.std(logs, ddof=1)) / math.sqrt(len(logs)) if len(logs) > 1 else math.nan
    return Ratio(rival=rival, value=value, error=error, wins=sum(v < 0 for v in logs), exams=len(logs))


def win_rates(results: Sequence[ExamResult], law: str) -> tuple[WinRate, ...]:
    """By domain; exams on which only one law has a score are no contest and not counted."""
    rates = []
    for domain in DOMAINS:
        contests = [r for r in results if r.exam.domain == domain and len(r.ranked) > 1 and r.score(law) is not None]
        winners = Counter(r.ranked[0].law for r in contests)
        wins = winners.pop(law, 0)
        rival, rival_wins = winners.most_common(1)[0] if winners else ("", 0)
        if contests:
            rates.append(
                WinRate(
                    domain=domain,
                    wins=wins,
                    exams=len(contests),
                    paper=None if all(r.exam.one_input for r in contests) else PAPER_WINS.get(domain),
                    rival=rival,
                    rival_wins=rival_wins,
                )
            )
    return tuple(rates)


def by_law(results: Sequence[ExamResult]) -> tuple[LawSummary, ...]:
    """One line a law, in the order of the run."""
    names = list(dict.fromkeys(s.law for r in results for s in r.scores))
    out = []
    for name in names:
        scores = [s for r in results if (s := r.score(name)) is not None]
        errors = [e for r in results if (e := error_of(r, name)) is not None]
        out.append(
            LawSummary(
                law=name,
                exams=len(scores),
                wins=sum(r.ranked[0].law == name for r in results if r.ranked),
                error=math.exp(float(np.mean(np.log(errors)))) if errors else math.nan,
                coverage=float(np.mean([s.coverage for s in scores])) if scores else math.nan,
                coverage_50=float(np.mean([s.coverage_50 for s in scores])) if scores else math.nan,
                seconds=sum(s.seconds for r in results for s in r.scores if s.law == name),
            )
        )
    return tuple(out)
