"""How far a forecast may be off.

The variance of ln y at a target has three parts, added: what the coefficients leave open (from the curvature of the
fit, carried to the target, so that it grows with distance), how much the candidates disagree there, and the noise of
a single measurement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import FittingError
from .selection import Member


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """An interval [low, high] around a median that holds a new measurement with probability `level`; units of the
    table's y.
    """

    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Standard deviations in ln y. residual: around the fit. seed: between replicates (0 when no row is repeated).
    rows: fitted.
    """

    residual: float
    seed: float
    rows: int

    @classmethod
    def of(cls, residual: np.ndarray, group: np.ndarray | None, coefficients: int) -> Noise:
        """From residuals in ln y; the coefficients use up as many rows, but never more than half of them under a
        ridge.
        """
        freedom = max(residual.size - coefficients, residual.size / 2, 1)
        return cls(
            residual=float(np.sqrt((residual**2).sum() / freedom)),
            seed=_between_replicates(residual, group),
            rows=residual.size,
        )


def _between_replicates(residual: np.ndarray, group: np.ndarray | None) -> float:
    if group is None:
        return 0.0
    squares, freedom = 0.0, 0
    for one in np.unique(group):
        values = residual[group == one]
        squares += float(((values - values.mean()) ** 2).sum())
        freedom += values.size - 1
    return float(np.sqrt(squares / freedom)) if freedom else 0.0


def forecast_log(
    members: Sequence[Member], z: Mapping[str, np.ndarray], noise: Noise, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Low, median and high of ln y at centred logarithms z."""
    from scipy import stats  # here, because importing it costs more than a plan takes

    if not 0 < level < 1:
        raise FittingError(f"the level of an interval is a probability between 0 and 1, not {level}")
    logs = np.stack([m.form.predict_log(m.raw[None, :], z)[0] for m in members])
    middle = logs.mean(0)
    spread = logs.var(0) if len(members) > 1 else np.zeros_like(middle)
    deviation = np.sqrt(spread + max(noise.residual, noise.seed) ** 2)
    freedom = max(noise.rows - members[0].form.size, 2)
    reach = float(stats.t.ppf(0.5 + level / 2, freedom)) * deviation
    return middle - reach, middle, middle + reach
