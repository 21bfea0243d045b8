"""Batched Levenberg-Marquardt: all starts of one form advance together.

Minimises, for every start, the weighted mean of rho(ln y predicted - ln y measured) plus ridge * |raw|^2, where
rho(r) = r^2 (MSLE) or the Huber function. The residual is the logarithm of a ratio, so the Gauss-Newton matrix is a
good Hessian and some twenty steps do what takes a first-order method thousands.

Damping is mu * (diag H + .001 max diag H): the second part keeps directions that the data do not see from taking huge
steps. Steps are clipped to 1.5 in raw units, where a standard normal prior makes 1.5 a long way. [ours]
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import FittingError
from .law import Form

_LONGEST_STEP = 1.5
_SHRINK, _GROW = 0.25, 3.0
# A start stops when two accepted steps in a row gain less than this fraction of the objective.
_GAIN = 1e-5
# A minimum: no column of the Jacobian has a larger cosine with the residuals than this (both with the prior's rows).
# At 1e-6 no single coefficient could lower the objective by more than a part in 1e12.
_STATIONARY = 1e-6
_MU_START, _MU_GIVE_UP = 1e-2, 1e10


class Loss(enum.Enum):
    """What a residual in ln y costs."""

    MSLE = "msle"
    HUBER = "huber"


def loss_named(loss: Loss | str) -> Loss:
    """The loss of that name. Raises FittingError."""
    try:
        return Loss(loss)
    except ValueError:
        raise FittingError(f"unknown loss {loss!r}; write one of: {', '.join(kind.value for kind in Loss)}") from None


# The width of the Huber loss in ln y that the literature on compute-optimal training uses (1e-3: nearly an absolute
# error).
HUBER_WIDTH = 1e-3


class Ending(enum.Enum):
    """How one start ended: at a minimum by the test of its gradient; because its steps gained little, which on the way
    to a minimum is enough; when its steps were spent; or with numbers that are not finite.
    """

    CONVERGED = "converged"
    STALLED = "stalled"
    BUDGET_SPENT = "budget spent"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Solution:
    """One row a start: raw parameters (starts, parameters), objective, mean loss without the ridge, its ending."""

    raw: np.ndarray
    objective: np.ndarray
    loss: np.ndarray
    endings: tuple[Ending, ...]
    steps: int


def solve(
    form: Form,
    z: Mapping[str, np.ndarray],
    target: np.ndarray,
    start: np.ndarray,
    *,
    ridge: np.ndarray | float,
    weights: np.ndarray | None = None,
    fixed: np.ndarray | None = None,
    loss: Loss = Loss.MSLE,
    budget: int = 60,
    gain: float = _GAIN,
) -> Solution:
    """Fit one form from many starts.

    z: centred logarithms, each (rows,). target: ln y, (rows,). start: (starts, parameters). ridge: one number, or one
    a start. weights: (starts, rows) or (rows,), any positive scale. fixed: (starts, parameters), what stays as it
    starts; without a prior. budget: the most steps. gain: see `_GAIN`; 0 goes
    on to the minimum. Never raises for numbers: see `endings`.
    """
    raw = np.array(start, float)
    starts, size = raw.shape
    ridge = np.broadcast_to(np.asarray(ridge, float), (starts,))
    weights = np.ones((1, target.size)) if weights is None else np.atleast_2d(weights)
    weights = np.broadcast_to(weights / weights.sum(1, keepdims=True), (starts, target.size))

    free = np.ones((starts, size)) if fixed is None else 1.0 - fixed

    def assess(points: np.ndarray, who: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Objective, loss, half gradient and Gauss-Newton matrix at `points`, for the starts `who`."""
        with np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore"):
            log_y, jacobian = form.evaluate(points, z)
            residual = log_y - target
            if loss is Loss.MSLE:
                cost, slope_weight = (weights[who] * residual**2).sum(1), weights[who]
            else:
                size_of = np.abs(residual)
                inside = size_of <= HUBER_WIDTH
                rho = np.where(inside, residual**2, HUBER_WIDTH * (2 * size_of - HUBER_WIDTH))
                cost = (weights[who] * rho).sum(1)
                slope_weight = weights[who] * np.where(inside, 1.0, HUBER_WIDTH / np.maximum(size_of, HUBER_WIDTH))
            weighted = jacobian * slope_weight[:, None, :]
            gradient = np.matmul(weighted, residual[:, :, None])[:, :, 0] + ridge[who, None] * points
            hessian = np.matmul(weighted, jacobian.transpose(0, 2, 1))
            hessian[:, range(size), range(size)] += ridge[who, None]
            total = cost + ridge[who] * (free[who] * points**2).sum(1)
            if fixed is not None:
                gradient *= free[who]
                hessian *= free[who][:, :, None] * free[who][:, None, :]
                # A fixed parameter has a curvature of its own, as large as the largest: it then changes no step.
                largest = np.einsum("bkk->bk", hessian).max(1)[:, None]
                hessian[:, range(size), range(size)] += fixed[who] * np.where(largest > 0, largest, 1.0)
        sound = np.isfinite(total) & np.isfinite(gradient).all(1) & np.isfinite(hessian).all((1, 2))
        return np.where(sound, total, np.inf), cost, gradient, hessian

    everyone = np.arange(starts)
    objective, cost, gradient, hessian = assess(raw, everyone)
    mu = np.full(starts, _MU_START)
    small_gains = np.zeros(starts, int)
    endings = [Ending.BUDGET_SPENT if np.isfinite(value) else Ending.FAILED for value in objective]
    active = np.flatnonzero(np.isfinite(objective))
    steps = 0
    while active.size and steps < budget:
        steps += 1
        diagonal = hessian[active][:, range(size), range(size)]
        damping = mu[active, None] * (diagonal + 1e-3 * diagonal.max(1, keepdims=True)) + 1e-300
        matrix = hessian[active].copy()
        matrix[:, range(size), range(size)] += damping
        step = -_solve_each(matrix, gradient[active])
        trial = raw[active] + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP)
        new_objective, new_cost, new_gradient, new_hessian = assess(trial, active)
        better = new_objective < objective[active]
        relative = (objective[active] - new_objective) / np.maximum(objective[active], 1e-300)
        winners = active[better]
        raw[winners], objective[winners], cost[winners] = trial[better], new_objective[better], new_cost[better]
        gradient[winners], hessian[winners] = new_gradient[better], new_hessian[better]
        mu[active] *= np.where(better, _SHRINK, _GROW)
        mu[winners] = np.maximum(mu[winners], 1e-12)
        small_gains[active] = np.where(
            better, np.where(relative < gain, small_gains[active] + 1, 0), small_gains[active]
        )
        # No step of any length helps: a minimum to machine precision.
        exact = (mu[active] > _MU_GIVE_UP) | (objective[active] < 1e-26)
        minimum = exact | (_slope(gradient[active], hessian[active], objective[active]) < _STATIONARY)
        stalled = small_gains[active] >= 2
        for index, converged in zip(active[minimum | stalled], minimum[minimum | stalled], strict=True):
            endings[index] = Ending.CONVERGED if converged else Ending.STALLED
        active = active[~(minimum | stalled)]
    return Solution(raw=raw, objective=objective, loss=cost, endings=tuple(endings), steps=steps)


def _slope(gradient: np.ndarray, hessian: np.ndarray, objective: np.ndarray) -> np.ndarray:
    """For each start, the largest cosine between a column of the Jacobian and the residuals, the prior's rows in both:
    the norm of the gradient in units that do not depend on those of y, the parameters or the weights.
    """
    diagonal = np.einsum("bkk->bk", hessian)
    scale = np.sqrt(np.maximum(diagonal * objective[:, None], 1e-300))
    return (np.abs(gradient) / scale).max(1)


def _solve_each(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Solve one linear system a start; a singular one gets the least-squares step."""
    try:
        return np.linalg.solve(matrices, vectors[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        return np.stack([np.linalg.lstsq(m, v, rcond=None)[0] for m, v in zip(matrices, vectors, strict=True)])
