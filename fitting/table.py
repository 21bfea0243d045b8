"""The only thing that a law sees: columns of positive numbers, and the metric."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .errors import FittingError


@dataclass(frozen=True, kw_only=True)
class Table:
    """Measurements as columns of equal length.

    inputs: what scales (parameters, tokens, steps, ...), each positive, in any unit: predictions do not depend on
    units. hyperparameters: what can be too large or too small (learning_rate, batch_size, ...), each positive. y: the
    metric, positive, lower is better; see `Metric` for the map from anything else. ceiling: the worst value that the
    metric allows, in units of y; None when unknown (it is fitted), math.inf when there is none. group: replicate id,
    integers. Rows that are equal but for the seed share it, and tell noise from misfit.

    Raises FittingError for anything that no law could use; the message names the column and the first offending row.
    """

    inputs: Mapping[str, np.ndarray]
    y: np.ndarray
    hyperparameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    ceiling: float | None = None
    group: np.ndarray | None = None

    def __post_init__(self) -> None:
        y = _numbers("y", self.y)
        if not self.inputs:
            raise FittingError("the table has no input column; name at least one, such as parameters, tokens or steps")
        both = set(self.inputs) & set(self.hyperparameters)
        if both:
            raise FittingError(
                f"{sorted(both)} are given as inputs and as hyperparameters; a column is one or the other"
            )
        inputs = {name: _column(name, values, y.size) for name, values in self.inputs.items()}
        hyperparameters = {name: _column(name, values, y.size) for name, values in self.hyperparameters.items()}
        _positive("y", y, "map the metric with Metric, or exclude those rows")
        if self.ceiling is not None and not self.ceiling > 0:
            raise FittingError(
                f"the ceiling is {self.ceiling}; give a positive number, None (unknown) or math.inf (there is none)"
            )
        if self.group is not None:
            group = np.asarray(self.group)
            if group.shape != y.shape or group.dtype.kind not in "iu":
                raise FittingError(
                    f"group holds one integer a row; it has shape {group.shape} and type {group.dtype}, "
                    f"y has {y.size} rows"
                )
            object.__setattr__(self, "group", _frozen(group))
        object.__setattr__(self, "y", _frozen(y))
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "hyperparameters", hyperparameters)

    def __len__(self) -> int:
        return int(self.y.size)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Inputs and hyperparameters by name."""
        return {**self.inputs, **self.hyperparameters}

    @property
    def fingerprint(self) -> str:
        """A hash of the measurements, whatever the order of the rows and the numbers of the groups: equal for equal
        tables, on any machine."""
        parts = {**self.columns, "y": self.y}
        order = np.lexsort([*parts.values()])
        if self.group is not None:
            # Numbered as they come up in that order, since their own numbers say nothing.
            _, first, member_of = np.unique(self.group[order], return_index=True, return_inverse=True)
            parts["group"] = np.empty(len(self), np.int64)
            parts["group"][order] = first[member_of]
        digest = hashlib.sha256(f"{list(self.inputs)} {list(self.hyperparameters)} {self.ceiling!r}".encode())
        for values in parts.values():
            digest.update(np.ascontiguousarray(values[order], "<f8").tobytes())
        return digest.hexdigest()[:32]

    def where(self, mask: np.ndarray) -> Table:
        """The rows that a boolean mask (or an array of row numbers) picks."""
        mask = np.asarray(mask)
        if mask.dtype == bool and mask.shape != self.y.shape:
            raise FittingError(f"the mask has shape {mask.shape}; the table has {len(self)} rows")
        return Table(
            inputs={name: values[mask] for name, values in self.inputs.items()},
            hyperparameters={name: values[mask] for name, values in self.hyperparameters.items()},
            y=self.y[mask],
            ceiling=self.ceiling,
            group=None if self.group is None else self.group[mask],
        )


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        try:
            array = array.astype(float)
        except (TypeError, ValueError):
            raise FittingError(
                f"column {name!r} holds something that is not a number; laws read numbers only"
            ) from None
    if array.ndim != 1:
        raise FittingError(f"column {name!r} has shape {array.shape}; give one number a row")
    return array.astype(float)


def _column(name: str, values: np.ndarray, rows: int) -> np.ndarray:
    array = _numbers(name, values)
    if array.size != rows:
        raise FittingError(f"column {name!r} has {array.size} rows, y has {rows}; columns are of equal length")
    _positive(name, array, "exclude those rows, or shift the column")
    return _frozen(array)


def _positive(name: str, array: np.ndarray, remedy: str) -> None:
    bad = ~(np.isfinite(array) & (array > 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise FittingError(
            f"column {name!r} has {int(bad.sum())} values that are not positive and finite "
            f"(row {row}: {array[row]}); {remedy}"
        )


def _frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array
