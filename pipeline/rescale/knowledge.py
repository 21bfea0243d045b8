"""What a study knows at one moment: every law fitted to all that is measured, and what each foretells at the target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fitting import Fit, FittingError
from pipeline.analysis import Question, divide
from pipeline.errors import PipelineError
from pipeline.forecasts import Fitted, Ledger, Targets, everything_fitted, fit_laws, make_entry, named_targets
from pipeline.store import Store
from pipeline.study import Study, point_columns

LEVEL = 0.9
"""Of the intervals that are shown."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a law foretells at one target."""

    median: float
    low: float
    high: float
    """Of the 90% interval of a measurement, in the metric's units."""
    log_median: float
    """ln of the loss."""
    unknown: float
    """Standard deviation of what the law does not know of it, without the noise of a measurement."""
    half: float
    """Half the width of the 90% interval in ln of the loss."""
    freedom: float


@dataclass(frozen=True, kw_only=True)
class LawKnown:
    """One law."""

    status: str
    structure: str
    coefficients: Mapping[str, Sequence[float]]
    """By name: value, and the ends of its 90% interval."""
    said: Sequence[Said]
    """At each target."""
    fit: str
    """Name of the fit in the store's `fits/`."""


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """See the module's docstring."""

    rows: int
    fingerprint: str
    targets: Sequence[str]
    laws: Mapping[str, LawKnown]
    failed: Mapping[str, str] = field(default_factory=dict)
    """Laws that say nothing, with the reason."""

    def interval(self, law: str) -> float:
        """Half the width of a law's 90% interval at the target, as a part of the value; infinite where it says nothing.

        Of several targets, the widest.
        """
        return (
            max((math.expm1(one.half) for one in self.laws[law].said), default=math.inf)
            if law in self.laws
            else (math.inf)
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Knowledge:
        laws = {
            name: LawKnown(
                **{
                    **one,
                    "coefficients": {key: tuple(numbers) for key, numbers in one["coefficients"].items()},
                    "said": tuple(Said(**said) for said in one["said"]),
                }
            )
            for name, one in value["laws"].items()
        }
        return cls(**{**value, "targets": tuple(value["targets"]), "laws": laws})


def as_part(half: float) -> float:
    """An error or half an interval in ln of a value as a part of the value, at most of a size that can be written."""
    return math.expm1(min(half, _MOST))


def question_now(study: Study) -> Question:
    """What laws are asked at any moment: in a study that grows everything measured is fitted, else what its split
    fits."""
    question = Question.of_study(study)
    return everything_fitted(question) if study.growth else question


def learn(study: Study, store: Store, targets: Sequence[str], *, seed: int = 0) -> tuple[Knowledge, Fitted]:
    """Fit the study's laws to everything that is measured, and write their forecasts of the targets into the ledger.

    Raises PipelineError where too little is measured, a target is none, or no law can be fitted.
    """
    rows = store.table()
    question = everything_fitted(Question.of_study(study))
    divided = divide(study, rows, question)
    wanted = read_targets(study, targets)
    fitted = fit_laws(question, divided, study.law_addresses, wanted, seed=seed)
    if not fitted.fits:
        law, reason = next(iter(fitted.failed.items()))
        raise PipelineError(f"study '{study.name}': no law can be fitted yet: {law} says {reason}")
    ledger = Ledger(store.folder)
    names: dict[int, str] = {}

    def keep(fit: Fit) -> str:
        names[id(fit)] = ledger.keep_fit(fit)
        return names[id(fit)]

    ledger.append(make_entry(study.name, fitted, wanted, blind=~wanted.measured(rows), keep=keep))
    laws = {law: _known(fit, wanted, question, names.get(id(fit), "")) for law, fit in fitted.fits.items()}
    found = Knowledge(
        rows=len(divided.fitted),
        fingerprint=divided.fitted.fingerprint,
        targets=tuple(targets),
        laws=laws,
        failed=dict(fitted.failed),
    )
    return found, fitted


def read_targets(study: Study, texts: Sequence[str]) -> Targets:
    """Targets that a person wrote, known by the columns that a study's points will have. Raises PipelineError."""
    cell = study.cells[0]
    known = {**cell.columns, **point_columns(cell)}
    numbers = [name for name, value in known.items() if not isinstance(value, str)]
    return named_targets(texts, Question.of_study(study), numbers)


def remembered(study: Study, store: Store, knowledge: Knowledge, law: str) -> Fit | None:
    """A fit that was kept, if it is of what is measured now; None where it must be made again."""
    divided = divide(study, store.table(), everything_fitted(Question.of_study(study)))
    if divided.fitted.fingerprint != knowledge.fingerprint or law not in knowledge.laws:
        return None
    try:
        return Ledger(store.folder).fit(knowledge.laws[law].fit)
    except (FittingError, PipelineError):  # A law of somebody's own, or one whose formula has changed since.
        return None


def _known(fit: Fit, targets: Targets, question: Question, name: str) -> LawKnown:
    with np.errstate(all="ignore"):
        known = fit.uncertainty(targets.numbers(fit.columns))
        ends = np.stack([question.metric.from_loss(end) for end in known.interval(LEVEL)])
        median = question.metric.from_loss(np.exp(known.log_median))
        half = np.log(known.interval(LEVEL)[1]) - known.log_median
        intervals = fit.coefficient_intervals(LEVEL)
    said = tuple(
        Said(
            median=float(median[i]),
            low=float(ends.min(0)[i]),
            high=float(ends.max(0)[i]),
            log_median=float(known.log_median[i]),
            unknown=float(np.sqrt(known.coefficients[i] + known.structures[i])),
            half=float(half[i]),
            freedom=float(known.freedom[i]),
        )
        for i in range(len(targets))
    )
    finite = all(math.isfinite(number) for one in said for number in asdict(one).values())
    return LawKnown(
        status=fit.status.value,
        structure=fit.structure,
        coefficients={
            coefficient: (float(value), *map(float, intervals[coefficient]))
            for coefficient, value in fit.coefficients.items()
            if math.isfinite(value) and all(map(math.isfinite, intervals[coefficient]))
        },
        said=said if finite else (),
        fit=name,
    )


_MOST = 50.0
"""Logarithm of the largest factor that is written down."""
