"""Which measurements to make next: those that narrow a forecast most for what they cost.

What a law does not know is a Gaussian field over places: the covariance of its errors at two places has the two parts
of `forecast`, what the fit leaves open within its equation and how the members that predict together disagree,

    k(a, b) = mean over members of j(a) C j(b)' + design effect * mean over members of d(a) d(b)

with j the Jacobian and C the covariance of a member's coefficients, d its difference from the prediction. A measurement
at b takes k(a, b)^2 / (k(b, b) + noise^2) off the variance at a, whatever it will say: so the next measurements, and
those that are under way, are counted in before any of them is known. Candidates are cells, runs that measure several
rows whose noise is alike. They are taken greedily, by the variance at the targets that a unit of cost takes away; or
within a budget outright, where that ends narrower (Leskovec et al., 2007). [ours, after Cohn, Ghahramani and Jordan
(1996), with the variance between structures beside that within]

A law suits approximately, and where it does not, a measurement far from the target says less about it than the law
believes: what a candidate tells fades with its distance from the nearest target, exp(-fade d^2) of its weight, d in
halves of the range that candidates and targets span in ln of each column. Without this, designs bought many cheap rows
and were beaten by chance on public tables (benchmarks/design.py): with `cf` on farseer at 10% of the cost, an error of
.065 against .011 with it, .033 at random and .0096 from all data. How far the interval narrows is said without it.

Measured labels of candidates are no argument here, so nothing can look at them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

import numpy as np

from .errors import FittingError
from .fits import Fit
from .forecast import Belief

# Rows of one cell err alike and lie close: more than these, evenly chosen with the last among them, add only time.
_ROWS_A_CELL = 6
# See above; 1 and 3 were tried on three tables.
_FADE = 3.0
# A relative ridge under the covariance of a cell's rows, which without noise is singular.
_JITTER = 1e-9


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One cell of a design."""

    candidate: int
    """Its number among the candidates."""
    cost: float
    half: float
    """Half the width of the forecast's interval at the targets in ln y, once it and those before it are measured."""
    left: float
    """The variance at the targets that is then left, as it counts for the choice."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """Cells in the order in which they were chosen."""

    before: float
    """Half the width of the forecast's interval at the targets in ln y, with what is under way."""
    picks: tuple[Pick, ...]

    @property
    def after(self) -> float:
        return self.picks[-1].half if self.picks else self.before

    @property
    def cost(self) -> float:
        return sum(pick.cost for pick in self.picks)


class Field:
    """What a fit does not know, as a field that measurements make smaller.

    Every place has a vector of features; the covariance of two places is the product of their vectors through `_inner`,
    which begins as the identity.
    """

    def __init__(self, fit: Fit):
        if fit.belief is None:
            raise FittingError(f"{fit.law} could not be fitted (status failed), so it cannot say what to measure")
        self._belief: Belief = fit.belief
        self._coordinates = self._belief.members[0].form.frame.coordinates
        effect = self._belief.design_effect
        self._alike = (effect - 1) / (effect + 1)
        """Correlation of the noise of two rows of a cell: what the design effect was made of."""
        self._roots = [_root(covariance) for covariance in self._belief.covariances]
        size = sum(len(root) for root in self._roots) + len(self._belief.members)
        self._inner = np.eye(size)

    def copy(self) -> Field:
        """One that can be measured for itself: measuring replaces the array, and changes none."""
        return copy(self)

    def features(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Of places given by their columns: shape (places, features)."""
        belief = self._belief
        z = {name: np.atleast_1d(values) for name, values in self._coordinates(columns).items()}
        parts = []
        with np.errstate(all="ignore"):
            for member, root, share in zip(belief.curved, self._roots, belief.curved_shares, strict=True):
                jacobian = member.form.evaluate(member.raw[None, :], z)[1][0]
                parts.append((root @ jacobian).T * math.sqrt(share))
            logs = np.stack([member.form.predict_log(member.raw[None, :], z)[0] for member in belief.members])
            apart = (logs - belief.log_y(z)).T * np.sqrt(belief.design_effect * belief.shares)
        return np.nan_to_num(belief.stretch * math.sqrt(belief.kept) * np.concatenate([*parts, apart], axis=1))

    def variance(self, features: np.ndarray) -> np.ndarray:
        """Of what is not known of ln y; shape (places,)."""
        return np.maximum(np.einsum("pf,fg,pg->p", features, self._inner, features), 0.0)

    def half(self, features: np.ndarray, level: float) -> float:
        """Half the width of the interval of a new measurement in ln y, of the mean variance over places."""
        from scipy import stats  # here, because importing it costs more than a plan takes

        unknown = self.variance(features).mean()
        reach = stats.t.ppf(0.5 + level / 2, self._belief.freedom(unknown))
        return float(reach * np.sqrt(unknown + self._belief.noise**2))

    def gains(self, cells: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """The mean variance at targets that each cell would take away; shape (cells,).

        cells: features of their rows, shape (cells, rows, features); a row of zeros is none.
        """
        count, rows, size = cells.shape
        carried = (cells.reshape(-1, size) @ self._inner).reshape(cells.shape)
        within = np.linalg.solve(self._measured(cells, carried), carried @ targets.T)
        taken = (carried @ targets.T * within).sum(1)
        return np.maximum(taken, 0.0).mean(1) if count else np.zeros(0)

    def information(self, cells: np.ndarray) -> np.ndarray:
        """ln of the factor by which each cell would shrink the volume of what is not known; shape (cells,)."""
        carried = (cells.reshape(-1, cells.shape[2]) @ self._inner).reshape(cells.shape)
        noise = self._measured(np.zeros_like(cells), np.zeros_like(cells))
        return np.linalg.slogdet(self._measured(cells, carried))[1] - np.linalg.slogdet(noise)[1]

    def measure(self, cell: np.ndarray) -> None:
        """Count a cell in; features of its rows, shape (rows, features)."""
        carried = cell @ self._inner
        self._inner = self._inner - carried.T @ np.linalg.solve(self._measured(cell[None], carried[None])[0], carried)

    def _measured(self, cells: np.ndarray, carried: np.ndarray) -> np.ndarray:
        """Covariance of what the rows of each cell will say; shape (cells, rows, rows)."""
        rows = cells.shape[1]
        covariance = carried @ cells.transpose(0, 2, 1)
        noise = self._belief.noise**2 * ((1 - self._alike) * np.eye(rows) + self._alike)
        small = _JITTER * (1e-12 + np.abs(covariance).max(axis=(1, 2), keepdims=True))
        return covariance + noise + small * np.eye(rows)


def design(
    fit: Fit,
    candidates: Mapping[str, np.ndarray],
    *,
    cell: np.ndarray,
    cost: np.ndarray,
    target: Mapping[str, np.ndarray],
    budget: float = math.inf,
    most: int | None = None,
    pending: Mapping[str, np.ndarray] | None = None,
    pending_cell: np.ndarray | None = None,
    level: float = 0.9,
    fade: float = _FADE,
) -> Design:
    """The cells to measure next, greedily by variance at the targets that a unit of cost takes away.

    candidates: the columns that the fit reads of every row that a candidate cell would measure, shape (rows,). cell:
    for each row the number of its cell, 0 to cells - 1. cost: of each cell, positive, in any unit; shape (cells,).
    target: columns of the places that one wishes to know. budget: the most that the cells may cost together. most: the
    most cells. pending, pending_cell: likewise, of cells that are under way and will be measured anyway. fade: see the
    module's docstring; 0 takes the law at its word.

    Raises FittingError for candidates, costs or targets that make no sense.
    """
    cost, cell = np.asarray(cost, float), np.asarray(cell)
    if not (np.isfinite(cost).all() and (cost > 0).all()):
        raise FittingError("the cost of a candidate must be a positive finite number")
    if cell.size and not (cell.min() >= 0 and cell.max() < cost.size):
        raise FittingError(f"rows name cells {cell.min()} to {cell.max()}, and there are costs of {cost.size}")
    counted, shown = Field(fit), Field(fit)
    wanted = shown.features(_read(fit, target))
    places, waiting = _read(fit, candidates), _read(fit, pending or {name: np.zeros(0) for name in fit.columns})
    rows = {name: np.concatenate([places[name], waiting[name]]) for name in fit.columns}
    plain = shown.features(rows) if len(next(iter(rows.values()))) else np.zeros((0, wanted.shape[1]))
    faded = plain * np.exp(-0.5 * fade * _distance(rows, _read(fit, target)))[:, None]
    if pending_cell is not None and len(pending_cell):
        numbers = np.unique(pending_cell, return_inverse=True)[1]
        for field, features in ((shown, plain), (counted, faded)):
            for one in by_cell(features[cell.size :], numbers, int(numbers.max()) + 1):
                field.measure(one)
    told, taught = (by_cell(features[: cell.size], cell, cost.size) for features in (plain, faded))
    most = cost.size if most is None else most

    def chosen(per: np.ndarray) -> list[Pick]:
        return _greedy(shown, counted, told, taught, cost, per, wanted, budget, most, level)

    picks = chosen(cost)
    if math.isfinite(budget) and picks:
        # By gain per cost alone, cheap cells that tell little may leave no room for the one that tells most.
        outright = chosen(np.ones_like(cost))
        if outright[-1].left < picks[-1].left:
            picks = outright
    return Design(before=shown.half(wanted, level), picks=tuple(picks))


def _greedy(
    shown: Field,
    counted: Field,
    told: np.ndarray,
    taught: np.ndarray,
    cost: np.ndarray,
    per: np.ndarray,
    wanted: np.ndarray,
    budget: float,
    most: int,
    level: float,
) -> list[Pick]:
    """Cells one after the other, each the one that takes away most variance divided by `per`, as far as it counts."""
    shown, counted, picks = shown.copy(), counted.copy(), []
    free, left = np.ones(cost.size, bool), budget
    while len(picks) < most:
        affordable = np.flatnonzero(free & (cost <= left * (1 + 1e-12)))
        if not affordable.size:
            break
        gains = counted.gains(taught[affordable], wanted) / per[affordable]
        if gains.max() <= 0:
            break
        best = int(affordable[int(np.argmax(gains))])
        counted.measure(taught[best])
        shown.measure(told[best])
        free[best], left = False, left - cost[best]
        picks.append(
            Pick(
                candidate=best,
                cost=float(cost[best]),
                half=shown.half(wanted, level),
                left=float(counted.variance(wanted).mean()),
            )
        )
    return picks


def _distance(places: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of each place from the nearest target, squared; shape (places,)."""
    squares = np.zeros((len(next(iter(places.values()))), len(next(iter(targets.values())))))
    for name, values in places.items():
        z, wanted = np.log(values), np.log(targets[name])
        half = np.ptp(np.concatenate([z, wanted])) / 2
        if half > 0:
            squares += ((z[:, None] - wanted[None, :]) / half) ** 2
    return squares.min(1)


def by_cell(features: np.ndarray, cell: np.ndarray, cells: int) -> np.ndarray:
    """Features of rows as (cells, rows a cell, features): the rows of longer cells thinned, of shorter ones padded."""
    found = np.zeros((cells, _ROWS_A_CELL, features.shape[1]))
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(cells + 1))
    for number in range(cells):
        rows = order[starts[number] : starts[number + 1]]
        if rows.size > _ROWS_A_CELL:
            rows = rows[np.linspace(0, rows.size - 1, _ROWS_A_CELL).round().astype(int)]
        found[number, : rows.size] = features[rows]
    return found


def _read(fit: Fit, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if missing := [name for name in fit.columns if name not in columns]:
        raise FittingError(f"there is no column {missing[0]!r} among them; the fit reads {', '.join(fit.columns)}")
    return {name: np.atleast_1d(np.asarray(columns[name], float)) for name in fit.columns}


def _root(covariance: np.ndarray) -> np.ndarray:
    """R with R' R the covariance, which rounding may have left a little below zero in some direction."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
