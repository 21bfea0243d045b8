"""Allocation: the inputs and hyperparameters that minimise a law under a budget. Arrays in, values out.

    found = allocate(fit("cf", table), "6 * N * D", [1e21, 1e22])
    found.optima[0].at, found.exponents

At the optimum of inputs x under a cost C, dy/dx_i = mu dC/dx_i (Lagrange). Intervals come from the same search
(`budget_search`) over draws: members of the fit, each with coefficients drawn from its covariance. [ours]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .budget_search import Search
from .errors import FittingError
from .expression import Quantity
from .fits import Fit
from .threads import single_threaded


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """The best use of one budget.

    at: every column, those that were fixed too. y: what the law says there; low, high: the interval of a measurement
    there. intervals: of the optimum in each free column, over the draws. off_by_two: for each free column, by what part
    y rises where it is half and where it is twice its optimum, the others chosen anew within the budget; infinite where
    they cannot be, absent where nothing is left to choose. worth: d ln y / d ln budget, Lagrange's multiplier without
    units; above 0 where the law would rather spend less. edges: columns whose optimum is the end of the search, so that
    nothing but that end holds it. beyond: by what factor each column lies outside the fitted range, 1 inside.
    """

    budget: float
    at: Mapping[str, float]
    y: float
    low: float
    high: float
    intervals: Mapping[str, tuple[float, float]]
    off_by_two: Mapping[str, tuple[float, float]]
    worth: float
    edges: tuple[str, ...]
    beyond: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Allocations:
    """The best use of several budgets, and how it grows with them.

    exponents: for each free column, d ln x / d ln budget over the budgets, with its interval.
    """

    law: str
    cost: str
    level: float
    optima: tuple[Allocation, ...]
    exponents: Mapping[str, tuple[float, float, float]]
    _search: Search = field(repr=False, compare=False)

    def curve(self, budget: float, column: str, values: np.ndarray) -> np.ndarray:
        """y along a column at one budget, the other columns at their best: an isoFLOP curve; of the values' shape, nan
        where the budget does not reach."""
        values = np.asarray(values, float)
        search = self._search.fixing({column: np.log(values)}, np.full(values.size, math.log(budget)))
        if search is None:
            raise FittingError(f"with {column} given, nothing is left that could spend the budget")
        found = search.solve(search.law)[1]
        return np.exp(np.where(np.isfinite(found), found, np.nan))


@single_threaded
def allocate(
    fit: Fit,
    cost: str | Quantity,
    budgets: Sequence[float],
    *,
    fixed: Mapping[str, float] | None = None,
    within: str = "",
    level: float = 0.9,
    draws: int = 100,
    seed: int = 0,
) -> Allocations:
    """Minimise a fitted law under each budget, all of which is spent.

    cost: an expression of columns, and of names that `fixed` gives: `6 * N * D + 2 * N * T`. fixed: columns that are
    not free. within: a yes/no expression that the optimum must fulfil. level: of intervals. draws: behind them.
    Raises FittingError that says what is missing, and where nothing can be had for a budget.
    """
    if not 0 < level < 1:
        raise FittingError(f"the level of an interval is a probability between 0 and 1, not {level}")
    budget = np.asarray(budgets, float)
    if budget.ndim != 1 or budget.size == 0 or not (np.isfinite(budget) & (budget > 0)).all():
        raise FittingError("give one or more budgets, each a positive number")
    search = Search.of(fit, cost, np.log(budget), fixed or {}, within)
    around = np.concatenate([budget, budget[0] * np.array([10**-0.5, 10**0.5])]) if budget.size == 1 else budget
    search = search.at(np.log(around))
    place, log_y = search.solve(search.law)
    if not np.isfinite(log_y[: budget.size]).all():
        first = budget[int(np.argmin(np.isfinite(log_y[: budget.size])))]
        raise FittingError(f"a budget of {first:g} allows nothing: the cost is above it, or `within` leaves no room")
    columns = {name: np.exp(values) for name, values in search.columns(place[:, None, :]).items()}
    drawn = search.draw(fit, place, draws, seed)
    tails = (0.5 - level / 2, 0.5 + level / 2)
    twice = {name: search.off_by(name, columns[name][:, 0], log_y) for name in search.free}
    worth = search.worth(place, log_y)
    optima = []
    for i, one in enumerate(budget):
        ends = {name: tuple(np.exp(np.quantile(drawn[name][:, i], tails)).tolist()) for name in search.free}
        at = {name: float(values[i, 0]) for name, values in columns.items()} | dict(fixed or {})
        said = fit.forecast(at, level)
        optima.append(
            Allocation(
                budget=float(one),
                at=at,
                y=float(np.exp(log_y[i])),
                low=float(said.low),
                high=float(said.high),
                intervals=ends,
                off_by_two={name: tuple(rise[:, i].tolist()) for name, rise in twice.items() if rise is not None},
                worth=float(worth[i]),
                edges=search.edges(place[i]),
                beyond={name: search.beyond(name, at[name]) for name in search.frame.centre},
            )
        )
    slopes = {name: _slope(np.log(around), np.log(columns[name][:, 0])[None, :])[0] for name in search.free}
    drawn_slopes = {name: _slope(np.log(around), drawn[name]) for name in search.free}
    exponents = {name: (float(slopes[name]), *np.quantile(drawn_slopes[name], tails).tolist()) for name in search.free}
    return Allocations(
        law=fit.law,
        cost=search.cost.text,
        level=level,
        optima=tuple(optima),
        exponents=exponents,
        _search=search,
    )


def _slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least-squares slopes of rows of y, (rows, points), along x."""
    centred = x - x.mean()
    return (y @ centred) / (centred @ centred)
