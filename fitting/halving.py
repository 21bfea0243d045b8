"""Which settings of hyperparameters are hopeless: foretold, by a law or by rank, to end worse than the best.

Settings are compared at one scale. What a law foretells of the end of a run is carried by what was measured of it: the
law's value at the end times the ratio of measurement to law so far, so that a law which suits a corner of the grid
badly is not held against the runs in that corner. A setting is hopeless if the lower end of its interval lies above the
upper end of the interval of the best. What all settings of a scale have in common is then counted twice, once for each
of the two, which errs on the side of letting runs go on.

Never among them: the best, and around it along every hyperparameter the values that an optimum is fitted with. Whoever
is hopeless leaves, worst first, as long as every hyperparameter keeps `LEAST_VALUES` values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .fits import Fit

LEVEL = 0.9
"""Of the intervals that are compared."""
LEAST_VALUES = 3
"""That a hyperparameter keeps at every scale: with fewer no curvature can be seen, and so no optimum."""


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """ln of the loss at the end, of each setting: shape (settings,)."""

    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray


def foretell(
    fit: Fit,
    now: Mapping[str, np.ndarray],
    log_y: np.ndarray,
    setting: np.ndarray,
    end: Mapping[str, np.ndarray],
    end_setting: np.ndarray,
    *,
    level: float = LEVEL,
) -> Foretold:
    """What a law foretells of settings that are numbered from 0 on, each with a row at least in `now` and in `end`.

    now: columns of the rows that were measured last, a seed each, shape (rows,), with ln of their loss and the number
    of their setting. end: columns of the rows that are to come, with theirs.
    """
    count = int(setting.max()) + 1
    said = fit.uncertainty({name: np.asarray(end[name], float) for name in fit.columns})
    so_far = fit.uncertainty({name: np.asarray(now[name], float) for name in fit.columns})
    ratio = mean_by(log_y - so_far.log_median, setting, count)
    middle = mean_by(said.log_median, end_setting, count) + ratio
    low, high = said.interval(level)
    half = mean_by((np.log(high) - np.log(low)) / 2, end_setting, count)
    return Foretold(middle=middle, low=middle - half, high=middle + half)


def by_rank(log_y: np.ndarray, setting: np.ndarray, *, level: float = LEVEL) -> Foretold | None:
    """What is measured now, with an interval from the spread of seeds; None where no setting has two of them.

    All but the better half are given up by this at most: what is behind by little may still overtake.
    """
    from scipy import stats  # here, because importing it costs more than a plan takes

    count = int(setting.max()) + 1
    middle = mean_by(log_y, setting, count)
    sizes = np.bincount(setting, minlength=count)
    freedom = int(log_y.size - count)
    if freedom < 1:
        return None
    noise = np.sqrt(np.sum((log_y - middle[setting]) ** 2) / freedom)
    half = stats.t.ppf(0.5 + level / 2, freedom) * noise / np.sqrt(sizes)
    # An interval that reaches down to the best: not hopeless.
    better = middle <= np.median(middle)
    return Foretold(middle=middle, low=np.where(better, middle.min(), middle - half), high=middle + half)


def hopeless(settings: np.ndarray, foretold: Foretold, gone: np.ndarray | None = None) -> list[int]:
    """The hopeless of settings, worst first; settings: the values of each hyperparameter, shape (settings, names).
    gone: those that have left already, a mask."""
    kept = np.ones(len(settings), bool) if gone is None else ~np.asarray(gone, bool)
    if not kept.any() or not np.isfinite([foretold.middle, foretold.low, foretold.high]).all():
        return []
    best = int(np.argmin(np.where(kept, foretold.middle, np.inf)))
    near = _around(settings, best)
    chosen = []
    for one in np.argsort(-foretold.low, kind="stable"):
        if foretold.low[one] <= foretold.high[best]:
            break
        if not kept[one]:
            continue
        kept[one] = False
        if near[one] or not _enough(settings, kept):
            kept[one] = True
            continue
        chosen.append(int(one))
    return chosen


def _around(settings: np.ndarray, best: int) -> np.ndarray:
    """Which settings are the best or, along one hyperparameter alone, among the `LEAST_VALUES` nearest to it."""
    near = np.zeros(len(settings), bool)
    near[best] = True
    for name in range(settings.shape[1]):
        others = np.delete(settings, name, axis=1)
        line = np.flatnonzero((others == others[best]).all(1))
        values, place = np.unique(settings[line, name], return_inverse=True)
        middle = int(place[list(line).index(best)])
        first = min(max(middle - LEAST_VALUES // 2, 0), max(len(values) - LEAST_VALUES, 0))
        near[line[(place >= first) & (place < first + LEAST_VALUES)]] = True
    return near


def _enough(settings: np.ndarray, kept: np.ndarray) -> bool:
    """Whether every hyperparameter still has enough values, or all that there were."""
    return all(len(np.unique(values[kept])) >= min(LEAST_VALUES, len(np.unique(values))) for values in settings.T)


def mean_by(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Means of groups that are numbered from 0 on; shape (count,)."""
    return np.bincount(group, weights=values, minlength=count) / np.bincount(group, minlength=count)


__all__ = ["LEAST_VALUES", "LEVEL", "Foretold", "by_rank", "foretell", "hopeless"]
