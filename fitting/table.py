"""The only thing that a law sees: columns of positive numbers, and the metric."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .errors import FittingError
from .metric import Metric


@dataclass(frozen=True, kw_only=True)
class Table:
    """Measurements as columns of equal length.

    inputs: what scales (parameters, tokens, steps, ...), each positive, in any unit: predictions do not depend on
    units. hyperparameters: what can be too large or too small (learning_rate, batch_size, ...), each positive. y: the
    metric, positive, lower is better; see `Metric` for the map from anything else. ceiling: the worst value that the
    metric allows, in units of y; None when unknown (it is fitted), math.inf when there is none. group: replicate id,
    integers. Rows that are equal but for the seed share it, and tell noise from misfit. weights: how much each row
    counts, positive: the number of measurements whose mean it is, or the inverse of its variance in ln y up to a
    factor. counts: y is the rate of failures in so many trials, smoothed as `Metric.to_loss` does.

    Raises FittingError for anything that no law could use; the message names the column and the first offending row.
    """

    inputs: Mapping[str, np.ndarray]
    y: np.ndarray
    hyperparameters: Mapping[str, np.ndarray] = field(default_factory=dict)
    ceiling: float | None = None
    group: np.ndarray | None = None
    weights: np.ndarray | None = None
    counts: np.ndarray | None = None

    def __post_init__(self) -> None:
        y = _numbers("y", self.y)
        if len(self.inputs) == 0:
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
        if self.counts is not None:
            object.__setattr__(self, "counts", _column("counts", self.counts, y.size))
        if self.weights is not None:
            object.__setattr__(self, "weights", _column("weights", self.weights, y.size))
        object.__setattr__(self, "y", _frozen(y))
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "hyperparameters", hyperparameters)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        metric: str | Metric,
        inputs: Sequence[str],
        hyperparameters: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
        weights: str | None = None,
        count: str | None = None,
    ) -> Table:
        """A table from a pandas DataFrame (or any mapping of names to columns); the arguments name its columns.

        metric: the column, or a `Metric` of that name, which also says the direction and the ceiling. group: rows that
        agree in these columns are replicates. count: of how many trials (test images, episodes) the metric is a
        rate: what is fitted is then their likelihood, and a rate at its bound is data; see `Metric.to_loss`. Raises
        FittingError for a column that is absent, and whatever `Table` refuses.
        """
        metric = Metric(name=metric) if isinstance(metric, str) else metric

        def column(name: str) -> np.ndarray:
            if name not in frame:
                raise FittingError(f"there is no column {name!r}; the columns are: {', '.join(map(str, frame))}")
            return np.asarray(frame[name])

        counts = None if count is None else _column(count, column(count), len(column(count)))
        loss = metric.to_loss(_numbers(metric.name, column(metric.name)), counts)
        names = [] if group is None else [group] if isinstance(group, str) else list(group)
        return cls(
            inputs={name: column(name) for name in inputs},
            hyperparameters={name: column(name) for name in hyperparameters},
            y=loss,
            ceiling=metric.ceiling,
            group=_codes([column(name) for name in names]) if names else None,
            weights=None if weights is None else _numbers(weights, column(weights)),
            counts=counts,
        )

    def __len__(self) -> int:
        return int(self.y.size)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """Inputs and hyperparameters by name."""
        return {**self.inputs, **self.hyperparameters}

    def reweighted(self, predicted: np.ndarray) -> Table:
        """A table of counts for the next of a few least-squares fits that together maximise their likelihood.

        Near a rate p that is predicted, a measured one says ln p + (measured - p) / p with the precision n p / (1 - p).
        Both hang on what is predicted and not on the luck of the row, so that rows without a failure bend nothing.
        """
        assert self.counts is not None
        rate = np.clip(predicted, 1e-12, 1.0 - 0.5 / (self.counts + 1.0))
        measured = (self.y * (self.counts + 1.0) - 0.5) / self.counts
        # A step is at most a factor e^2: beyond, the line is no picture of the curve.
        step = np.clip((measured - rate) / rate, -2.0, 2.0)
        precision = self.counts * rate / (1.0 - rate)
        weights = precision if self.weights is None else precision * self.weights
        return replace(self, y=rate * np.exp(step), weights=weights, counts=None)

    @property
    def fingerprint(self) -> str:
        """A hash of the measurements, whatever the order of the rows and the numbers of the groups: equal for equal
        tables, on any machine."""
        parts = {**self.columns, "y": self.y}
        rest = {"weights": self.weights, "counts": self.counts}
        parts |= {name: values for name, values in rest.items() if values is not None}
        order = np.lexsort([*parts.values()])
        if self.group is not None:
            # Numbered as they come up in that order, since their own numbers say nothing.
            _, first, member_of = np.unique(self.group[order], return_index=True, return_inverse=True)
            parts["group"] = np.empty(len(self), np.int64)
            parts["group"][order] = first[member_of]
        digest = hashlib.sha256(
            f"{list(self.inputs)} {list(self.hyperparameters)} {list(parts)} {self.ceiling!r}".encode()
        )
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
            weights=None if self.weights is None else self.weights[mask],
            counts=None if self.counts is None else self.counts[mask],
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


def _codes(columns: Sequence[np.ndarray]) -> np.ndarray:
    """One integer a row; rows that agree in every column share it."""
    parts = [np.unique(c.astype(str), return_inverse=True)[1] for c in columns]
    return np.unique(np.stack(parts, axis=1), axis=0, return_inverse=True)[1].ravel()


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
