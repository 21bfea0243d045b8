"""From a table of measurements to an entry: the laws fitted, and what each says of the targets."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fitting import Fit, FitStatus, FittingError, Metric, Table, find_law, fit
from pipeline.analysis import Divided, Question
from pipeline.forecasts.entry import Entry, LawForecast, outside
from pipeline.forecasts.targets import Targets


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Laws fitted to one table, with the reason for each that could not be."""

    question: Question
    table: Table | None
    """What was fitted; None where there was too little of it."""
    fits: Mapping[str, Fit]
    failed: Mapping[str, str]


def fit_laws(
    question: Question,
    divided: Divided | None,
    laws: Sequence[str],
    targets: Targets,
    *,
    seed: int = 0,
    reason: str = "",
) -> Fitted:
    """Fit every law to a table's fitted side, towards the targets; no law for the given reason where it is None.

    Never raises because one law fails, or is unknown.
    """
    if divided is None:
        return Fitted(question=question, table=None, fits={}, failed=dict.fromkeys(map(law_name, laws), reason))
    toward = targets.numbers((*question.inputs, *question.hyperparameters)) if len(targets) else None
    fits: dict[str, Fit] = {}
    failed: dict[str, str] = {}
    for law in laws:
        name = law_name(law)
        try:
            found = fit(law, divided.fitted, seed=seed, toward=toward)
        except FittingError as error:
            failed[name] = str(error)
            continue
        if found.status is FitStatus.FAILED:
            failed[name] = "no start gave finite numbers"
        else:
            fits[name] = found
    return Fitted(question=question, table=divided.fitted, fits=fits, failed=failed)


def law_name(address: str) -> str:
    """What a law calls itself, wherever its file is; the address where there is no such law."""
    try:
        return find_law(address).name
    except FittingError:
        return address


def make_entry(
    about: str, fitted: Fitted, targets: Targets, *, blind: np.ndarray, keep: Callable[[Fit], str] = lambda fit: ""
) -> Entry:
    """What the fitted laws say of the targets. keep: keeps a fit and returns its name."""
    from pipeline.forecasts.ledger import now

    question, table = fitted.question, fitted.table
    laws, failed = [], dict(fitted.failed)
    for name, one in fitted.fits.items():
        said = _says(name, one, targets, question.metric, keep) if len(targets) else "there is nothing to forecast"
        if isinstance(said, str):
            failed[name] = said
        else:
            laws.append(said)
    return Entry(
        time=now(),
        about=about,
        question=question_to_json(question),
        rows=len(table) if table is not None else 0,
        fingerprint=table.fingerprint if table is not None else "",
        ranges={name: [float(x.min()), float(x.max())] for name, x in table.columns.items()} if table else {},
        assumed=_assumed(question.metric),
        code=versions(),
        keys=list(targets.keys),
        targets={name: list(values) for name, values in targets.columns.items()},
        evaluation=list(targets.evaluation),
        blind=blind.tolist(),
        laws=tuple(laws),
        failed=failed,
    )


def question_to_json(question: Question) -> dict[str, Any]:
    """What is asked of a table, without the laws: each forecast names its own."""
    ceiling = question.metric.ceiling
    ceiling = "inf" if ceiling is not None and math.isinf(ceiling) else ceiling
    return {
        "metric": {**asdict(question.metric), "ceiling": ceiling},
        "inputs": list(question.inputs),
        "hyperparameters": list(question.hyperparameters),
        "split": question.held_out,
        "excluded": dict(question.excluded),
        # Absent where there are none: what was asked before there were tasks is the same question still.
        **({"tasks": list(question.tasks)} if question.tasks else {}),
        **({"task": dict(question.task)} if question.task else {}),
    }


def everything_fitted(question: Question) -> Question:
    """The same question with nothing held out."""
    return replace(question, held_out="")


def distance(table: Table, targets: Targets) -> dict[str, np.ndarray]:
    """By what factor each target lies outside the fitted range of each column, 1 inside; shape (targets,)."""
    numbers = targets.numbers(table.columns)
    return {name: outside(numbers[name], x.min(), x.max()) for name, x in table.columns.items()}


def _says(law: str, found: Fit, targets: Targets, metric: Metric, keep: Callable[[Fit], str]) -> LawForecast | str:
    """A law's forecasts, or why it has none."""
    with np.errstate(all="ignore"):
        known = found.uncertainty(targets.numbers(found.columns))
        columns = {"median": metric.from_loss(np.exp(known.log_median))}
        for level, name in ((0.5, "50"), (0.9, "90")):
            ends = np.stack([metric.from_loss(end) for end in known.interval(level)])
            columns |= {f"low_{name}": ends.min(0), f"high_{name}": ends.max(0)}
    columns["scale"] = known.scale
    if broken := sum(~np.isfinite(values).all() for values in columns.values()):
        return f"its forecast is not finite at some of the targets ({broken} columns)"
    return LawForecast(
        law=law,
        status=found.status.value,
        equation=found.belief.shown.form.equation,
        coefficients={name: float(value) for name, value in found.coefficients.items() if math.isfinite(value)},
        fit=keep(found),
        freedom=known.freedom.tolist(),
        **{name: values.tolist() for name, values in columns.items()},
    )


def _assumed(metric: Metric) -> dict[str, Any]:
    """What was given and not measured."""
    given = {"floor": metric.floor or None, "best": metric.best, "ceiling": metric.ceiling}
    return {name: "inf" if math.isinf(value) else value for name, value in given.items() if value is not None}


@cache
def versions() -> dict[str, str]:
    """Of the package and of the source that turns rows into forecasts."""
    source = hashlib.sha256()
    folder = Path(importlib.import_module("fitting").__file__).parent
    for path in sorted(folder.rglob("*.py")):
        source.update(path.read_bytes())
    try:
        version = importlib.metadata.version("unsl")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    return {"unsl": version, "fitting": source.hexdigest()[:16]}
