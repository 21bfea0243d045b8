"""What a study knows at one moment: every law fitted to all that is measured, and what each foretells at the target.

Of a study with tasks each is known by itself; what all of them say together is their forecasts, in the order of the
targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fitting import Fit, FittingError
from pipeline.analysis import Question, of_grid
from pipeline.errors import PipelineError
from pipeline.forecasts import Ledger, Targets, everything_fitted, fit_laws, make_entry, named_targets
from pipeline.rescale.tasks import Asked, Part, asked_of, in_order, parts_of
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
    """Laws that say nothing, of one of the tasks at least, with the reason."""
    tasks: Mapping[str, Knowledge] = field(default_factory=dict)
    """By name; empty where the study has none."""

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
        made = asdict(self)
        tasks = {name: one.to_json() for name, one in self.tasks.items()}
        return {**made, "tasks": tasks} if tasks else {name: value for name, value in made.items() if name != "tasks"}

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
        tasks = {name: cls.from_json(one) for name, one in value.get("tasks", {}).items()}
        return cls(**{**value, "targets": tuple(value["targets"]), "laws": laws, "tasks": tasks})


def as_part(half: float) -> float:
    """An error or half an interval in ln of a value as a part of the value, at most of a size that can be written."""
    return math.expm1(min(half, _MOST))


def question_now(study: Study) -> Question:
    """What laws are asked at any moment: in a study that grows everything measured is fitted, else what its split
    fits."""
    question = Question.of_study(study)
    return everything_fitted(question) if study.growth else question


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What was learnt, and the fits that say it."""

    knowledge: Knowledge
    fits: Mapping[str, Sequence[Asked]]
    """By law, of every task of which it could be fitted."""


def learn(study: Study, store: Store, targets: Sequence[str]) -> Learnt:
    """Fit the study's laws to everything that is measured, and write their forecasts of the targets into the ledger: an
    entry a task.

    Raises PipelineError where too little is measured, a target is none, or no law can be fitted.
    """
    rows, wanted = store.table(), read_targets(study, targets)
    parts, left_out = parts_of(everything_fitted(Question.of_study(study)), of_grid(study, rows), wanted)
    known: dict[str, Knowledge] = {}
    fits: dict[str, list[Asked]] = {}
    for part in parts:
        texts = [targets[number] for number in part.numbers]
        known[part.name], fitted = _learn(study, store, part, texts, rows)
        for law, found in fitted.items():
            fits.setdefault(law, []).append(asked_of(part, found))
    if not fits:
        law, reason = next(iter(next(iter(known.values())).failed.items()))
        raise PipelineError(f"study '{study.name}': no law can be fitted yet: {law} says {reason}")
    together = _together(known, parts, left_out, targets) if study.tasks else known[""]
    return Learnt(knowledge=together, fits=fits)


def _learn(
    study: Study, store: Store, part: Part, texts: Sequence[str], rows: Any
) -> tuple[Knowledge, Mapping[str, Fit]]:
    """Of one task."""
    fitted = fit_laws(part.question, part.divided, study.law_addresses, part.targets)
    ledger = Ledger(store.folder)
    names: dict[int, str] = {}

    def keep(fit: Fit) -> str:
        names[id(fit)] = ledger.keep_fit(fit)
        return names[id(fit)]

    if fitted.fits:
        blind = ~part.targets.measured(rows)
        ledger.append(make_entry(study.name, fitted, part.targets, blind=blind, keep=keep))
    laws = {
        law: _known(found, part.targets, part.question, names.get(id(found), "")) for law, found in fitted.fits.items()
    }
    knowledge = Knowledge(
        rows=len(part.divided.fitted),
        fingerprint=part.divided.fitted.fingerprint,
        targets=tuple(texts),
        laws=laws,
        failed=dict(fitted.failed),
    )
    return knowledge, fitted.fits


def _together(
    known: Mapping[str, Knowledge], parts: Sequence[Part], left_out: Mapping[str, str], targets: Sequence[str]
) -> Knowledge:
    """What all tasks say: of each law its forecasts, where it has one at every target."""
    failed = {law: f"{name}: {why}" for name, one in known.items() for law, why in one.failed.items()}
    everywhere = [law for one in known.values() for law in one.laws]
    failed |= {law: why for law in everywhere for why in left_out.values()}
    laws = {}
    for law in dict.fromkeys(law for law in everywhere if law not in failed):
        own = [known[part.name].laws[law] for part in parts]
        said = in_order(parts, [one.said for one in own]) if all(one.said for one in own) else []
        structure = "; ".join(f"{part.name}: {one.structure}" for part, one in zip(parts, own, strict=True))
        status = ", ".join(dict.fromkeys(one.status for one in own))
        laws[law] = LawKnown(status=status, structure=structure, coefficients={}, said=tuple(said), fit="")
    return Knowledge(
        rows=sum(one.rows for one in known.values()),
        fingerprint=" ".join(one.fingerprint for one in known.values()),
        targets=tuple(targets),
        laws=laws,
        failed=failed,
        tasks=known,
    )


def read_targets(study: Study, texts: Sequence[str]) -> Targets:
    """Targets that a person wrote, known by the columns that a study's points will have. Raises PipelineError."""
    cell = study.cells[0]
    known = {**cell.columns, **point_columns(cell)}
    names = [name for name, value in known.items() if name in study.tasks or not isinstance(value, str)]
    return named_targets(texts, Question.of_study(study), names)


def remembered(study: Study, store: Store, knowledge: Knowledge, law: str) -> list[Asked] | None:
    """A law's fits that were kept, if they are of what is measured now; None where they must be made again."""
    question, targets = everything_fitted(Question.of_study(study)), read_targets(study, knowledge.targets)
    parts, _ = parts_of(question, of_grid(study, store.table()), targets)
    found = []
    for part in parts:
        known = knowledge.tasks.get(part.name) if study.tasks else knowledge
        if known is None or part.divided.fitted.fingerprint != known.fingerprint:
            return None
        if law in known.laws:
            try:
                found.append(asked_of(part, Ledger(store.folder).fit(known.laws[law].fit)))
            except (FittingError, PipelineError):  # A law of somebody's own, or one whose formula has changed since.
                return None
    return found or None


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
