"""Tasks of a study, or of a table: each is fitted by itself, and asked for those targets that are its own.

Where there are no tasks there is one part, of everything, without a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitting import Fit, FitStatus, FittingError, fit
from pipeline.analysis import Divided, Question, by_task, task_name
from pipeline.errors import PipelineError
from pipeline.forecasts import Targets


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is measured of one task, and what is to be foretold of it."""

    name: str
    question: Question
    divided: Divided
    targets: Targets
    numbers: Sequence[int]
    """Of its targets among all that were asked for."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A law fitted to one task, and where it is to foretell."""

    name: str
    task: Mapping[str, Any]
    fit: Fit
    targets: Targets
    numbers: Sequence[int]
    """As of `Part`."""

    def holds(self, columns: Mapping[str, Any]) -> bool:
        """Whether a cell or a row is of this task."""
        return is_of(columns, self.task)


def is_of(columns: Mapping[str, Any], task: Mapping[str, Any]) -> bool:
    return all(columns[name] == value or str(columns[name]) == str(value) for name, value in task.items())


def parts_of(question: Question, rows: Any, targets: Targets) -> tuple[list[Part], dict[str, str]]:
    """The tasks that are asked for; and those of which too little is measured, with the reason.

    rows: a pandas DataFrame, as `of_grid` makes it of a study's points. Raises PipelineError where too little is
    measured of all of them.
    """
    measured = by_task(question, rows)
    wanted = dict.fromkeys(zip(*(targets.columns[name] for name in question.tasks), strict=True))
    wanted = wanted or ({(): None} if len(targets) else {})
    parts, left_out = [], {}
    for values in wanted:
        task = dict(zip(question.tasks, values, strict=True))
        mask = targets.in_task(task)
        name = next((name for name, (asked, _) in measured.items() if is_of(asked.task, task)), None)
        if name is None:
            left_out[task_name(task)] = f"{question.about} has no measurement of the task {task_name(task)}"
            continue
        asked, part = measured[name]
        try:
            divided = asked.divide(part)
        except PipelineError as error:
            left_out[name] = f"{name}: {error}" if name else str(error)
            continue
        own = {"targets": targets.where(mask), "numbers": np.flatnonzero(mask).tolist()}
        parts.append(Part(name=name, question=asked, divided=divided, **own))
    if not parts and left_out:
        raise PipelineError(next(iter(left_out.values())))
    return parts, left_out


def fit_parts(
    law: str, question: Question, rows: Any, targets: Targets, *, seed: int = 0
) -> tuple[list[Asked], list[Part]]:
    """A law fitted to every task that is asked for. Raises PipelineError where it says nothing of one of them."""
    parts, left_out = parts_of(question, rows, targets)
    if left_out:
        raise PipelineError(next(iter(left_out.values())))
    return [_fit(law, part, seed) for part in parts], parts


def _fit(law: str, part: Part, seed: int) -> Asked:
    where, table = f" of {part.name}" if part.name else "", part.divided.fitted
    try:
        found = fit(law, table, seed=seed, toward=part.targets.numbers(table.columns))
    except FittingError as error:
        raise PipelineError(f"{law} says nothing here{where}: {error}") from error
    if found.status is FitStatus.FAILED:
        raise PipelineError(f"{law} says nothing here{where}: no start gave finite numbers")
    return asked_of(part, found)


def asked_of(part: Part, found: Fit) -> Asked:
    return Asked(name=part.name, task=part.question.task, fit=found, targets=part.targets, numbers=part.numbers)


def in_order(asked: Sequence[Any], values: Sequence[Sequence[Any]]) -> list[Any]:
    """What was said of the targets of each task, in the order in which all of them were asked for."""
    placed = [pair for one, said in zip(asked, values, strict=True) for pair in zip(one.numbers, said, strict=True)]
    return [said for _, said in sorted(placed, key=lambda pair: pair[0])]
