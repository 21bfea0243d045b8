"""Rehearsal: a study's own grid, split and seeds with draws from known laws instead of training, before it is paid for.

A truth is drawn: from an earlier fit (a member of it, its coefficients within their covariance), or where nothing was
measured, from the law's prior. Every point that the study would fit is drawn from it with noise, the law is fitted as
it would be, and its forecast at the target is held against a measurement that the truth makes there. Many such draws
say how far the forecast will be off and how often its interval will hold, if the world is as the law supposes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitting import Fit, FitStatus, FittingError, Frame, Table, find_law, fit
from pipeline.errors import PipelineError
from pipeline.forecasts import Targets
from pipeline.plan import Throughput
from pipeline.rescale.growth import axis_values, rows_of
from pipeline.rescale.knowledge import as_part
from pipeline.study import Axis, Cell, Study, larger

RUN_SHARE = 0.8
"""The part of the noise's variance that a run's points share: seeds differ by more than points of one run do."""
NOISE = 0.02
"""Standard deviation of ln(loss) that is assumed where nothing was measured."""
LOSSES = (0.5, 4.0)
"""Losses at the best and the worst of the fitted points that are assumed likewise."""
MORE_VALUES, MORE_SEEDS = 2, 3
"""What a larger grid is rehearsed with."""
PLAUSIBLE = 4.0
"""How far beyond the assumed losses, as a factor, a truth from the prior may lie before it is drawn again."""
MOST_DRAWS = 200
"""Of the prior, for one truth, before its law is said not to suit."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is fitted in a rehearsal: columns of its points, their runs and replicates."""

    name: str
    columns: Mapping[str, np.ndarray]
    run: np.ndarray
    """Number of the cell of each point."""
    group: np.ndarray
    """Points that agree in everything but the seed share it."""
    cells: int
    seconds: float
    """Predicted, on one worker."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What makes the measurements: ln(loss) of the fitted points and of the targets, and its noise."""

    fitted: np.ndarray
    targets: np.ndarray
    noise: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """One draw, ready to be fitted anywhere."""

    grid: str
    law: str
    inputs: Mapping[str, np.ndarray]
    hyperparameters: Mapping[str, np.ndarray]
    y: np.ndarray
    group: np.ndarray
    ceiling: float | None
    target: Mapping[str, np.ndarray]
    came: np.ndarray
    """ln(loss) measured at the targets."""


@dataclass(frozen=True, kw_only=True)
class Came:
    """What came of one draw, at each target."""

    grid: str
    error: Sequence[float]
    """ln measured - ln median."""
    half: Sequence[float]
    """Of the 90% interval, in ln(loss)."""
    held_50: Sequence[bool]
    held_90: Sequence[bool]


def grids(study: Study, throughput: Throughput) -> list[Grid]:
    """The study as it is, then with more values on each axis that holds numbers, then with more seeds.

    What is added counts as fitted, whatever the split says of it: what it would teach is the question.
    """
    names = (*study.inputs, *study.hyperparameters)
    own = [cell for cell in study.cells if study.growth or study.planned_points(cell).fitted]
    found = [_grid(study, "as it is", names, own, (), throughput)]
    for axis in study.axes:
        if more := _further(study, axis):
            title = f"{MORE_VALUES} more values of {axis.name}"
            found.append(_grid(study, title, names, own, more, throughput))
    seeds = [max(study.seeds) + 1 + k for k in range(MORE_SEEDS)]
    known = {cell.id for cell in study.cells}
    again = study.build([{**_settings(study, cell), "seed": seed} for cell in own for seed in seeds])
    unique = {cell.id: cell for cell in again if cell.id not in known}
    found.append(_grid(study, f"{MORE_SEEDS} more seeds", names, own, list(unique.values()), throughput))
    return found


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


def task(study: Study, grid: Grid, truth: Truth, targets: Targets, *, law: str, rng: np.random.Generator) -> Task:
    """The measurements of one draw."""
    of_run = rng.standard_normal(grid.cells)[grid.run] * math.sqrt(RUN_SHARE)
    of_point = rng.standard_normal(grid.run.size) * math.sqrt(1 - RUN_SHARE)
    return Task(
        grid=grid.name,
        law=law,
        inputs={name: grid.columns[name] for name in study.inputs},
        hyperparameters={name: grid.columns[name] for name in study.hyperparameters},
        y=np.exp(truth.fitted + truth.noise * (of_run + of_point)),
        group=grid.group,
        ceiling=None,
        target=targets.numbers(grid.columns),
        came=truth.targets + truth.noise * rng.standard_normal(truth.targets.size),
    )


def carry_out(one: Task) -> Came | None:
    """Fit and forecast; None where the law could not be fitted."""
    try:
        table = Table(
            inputs=one.inputs, hyperparameters=one.hyperparameters, y=one.y, ceiling=one.ceiling, group=one.group
        )
        found = fit(one.law, table, toward=one.target)
    except FittingError:
        return None
    if found.status is FitStatus.FAILED:
        return None
    known = found.uncertainty({name: one.target[name] for name in found.columns})
    inside = []
    for level in (0.5, 0.9):
        low, high = (np.log(end) for end in known.interval(level))
        inside.append([bool(held) for held in (low <= one.came) & (one.came <= high)])
    return Came(
        grid=one.grid,
        error=(one.came - known.log_median).tolist(),
        half=(np.log(known.interval(0.9)[1]) - known.log_median).tolist(),
        held_50=inside[0],
        held_90=inside[1],
    )


def summed_up(grid: Grid, base: Grid, came: Sequence[Came], tried: int) -> dict[str, Any]:
    """What the draws of one grid say, over all targets."""
    errors = np.array([abs(error) for one in came for error in one.error])
    halves = np.array([half for one in came for half in one.half])
    facts: dict[str, Any] = {
        "grid": grid.name,
        "cells": grid.cells,
        "points": int(grid.run.size),
        "hours": grid.seconds / 3600,
        "more_hours": (grid.seconds - base.seconds) / 3600,
        "draws": tried,
        "fitted": len(came),
    }
    if not came:
        return facts
    held = [[h for one in came for h in getattr(one, name)] for name in ("held_50", "held_90")]
    return facts | {
        "error": as_part(float(np.median(errors))),
        "error_90": as_part(float(np.quantile(errors, 0.9))),
        "interval": as_part(float(np.median(halves))),
        "held_50": float(np.mean(held[0])),
        "held_90": float(np.mean(held[1])),
    }


def in_processes(tasks: Iterable[Task], processes: int) -> Iterator[Came | None]:
    """Every task carried out, in their order, by so many processes of this machine; in this one where it is one."""
    if processes == 1:
        yield from map(carry_out, tasks)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(carry_out, tasks)


def _grid(
    study: Study, name: str, names: Sequence[str], own: Sequence[Cell], added: Sequence[Cell], throughput: Throughput
) -> Grid:
    read = [*dict.fromkeys((*names, "step", "inference_steps"))]
    columns, run = rows_of(study, read, own, fitted_only=study.growth is None)
    # Of cells that are none of the study's yet: whatever its split says of them.
    more, number = rows_of(study, read, added)
    cells = [*own, *added]
    columns = {key: np.concatenate([columns[key], more[key]]) for key in columns}
    run = np.concatenate([run, number + len(own)])
    shapes = {}
    shape = [
        shapes.setdefault(str({key: value for key, value in cell.config.items() if key != "seed"}), len(shapes))
        for cell in cells
    ]
    keys = np.stack([np.array(shape, float)[run], columns["step"], columns["inference_steps"]])
    group = np.unique(keys, axis=1, return_inverse=True)[1].ravel() if run.size else run
    if not run.size:
        raise PipelineError(f"study '{study.name}' fits no point: there is nothing to rehearse")
    return Grid(
        name=name,
        columns={key: columns[key] for key in names},
        run=run,
        group=group,
        cells=len(cells),
        seconds=sum(map(throughput.seconds, cells)),
    )


def _further(study: Study, axis: Axis) -> list[Cell]:
    """Cells with further values on an axis, each as far from the last as that from the one before, and the known values
    of the others; none where its values are no numbers that rise, or the trainer refuses them."""
    settings = axis_values(study, axis)
    try:
        last = max(settings, key=lambda one: tuple(float(one[name]) for name in axis.fields))
        before = max((one for one in settings if one != last), key=lambda one: tuple(map(float, one.values())))
        factors = tuple(last[name] / before[name] for name in axis.fields)
    except (TypeError, ValueError, ZeroDivisionError):
        return []
    if min(factors) < 1 or max(factors) <= 1:
        return []
    more = [last := larger(last, factors) for _ in range(MORE_VALUES)]
    others = [more if one is axis else axis_values(study, one) for one in study.axes]
    try:
        return study.build(list(study.unfold(others)))
    except PipelineError:
        return []


def _settings(study: Study, cell: Cell) -> dict[str, Any]:
    return {name: cell.config[name] for axis in study.axes for name in axis.fields}


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
