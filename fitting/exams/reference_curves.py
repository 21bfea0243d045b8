"""How the released estimators of Alabdulmohsin et al. 2022 fit M1, M2 and M3, to check that we read their table alike.

Our fits minimise the squared error of ln y for every law. Theirs differ, and so do their numbers:

M1  the same: a least-squares line through (ln x, ln y).
M2  the squared error of the logarithm of the excess, ln(y - e), not of y; e starts just below the least measurement and
    goes down to the first minimum. On most image curves it goes all the way to e = 0, where M2 is M1.
M3  the squared error of ln y, by turns: a line in ln(1/x + g), then the best g of those at which one measurement is hit
    exactly; it stops where neither helps, which is often before the minimum.
M4  the squared error of ln(y - e) - a ln(e0 - y), by turns of least squares and short gradient steps in e and e0, while
    the regression keeps the column ln(e0 - y) of its first e0 = 1. Some 15 seconds a curve; not repeated here.

Written from a reading of the released code, in our own words.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]

# The released code keeps the limit this far below the least measurement.
_MARGIN = 1e-3
_LIMITS = 300
_MOST_TURNS = 10_000


def reference_m1(x: np.ndarray, y: np.ndarray) -> Curve:
    slope, offset = np.polyfit(np.log(x), np.log(y), 1)
    return lambda at: np.exp(offset + slope * np.log(at))


def reference_m2(x: np.ndarray, y: np.ndarray) -> Curve:
    design = np.stack([np.ones_like(x), np.log(x)], axis=1)
    inverse = np.linalg.pinv(design)
    limits = np.linspace(y.min() - _MARGIN, 0.0, _LIMITS)
    excess = np.log(y[None, :] - limits[:, None])
    misfit = ((excess - excess @ inverse.T @ design.T) ** 2).sum(1)
    rises = np.flatnonzero(np.diff(misfit) > 0)
    first = int(rises[0]) if rises.size else _LIMITS - 1
    offset, slope = inverse @ excess[first]
    return lambda at: limits[first] + np.exp(offset + slope * np.log(at))


def reference_m3(x: np.ndarray, y: np.ndarray) -> Curve:
    g, b, c = 0.0, 1.0, 0.0
    for _ in range(_MOST_TURNS):
        before = b
        slope, offset = np.polyfit(np.log(1.0 / x + g), np.log(y), 1)
        c, b = max(0.0, slope), float(np.exp(offset))
        if c > 0:
            with np.errstate(over="ignore"):
                hits = (y / b) ** (1.0 / c) - 1.0 / x
            tried = np.concatenate([[g], hits[(hits >= 0) & np.isfinite(hits)]])
            misfit = ((np.log(y / b) - c * np.log(1.0 / x + tried[:, None])) ** 2).sum(1)
            g = float(tried[np.argmin(misfit)])
        if abs(b - before) < 1e-10:
            break
    return lambda at: b * (1.0 / at + g) ** c
