"""The search for the least of a law under a budget, for many budgets at once; see `allocation`. Arrays in, values out.

One input, on which the cost depends and rises, spends what the others leave, so that the search is free in the
logarithms of the rest: a grid over the box of the search, a pattern search from its best place, and Newton's method on
the gradient, whose root is found far more exactly than the place of a flat minimum could be. [ours]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .candidates import Member
from .errors import FittingError
from .expression import Expression, Quantity, parse_expression, parse_quantity
from .fits import Fit
from .forecast import Belief

# Beyond the fitted range the search goes so far: inputs are asked for at scales that nobody has trained, while of a
# hyperparameter nothing is known far from where it was varied.
_REACH_INPUT, _REACH_HYPERPARAMETER = 1e6, 10.0
# The span, in ln x, that the spending input is sought in: 1e-40 to 1e40.
_SPAN = 92.0
# Places of the grid that the search starts from.
_GRID = 1500
# Beyond so many dimensions a full stencil of 3^d places would outgrow the grid.
_MOST_STENCIL = 4
# Step in ln x of the differences: their error of fourth order and that of rounding are both about 1e-12 there.
_STEP = 1e-2
# Radius in ln x at which a search among draws ends: far below the width of any interval of theirs.
_DRAWN = 3e-3

LogY = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""From ln of the columns, each of shape (problems, places), to ln y."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """Several problems of one kind at once: a budget each, and what is fixed in each.

    free: columns that are sought; the last of them spends what the others leave of the budget.
    """

    frame: object
    law: LogY
    cost: Quantity
    within: Expression | None
    log_budget: np.ndarray
    fixed: Mapping[str, np.ndarray]
    free: tuple[str, ...]
    box: Mapping[str, tuple[float, float]]

    @classmethod
    def of(
        cls, fit: Fit, cost: str | Quantity, log_budget: np.ndarray, fixed: Mapping[str, float], within: str
    ) -> Search:
        if fit.belief is None:
            raise FittingError(f"{fit.law} could not be fitted to this table (status failed), so it allocates nothing")
        cost = parse_quantity(cost) if isinstance(cost, str) else cost
        frame = fit.belief.members[0].form.frame
        for name, value in fixed.items():
            if not 0 < value < math.inf:
                raise FittingError(f"{name} is fixed at {value}; give a positive finite number")
            if name not in frame.centre and name not in cost.names:
                raise FittingError(f"{name} is fixed, but neither the law nor the cost knows it")
        if unknown := [name for name in cost.names if name not in frame.centre and name not in fixed]:
            known = ", ".join(frame.centre)
            raise FittingError(f"the cost names {unknown[0]}: fix it at a number, or name one of {known}")
        spending = [name for name in frame.inputs if name in cost.names and name not in fixed]
        if not spending:
            raise FittingError(f"the cost {cost.text!r} names no free input of {', '.join(frame.inputs)}")
        idle = [name for name in frame.inputs if name not in cost.names and name not in fixed]
        if idle and not within:
            raise FittingError(f"nothing limits {idle[0]}: name it in the cost, fix it, or bound it by `within`")
        box = {}
        for name, centre in frame.centre.items():
            reach = math.log(_REACH_INPUT if name in frame.inputs else _REACH_HYPERPARAMETER)
            box[name] = (centre - frame.half[name] - reach, centre + frame.half[name] + reach)
        rest = [name for name in frame.centre if name not in fixed and name != spending[-1]]
        return cls(
            frame=frame,
            law=lambda columns: np.log(fit.predict({name: np.exp(columns[name]) for name in frame.centre})),
            cost=cost,
            within=parse_expression(within) if within else None,
            log_budget=log_budget,
            fixed={name: np.full(log_budget.size, math.log(value)) for name, value in fixed.items()},
            free=(*rest, spending[-1]),
            box=box,
        )

    def at(self, log_budget: np.ndarray) -> Search:
        """The same at other budgets."""
        fixed = {name: np.full(log_budget.size, values[0]) for name, values in self.fixed.items()}
        return self._with(log_budget=log_budget, fixed=fixed)

    def fixing(self, more: Mapping[str, np.ndarray], log_budget: np.ndarray) -> Search | None:
        """The same with further columns fixed, ln x of each problem; None where nothing could spend the budget then."""
        free = [name for name in self.free if name not in more]
        spending = [name for name in free if name in self.frame.inputs and name in self.cost.names]
        if not spending:
            return None
        fixed = {name: np.full(log_budget.size, values[0]) for name, values in self.fixed.items()} | dict(more)
        order = (*(name for name in free if name != spending[-1]), spending[-1])
        return self._with(log_budget=log_budget, fixed=fixed, free=order)

    def _with(self, **changes: object) -> Search:
        return type(self)(**{**vars(self), **changes})

    @property
    def dimensions(self) -> int:
        return len(self.free) - 1

    def columns(self, place: np.ndarray) -> dict[str, np.ndarray]:
        """ln of every column at places (problems, places, dimensions) of the free ones but the last; nan for the one
        that spends where the budget does not reach."""
        shape = place.shape[:2]
        found = {name: place[..., i] for i, name in enumerate(self.free[:-1])}
        found |= {name: np.broadcast_to(values[:, None], shape) for name, values in self.fixed.items()}
        values = {name: np.exp(x) for name, x in found.items()}
        spends = self.free[-1]

        def surplus(log_x: np.ndarray) -> np.ndarray:
            with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
                return np.log(self.cost.evaluate({**values, spends: np.exp(log_x)})) - self.log_budget[:, None]

        found[spends] = _root(surplus, shape)
        return found

    def objective(self, place: np.ndarray, law: LogY) -> np.ndarray:
        """ln y at places, infinite where the budget does not reach or `within` does not hold."""
        columns = self.columns(place)
        allowed = np.isfinite(columns[self.free[-1]])
        columns = {
            name: np.where(allowed, values, self.frame.centre.get(name, 0.0)) for name, values in columns.items()
        }
        if self.within is not None:
            allowed = allowed & self.within.evaluate({name: np.exp(values) for name, values in columns.items()})
        return np.where(allowed, law(columns), np.inf)

    def solve(self, law: LogY) -> tuple[np.ndarray, np.ndarray]:
        """The best place of every problem, (problems, dimensions), and ln y there."""
        place, spacing = self._grid(law)
        place, log_y = self.descend(place, spacing, law, until=1e-7)
        return self._polish(place, log_y, law)

    def _grid(self, law: LogY) -> tuple[np.ndarray, np.ndarray]:
        ends = np.array([self.box[name] for name in self.free[:-1]]).reshape(-1, 2)
        if self.dimensions == 0:
            return np.zeros((self.log_budget.size, 0)), np.zeros(0)
        a_side = max(3, int(_GRID ** (1 / self.dimensions)))
        axes = [np.linspace(low, high, a_side) for low, high in ends]
        places = np.array(list(itertools.product(*axes)))
        # One problem after another: the grid is large, and there may be hundreds.
        best = [places[np.argmin(self._only(i).objective(places[None], law)[0])] for i in range(self.log_budget.size)]
        return np.array(best), (ends[:, 1] - ends[:, 0]) / (a_side - 1)

    def _only(self, i: int) -> Search:
        fixed = {name: values[i : i + 1] for name, values in self.fixed.items()}
        return self._with(log_budget=self.log_budget[i : i + 1], fixed=fixed)

    def descend(
        self, place: np.ndarray, spacing: np.ndarray, law: LogY, *, until: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """A pattern search from a place of every problem: the best of a stencil, which halves where that is its
        middle."""
        ends = np.array([self.box[name] for name in self.free[:-1]]).reshape(-1, 2)
        stencil = _stencil(self.dimensions)
        radius = np.ones(len(place))
        log_y = self.objective(place[:, None, :], law)[:, 0]
        if self.dimensions == 0:
            return place, log_y
        for _ in range(200):
            around = place[:, None, :] + radius[:, None, None] * spacing * stencil
            around = np.clip(around, ends[:, 0], ends[:, 1])
            values = self.objective(around, law)
            best = values.argmin(1)
            found = values[np.arange(len(place)), best]
            better = found < log_y
            place = np.where(better[:, None], around[np.arange(len(place)), best], place)
            log_y = np.where(better, found, log_y)
            radius = np.where(better, radius, radius / 2)
            if (radius * spacing.max() < until).all():
                break
        return place, log_y

    def _polish(self, place: np.ndarray, log_y: np.ndarray, law: LogY) -> tuple[np.ndarray, np.ndarray]:
        """Newton's method on the gradient, where the optimum lies free of edges."""
        if self.dimensions == 0:
            return place, log_y
        for _ in range(4):
            gradient, curvature = self._derivatives(place, law)
            sound = np.isfinite(gradient).all(1) & np.isfinite(curvature).all((1, 2))
            sound &= np.array([not self.edges(one) for one in place])
            step = np.zeros_like(place)
            for i in np.flatnonzero(sound):
                if np.linalg.eigvalsh(curvature[i])[0] > 0:
                    step[i] = -np.linalg.solve(curvature[i], gradient[i])
            # A minimum that the pattern search has found is nearer than the differences reach; else it is none.
            step[(np.abs(step) > _STEP).any(1)] = 0.0
            place = place + step
        return place, self.objective(place[:, None, :], law)[:, 0]

    def _derivatives(self, place: np.ndarray, law: LogY) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (problems, d), of fourth order, and curvature (problems, d, d), of ln y."""
        d, units = self.dimensions, np.eye(self.dimensions) * _STEP
        offsets = [k * unit for unit in units for k in (-2, -1, 1, 2)]
        pairs = [(i, j) for i in range(d) for j in range(i)]
        offsets += [a * units[i] + b * units[j] for i, j in pairs for a in (-1, 1) for b in (-1, 1)]
        values = self.objective(place[:, None, :] + np.array([np.zeros(d), *offsets]), law)
        middle, along = values[:, 0], values[:, 1 : 1 + 4 * d].reshape(-1, d, 4)
        with np.errstate(invalid="ignore"):
            gradient = (along[..., 0] - 8 * along[..., 1] + 8 * along[..., 2] - along[..., 3]) / (12 * _STEP)
            curvature = np.zeros((len(place), d, d))
            second = (along[..., 1] + along[..., 2] - 2 * middle[:, None]) / _STEP**2
            curvature[:, np.arange(d), np.arange(d)] = second
            for (i, j), four in zip(
                pairs, values[:, 1 + 4 * d :].reshape(len(place), -1, 4).swapaxes(0, 1), strict=True
            ):
                mixed = (four[:, 0] - four[:, 1] - four[:, 2] + four[:, 3]) / (4 * _STEP**2)
                curvature[:, i, j] = curvature[:, j, i] = mixed
        return gradient, curvature

    def draw(self, fit: Fit, place: np.ndarray, count: int, seed: int) -> dict[str, np.ndarray]:
        """ln of the optimum in every free column, for draws from what the fit believes; of shape (count, problems)."""
        belief, random = fit.belief, np.random.default_rng(seed)
        problems = self.log_budget.size
        # First those whose covariance is known, then the others.
        known = belief.curved
        pool = [*known, *(m for m in belief.members if not any(m is one for one in known))]
        who = np.arange(count) % len(pool)
        if belief.weights:
            who = np.searchsorted(np.cumsum(belief.shares), (np.arange(count) + 0.5) / count)
        found = {name: np.empty((count, problems)) for name in self.free}
        by_form: dict[str, list[int]] = {}
        for number, member in enumerate(who):
            by_form.setdefault(pool[member].form.structure, []).append(number)
        for numbers in by_form.values():
            form = pool[who[numbers[0]]].form
            raw = np.array([_drawn(belief, pool[who[number]], int(who[number]), random) for number in numbers])
            wide = self._with(
                log_budget=np.tile(self.log_budget, len(numbers)),
                fixed={name: np.tile(values, len(numbers)) for name, values in self.fixed.items()},
            )
            law = _drawn_law(form, np.repeat(raw, problems, axis=0))
            start = np.tile(place, (len(numbers), 1))
            at, _ = wide.descend(start, np.ones(self.dimensions), law, until=_DRAWN)
            columns = wide.columns(at[:, None, :])
            for name in self.free:
                found[name][numbers] = columns[name][:, 0].reshape(len(numbers), problems)
        return found

    def off_by(self, name: str, best: np.ndarray, log_y: np.ndarray) -> np.ndarray | None:
        """By what part y rises where a column is half and twice its optimum, the rest chosen anew; (2, problems)."""
        rises = []
        for factor in (0.5, 2.0):
            search = self.fixing({name: np.log(best * factor)}, self.log_budget)
            if search is None:
                return None
            rises.append(np.expm1(search.solve(search.law)[1] - log_y))
        return np.array(rises)

    def worth(self, place: np.ndarray, log_y: np.ndarray) -> np.ndarray:
        """d ln y / d ln budget at the optima. By the envelope theorem they may stay where they are but for what spends
        the budget."""
        less, more = (
            self.at(self.log_budget + step).objective(place[:, None, :], self.law)[:, 0] for step in (-_STEP, _STEP)
        )
        return np.where(np.isfinite(less) & np.isfinite(more), (more - less) / (2 * _STEP), (log_y - less) / _STEP)

    def edges(self, place: np.ndarray) -> tuple[str, ...]:
        """Columns whose optimum is an end of the box."""
        at = zip(self.free[:-1], place, strict=True)
        return tuple(name for name, x in at if min(abs(x - end) for end in self.box[name]) < 1e-6)

    def beyond(self, name: str, value: float) -> float:
        far = abs(math.log(value) - self.frame.centre[name]) - self.frame.half[name]
        return math.exp(max(far, 0.0)) if far > 1e-12 else 1.0


def _root(surplus: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Where a rising function crosses 0 between -_SPAN and _SPAN, nan where it does not: by Newton's method, or halving
    where a step would leave what is known. ln of a sum of powers is convex in ln x: few steps from the right do."""
    low, high = np.full(shape, -_SPAN), np.full(shape, _SPAN)
    reached = (surplus(low) < 0) & (surplus(high) > 0)
    x = high.copy()
    for _ in range(80):
        value = surplus(x)
        low, high = np.where(value < 0, x, low), np.where(value < 0, high, x)
        slope = (surplus(x + 1e-4) - surplus(x - 1e-4)) / 2e-4
        with np.errstate(divide="ignore", invalid="ignore"):
            step = x - value / slope
        halved = (low + high) / 2
        after = np.where((step >= low) & (step <= high), step, halved)
        if not (np.abs(after - x)[reached] > 1e-13 * _SPAN).any():
            return np.where(reached, after, np.nan)
        x = after
    return np.where(reached, x, np.nan)


def _drawn_law(form: object, raw: np.ndarray) -> LogY:
    """The law of each problem with raw parameters of its own, (problems, parameters)."""
    p = {name: raw[:, k : k + 1] for k, name in enumerate(form.parameters)}

    def law(columns: Mapping[str, np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            out = form.log_y(p, {name: columns[name] - centre for name, centre in form.frame.centre.items()})
        shape = next(iter(columns.values())).shape
        return np.where(np.isfinite(out), np.broadcast_to(out, shape), np.inf)

    return law


def _drawn(belief: Belief, member: Member, number: int, random: np.random.Generator) -> np.ndarray:
    """Raw parameters of a member, drawn where its covariance is known."""
    if number >= len(belief.covariances):
        return member.raw
    values, vectors = np.linalg.eigh(belief.covariances[number])
    spread = belief.stretch * np.sqrt(np.maximum(values, 0.0))
    return member.raw + vectors @ (spread * random.standard_normal(member.raw.size))


def _stencil(dimensions: int) -> np.ndarray:
    """Steps of a pattern search, (steps, dimensions): to all neighbours on a grid, or along the axes alone."""
    if dimensions <= _MOST_STENCIL:
        return np.array([step for step in itertools.product((-1.0, 0.0, 1.0), repeat=dimensions) if any(step)])
    return np.concatenate([np.eye(dimensions), -np.eye(dimensions)])
