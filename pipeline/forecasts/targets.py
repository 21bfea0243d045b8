"""Targets: what one wants to know. The held-out points of a study's cells, or places that a person names."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.analysis import Question
from pipeline.errors import PipelineError, suggest
from pipeline.study import Cell, Study, point_columns
from trainers import evaluation_fingerprint

CELL_KEYS = ("cell", "step", "inference_steps")
"""By which a study's measurements are told apart."""
TOLERANCE = 1e-9
"""Relative difference below which a measurement is of the place that was asked for: numbers are typed by people."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Places, as columns of equal length."""

    columns: Mapping[str, Sequence[Any]]
    """Every column that is known of them."""
    keys: Sequence[str]
    """The columns by which a measurement of one is known."""
    evaluation: Sequence[str]
    """For each, the fingerprint of its evaluation set; empty where nobody knows."""

    def __len__(self) -> int:
        return len(self.evaluation)

    def numbers(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Some columns as arrays of floats."""
        return {name: np.asarray(self.columns[name], float) for name in names}

    def where(self, mask: np.ndarray) -> Targets:
        """Some of them; mask of shape (targets,)."""
        kept = np.flatnonzero(mask)
        return replace(
            self,
            columns={name: [values[i] for i in kept] for name, values in self.columns.items()},
            evaluation=[self.evaluation[i] for i in kept],
        )

    def of_task(self, task: Mapping[str, Any]) -> Targets:
        """Those of one task; all where it is none."""
        return self.where(self.in_task(task))

    def in_task(self, task: Mapping[str, Any]) -> np.ndarray:
        """For each, whether it is of a task; shape (targets,)."""
        mask = np.ones(len(self), bool)
        for name, value in task.items():
            mask &= np.array([one == value or str(one) == str(value) for one in self.columns[name]], bool)
        return mask

    def measured(self, rows: Any) -> np.ndarray:
        """For each, whether a table (a pandas DataFrame) has a measurement of it; shape (targets,)."""
        found = np.zeros(len(self), bool)
        found[matches(self.columns, self.keys, rows)[0]] = True
        return found


def held_out_targets(study: Study, cells: Iterable[Cell] | None = None) -> Targets:
    """Every held-out point that the cells (default: all of the study's) have or will have."""
    pieces, evaluation = [], []
    trainer = study.loaded_trainer
    for cell in study.cells if cells is None else cells:
        held_out, excluded = study.planned_split(cell)
        wanted = np.flatnonzero(held_out & ~excluded)
        if wanted.size:
            of_points = {name: values[wanted].tolist() for name, values in point_columns(cell).items()}
            of_cell = {name: [value] * wanted.size for name, value in {"cell": cell.id, **cell.columns}.items()}
            pieces.append({**of_cell, **of_points})
            evaluation += [evaluation_fingerprint(trainer, trainer.Config(**cell.config))] * wanted.size
    names = pieces[0] if pieces else (*CELL_KEYS, *study.inputs, *study.hyperparameters)
    columns = {name: [value for piece in pieces for value in piece[name]] for name in names}
    return Targets(columns=columns, keys=CELL_KEYS, evaluation=evaluation)


def named_targets(texts: Sequence[str], question: Question, known: Iterable[str]) -> Targets:
    """Places that a person names, each as `parameters=7e9, dataset_size=1.4e11`.

    known: columns that may be named; those that laws read must be, and those that name a task. Raises PipelineError
    that says what is wrong.
    """
    known = [*question.inputs, *question.hyperparameters, *known]
    needed = (*question.inputs, *question.hyperparameters, *question.tasks)
    places = [_read(text, known, question.tasks) for text in texts]
    for text, place in zip(texts, places, strict=True):
        if lacking := [name for name in needed if name not in place]:
            raise PipelineError(f"--at '{text}' must say {', '.join(lacking)} too: it needs {', '.join(needed)}")
        if place.keys() != places[0].keys():
            raise PipelineError(f"--at '{text}' must name the same columns as --at '{texts[0]}'")
    columns = {name: [place[name] for place in places] for name in places[0]}
    if len({tuple(place.values()) for place in places}) < len(places):
        raise PipelineError("--at names one place twice")
    return Targets(columns=columns, keys=tuple(columns), evaluation=[""] * len(places))


def matches(columns: Mapping[str, Sequence[Any]], keys: Sequence[str], rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of targets and of the rows that measured them, pairwise; a target may have several, or none."""
    import pandas

    if not len(rows) or any(name not in rows for name in keys):
        return np.zeros(0, int), np.zeros(0, int)
    left = pandas.DataFrame({name: _rounded(columns[name]) for name in keys})
    right = pandas.DataFrame({name: _rounded(rows[name].to_numpy()) for name in keys})
    both = left.assign(target=np.arange(len(left))).merge(right.assign(row=np.arange(len(right))), on=list(keys))
    return both["target"].to_numpy(int), both["row"].to_numpy(int)


def _rounded(values: Any) -> np.ndarray:
    """Text as it is, numbers to as many digits as a person means."""
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        return array.astype(str) if array.dtype.kind != "b" else array.astype(float).astype(str)
    array = array.astype(float)
    size = 10.0 ** np.floor(np.log10(np.where(array == 0, 1.0, np.abs(array))))
    digits = -math.floor(math.log10(TOLERANCE))
    return np.round(array / size, digits) * size


def _read(text: str, known: Sequence[str], tasks: Collection[str]) -> dict[str, Any]:
    place: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise PipelineError(f"--at '{text}': write COLUMN=NUMBER, as in 'parameters=7e9, dataset_size=1.4e11'")
        if name not in known:
            raise PipelineError(f"--at '{text}': there is no column '{name}'; {suggest(name, known)}")
        if name in place:
            raise PipelineError(f"--at '{text}' says {name} twice")
        place[name] = _literal(value) if name in tasks else _positive(text, name, value)
    if not place:
        raise PipelineError("--at is empty: write COLUMN=NUMBER, as in 'parameters=7e9, dataset_size=1.4e11'")
    return place


def _literal(value: str) -> Any:
    """A task's name for one: a number, a yes or no, or text."""
    if value in ("True", "False"):
        return value == "True"
    try:
        return float(value)
    except ValueError:
        return value


def _positive(text: str, name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError as error:
        raise PipelineError(f"--at '{text}': {name} is {value!r}, which is not a number") from error
    if not 0 < number < math.inf:
        raise PipelineError(f"--at '{text}': {name} is {value}, and laws are defined for positive finite numbers")
    return number
