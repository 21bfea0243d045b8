"""From what was measured to what a law fits, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import FittingError


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a measured metric becomes a positive quantity of which less is better.

    direction="lower": loss = value - floor, for example a cross-entropy above an entropy that is known to be
    irreducible. direction="higher": loss = best - value where the best value is known (accuracy: best=1); else loss =
    1 / (value - floor), for example the return of an agent, which has no known best.

    ceiling: the worst that the metric allows, in units of the mapped loss. The logarithm of the vocabulary size for a
    cross-entropy, 1 - 1/classes for an error rate; None when it is unknown (it is fitted), math.inf when there is
    none.
    """

    name: str = "loss"
    direction: str = "lower"
    ceiling: float | None = None
    floor: float = 0.0
    best: float | None = None

    def __post_init__(self) -> None:
        if self.direction not in ("lower", "higher"):
            raise FittingError(
                f"metric {self.name!r}: direction is {self.direction!r}; write 'lower' or 'higher' (which is better)"
            )
        if self.ceiling is not None and not self.ceiling > 0:
            raise FittingError(
                f"metric {self.name!r}: the ceiling is {self.ceiling}; "
                "give a positive number, in units of the mapped loss"
            )
        if self.best is not None and self.direction == "lower":
            raise FittingError(f"metric {self.name!r}: lower is better, so give the best value as floor, not as best")
        if not math.isfinite(self.floor) or (self.best is not None and not math.isfinite(self.best)):
            raise FittingError(f"metric {self.name!r}: floor and best are finite numbers, or left out")

    def to_loss(self, values: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
        """The mapped loss, of the shape of `values`. A value at or past its bound gives a loss that is not positive.
        To leave such rows out keeps the unlucky ones only, which bends every law that is fitted to the rest: give the
        counts where there are any.

        counts: of how many trials each value is the rate. k failures of n then give (k + 1/2) / (n + 1), positive even
        where nothing failed.
        """
        values = np.asarray(values, float)
        if self.direction == "lower":
            loss = values - self.floor
        elif self.best is not None:
            loss = self.best - values
        elif counts is not None:
            raise FittingError(
                f"metric {self.name!r}: counts are for rates; a rate of success has a best value, give best=1"
            )
        else:
            with np.errstate(divide="ignore"):
                return 1.0 / (values - self.floor)
        if counts is None:
            return loss
        if ((loss < -1e-9) | (loss > 1 + 1e-9)).any():
            raise FittingError(f"metric {self.name!r}: counts are for rates, and some values are not between 0 and 1")
        return (np.clip(loss, 0.0, 1.0) * counts + 0.5) / (np.asarray(counts, float) + 1.0)

    def from_loss(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `to_loss`."""
        values = np.asarray(values, float)
        if self.direction == "lower":
            return values + self.floor
        if self.best is not None:
            return self.best - values
        with np.errstate(divide="ignore"):
            return self.floor + 1.0 / values
