"""The root mean squared log error, with its error bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Rmsle:
    """sqrt(mean((ln predicted - ln measured)^2)) over `points` rows, without unit: 0.01 is about one per cent.

    `error` is the root standard log error of the literature on broken scaling laws,
    sqrt(mu + sigma / sqrt(points)) - sqrt(mu), where mu and sigma are the mean and the standard deviation of the
    squared log errors.
    """

    value: float
    error: float
    points: int

    def __str__(self) -> str:
        return f"{self.value:.4f} ± {self.error:.4f}"


def rmsle(predicted: np.ndarray, measured: np.ndarray) -> Rmsle:
    """Score predictions against measurements; both positive and of one shape. No rows give not-a-number, marked by
    points=0.
    """
    squares = np.ravel((np.log(np.asarray(predicted, float)) - np.log(np.asarray(measured, float))) ** 2)
    if squares.size == 0:
        return Rmsle(value=float("nan"), error=float("nan"), points=0)
    mean = float(squares.mean())
    value = float(np.sqrt(mean))
    return Rmsle(
        value=value, error=float(np.sqrt(mean + squares.std() / np.sqrt(squares.size))) - value, points=squares.size
    )
