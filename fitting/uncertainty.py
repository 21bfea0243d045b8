"""What a forecast's uncertainty is made of, at every target. See `forecast` for the three parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import FittingError


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """The distribution of ln y at targets: a Student's t around `log_median`; arrays of the targets' shape.

    coefficients, structures, noise: the parts of its squared scale: what the fit leaves open, how much the members
    disagree, and a single measurement around the truth. freedom: degrees of freedom, few where the law does not know.
    """

    log_median: np.ndarray
    coefficients: np.ndarray
    structures: np.ndarray
    noise: np.ndarray
    freedom: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        return np.sqrt(self.coefficients + self.structures + self.noise)

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Low and high y, which hold a new measurement with probability `level`."""
        from scipy import stats  # here, because importing it costs more than a plan takes

        if not 0 < level < 1:
            raise FittingError(f"the level of an interval is a probability between 0 and 1, not {level}")
        reach = stats.t.ppf(0.5 + level / 2, self.freedom) * self.scale
        return np.exp(self.log_median - reach), np.exp(self.log_median + reach)

    def shares(self) -> dict[str, np.ndarray]:
        """The part of the variance that each of the three makes up; they sum to 1."""
        whole = self.scale**2
        return {name: getattr(self, name) / whole for name in ("coefficients", "structures", "noise")}


def uncertainty(belief, z: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Uncertainty:
    """Of a `Belief`, at centred logarithms of the columns; see `Fit.uncertainty`."""
    mean, *unknown = belief.parts(z)
    coefficients, structures = (belief.stretch**2 * part for part in unknown)
    return Uncertainty(
        log_median=mean.reshape(shape),
        coefficients=coefficients.reshape(shape),
        structures=structures.reshape(shape),
        noise=np.full(shape, belief.noise**2),
        freedom=belief.freedom(coefficients + structures).reshape(shape),
    )
