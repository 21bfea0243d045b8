"""Proper scores of forecasts whose distribution is a Student's t, in ln y: arrays in, arrays out.

Closed forms of Jordan, Krüger and Lerch (2019, J. Stat. Softw. 90) for the CRPS, of Gneiting and Raftery (2007, J. Am.
Stat. Assoc. 102) for the interval score. All are in the unit of ln y, less is better, and their expectation is least
for whoever says what he believes. Tested against integrals and the normal limit.
"""

from __future__ import annotations

import math

import numpy as np

NORMAL_FROM = 1e6
"""Degrees of freedom from which a Student's t is the normal distribution to within rounding of its scores."""


def crps(error: np.ndarray, scale: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of t distributions; error: measured minus median. freedom: above 1."""
    from scipy import special, stats

    z = error / scale
    freedom = np.minimum(np.asarray(freedom, float), NORMAL_FROM)
    density, below = stats.t.pdf(z, freedom), stats.t.cdf(z, freedom)
    ratio = np.exp(special.betaln(0.5, freedom - 0.5) - 2 * special.betaln(0.5, freedom / 2))
    inner = z * (2 * below - 1) + 2 * density * (freedom + z**2) / (freedom - 1)
    return scale * (inner - 2 * np.sqrt(freedom) / (freedom - 1) * ratio)


def interval_score(low: np.ndarray, high: np.ndarray, value: np.ndarray, level: float) -> np.ndarray:
    """Width, plus 2 / (1 - level) for each unit by which an interval of this level is missed."""
    missed = np.maximum(low - value, 0) + np.maximum(value - high, 0)
    return high - low + 2 / (1 - level) * missed


def pit(error: np.ndarray, scale: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Probability integral transform: where in its foretold distribution the measurement fell, uniform if all is
    right."""
    from scipy import stats

    return stats.t.cdf(error / scale, np.minimum(np.asarray(freedom, float), NORMAL_FROM))


def reach(level: float, scale: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Half the width of the interval of a level."""
    from scipy import stats

    return scale * stats.t.ppf(0.5 + level / 2, np.minimum(np.asarray(freedom, float), NORMAL_FROM))


def held(probabilities: np.ndarray, level: float) -> np.ndarray:
    """Whether the interval of a level held the measurement, from its PIT."""
    return np.abs(probabilities - 0.5) <= level / 2


def reliability(probabilities: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """For each level, the share of measurements that its interval held; nan where there are none."""
    if probabilities.size == 0:
        return np.full(len(levels), math.nan)
    return (np.abs(probabilities - 0.5)[None, :] <= np.asarray(levels)[:, None] / 2).mean(1)
