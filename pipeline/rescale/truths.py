"""Truths: worlds that are known, from which the measurements of a rehearsal are drawn.

From an earlier fit, a member of it with coefficients within their covariance; or where nothing was measured, from the
prior of a law.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fitting import Fit, Frame, Table, find_law
from pipeline.errors import PipelineError
from pipeline.forecasts import Targets
from pipeline.rescale.grids import Grid
from pipeline.study import Study

NOISE = 0.02
"""Standard deviation of ln(loss) that is assumed where nothing was measured."""
LOSSES = (0.5, 4.0)
"""Losses at the best and the worst of the fitted points that are assumed likewise."""
PLAUSIBLE = 4.0
"""How far beyond the assumed losses, as a factor, a truth from the prior may lie before it is drawn again."""
MOST_DRAWS = 200
"""Of the prior, for one truth, before its law is said not to suit."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What makes the measurements: ln(loss) of the fitted points and of the targets, and its noise."""

    fitted: np.ndarray
    targets: np.ndarray
    noise: float


def truths(
    study: Study,
    grid: Grid,
    targets: Targets,
    *,
    law: str,
    known: Fit | None,
    noise: float | None,
    losses: tuple[float, float],
    rng: np.random.Generator,
) -> Iterator[Truth]:
    """Truths without end. known: an earlier fit to draw from; the law's prior where there is none.

    Raises PipelineError where the prior makes nothing like the losses that were assumed.
    """
    wanted = targets.numbers(grid.columns)
    frame = None if known else _frame(study, grid, losses)
    while True:
        for _ in range(MOST_DRAWS):
            log_y = _of_fit(known, rng) if known else _of_prior(law, frame, rng)
            with np.errstate(all="ignore"):
                fitted, there = log_y(grid.columns), log_y(wanted)
            if np.isfinite(fitted).all() and np.isfinite(there).all() and (known or _plausible(fitted, losses)):
                break
        else:
            raise PipelineError(
                f"in {MOST_DRAWS} draws the prior of {law} made no losses between {losses[0]:g} and {losses[1]:g}: "
                "say --losses LEAST,GREATEST as you expect them"
            )
        sd = noise if noise is not None else known.belief.noise if known else NOISE
        yield Truth(fitted=fitted, targets=there, noise=float(sd))


def _of_fit(known: Fit, rng: np.random.Generator) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """ln(loss) by one of the equations that a fit holds possible, with coefficients within their covariance.

    To first order, as the interval of a forecast is made: of coefficients that the measurements leave open, the
    covariance holds only near the fit, and an equation far from it would contradict what was measured.
    """
    number = int(rng.integers(len(known.belief.covariances)))
    member, covariance = known.belief.curved[number], known.belief.covariances[number]
    moved = rng.multivariate_normal(np.zeros(member.form.size), covariance, method="eigh")

    def log_y(columns: Mapping[str, np.ndarray]) -> np.ndarray:
        value, jacobian = member.form.evaluate(member.raw[None, :], member.form.frame.coordinates(columns))
        return value[0] + moved @ jacobian[0]

    return log_y


def _of_prior(
    law: str, frame: Frame | None, rng: np.random.Generator
) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """ln(loss) by any of a law's equations, with coefficients from its prior, the standard normal."""
    forms = find_law(law).forms(frame)
    form = forms[int(rng.integers(len(forms)))]
    raw = rng.standard_normal(form.size)
    return lambda columns: form.predict_log(raw[None, :], form.frame.coordinates(columns))[0]


def _frame(study: Study, grid: Grid, losses: tuple[float, float]) -> Frame:
    y = np.geomspace(*losses, grid.run.size)
    table = Table(
        inputs={name: grid.columns[name] for name in study.inputs},
        hyperparameters={name: grid.columns[name] for name in study.hyperparameters},
        y=y,
    )
    return Frame.from_table(table)


def _plausible(log_y: np.ndarray, losses: tuple[float, float]) -> bool:
    """Whether they fall by scale at all, and lie about where they are assumed."""
    low, high = (math.log(loss) for loss in losses)
    room = math.log(PLAUSIBLE)
    return bool(log_y.min() > low - room and log_y.max() < high + room and np.ptp(log_y) > (high - low) / PLAUSIBLE)
