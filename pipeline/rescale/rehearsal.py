"""Rehearsal: a study's own grid, split and seeds with draws from known laws instead of training, before it is paid for.

A truth is drawn. Every point that the study would fit is drawn from it with noise, the law is fitted as it would be,
and its forecast at the target is held against a measurement that the truth makes there. Many such draws say how far the
forecast will be off and how often its interval will hold, if the world is as the law supposes. A study with tasks is
rehearsed task by task.
"""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitting import Fit, FitStatus, FittingError, Table, fit
from pipeline.analysis import Question, by_task, of_grid, task_name
from pipeline.errors import PipelineError
from pipeline.forecasts import Targets
from pipeline.plan import Plan
from pipeline.rescale.grids import Grid, grids
from pipeline.rescale.knowledge import as_part
from pipeline.rescale.tasks import is_of
from pipeline.rescale.truths import LOSSES, NOISE, Truth, truths
from pipeline.run import spread
from pipeline.store import Store
from pipeline.study import Study

RUN_SHARE = 0.8
"""The part of the noise's variance that a run's points share: seeds differ by more than points of one run do."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What is to be rehearsed."""

    law: str
    """That is fitted."""
    truth: str
    """The law that is true."""
    prior: bool = False
    """Draw truths from its prior, whatever was measured."""
    noise: float | None = None
    """Standard deviation of ln(loss) between seeds; measured where left out."""
    losses: tuple[float, float] = LOSSES
    draws: int = 50
    seed: int = 0


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


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """What the rehearsal of one task says; of a study without tasks, of all of it, without a name."""

    name: str
    task: Mapping[str, Any]
    facts: Mapping[str, Any]
    """`from` where truths came, their `noise`, and a row a grid in `grids`, the study as it is first."""


def rehearse(
    study: Study,
    store: Store,
    made: Plan,
    targets: Targets,
    wishes: Wishes,
    *,
    carry: Callable[[Sequence[Task]], Iterator[Came | None]],
    told: Callable[[str], Any] = lambda text: None,
) -> list[Rehearsed]:
    """Each task that is asked for. made: the plan, whose throughput says what its grids cost. carry: carries the draws
    out, in their order. told: of what is done.

    Raises PipelineError where nothing can be rehearsed.
    """
    found = []
    for name, task, wanted in _tasks_of(study, targets):
        known = None if wishes.prior else _known(study, store, wishes.truth, task, wanted)
        own = grids(study, made.throughput, task)
        source = f"a fit of {known.rows} measured points" if known else "its prior"
        if not known and not wishes.prior:
            source += ": nothing is measured yet"
        told(
            f"{name or study.name}: {len(own)} grids, {wishes.draws} draws each; truths by {wishes.truth} from {source}"
        )
        drawn = [one for grid in own for one in _draws(study, grid, wanted, wishes, known)]
        came: dict[str, list[Came | None]] = {grid.name: [] for grid in own}
        for one, result in zip(drawn, carry(drawn), strict=True):
            came[one.grid].append(result)
            if len(came[one.grid]) == wishes.draws:
                fitted = sum(result is not None for result in came[one.grid])
                told(f"{name + ', ' if name else ''}{one.grid}: {fitted} of {wishes.draws} draws fitted")
        rows = [
            summed_up(grid, own[0], [one for one in came[grid.name] if one is not None], wishes.draws) for grid in own
        ]
        noise = wishes.noise or (float(known.belief.noise) if known else NOISE)
        facts = {"from": "fit" if known else "prior", "noise": noise, "grids": rows}
        found.append(Rehearsed(name=name, task=task, facts=facts))
    return found


def _tasks_of(study: Study, targets: Targets) -> list[tuple[str, dict[str, Any], Targets]]:
    """The tasks that targets are of, by name; one without a name of a study that has none."""
    if not study.tasks:
        return [("", {}, targets)]
    wanted = dict.fromkeys(zip(*(targets.columns[name] for name in study.tasks), strict=True))
    tasks = [dict(zip(study.tasks, values, strict=True)) for values in wanted]
    for task in tasks:
        if not any(is_of(cell.columns, task) for cell in study.cells):
            raise PipelineError(f"study '{study.name}' has no cell of the task {task_name(task)}")
    return [(task_name(task), task, targets.of_task(task)) for task in tasks]


def _known(study: Study, store: Store, law: str, task: Mapping[str, Any], targets: Targets) -> Fit | None:
    """A fit of what is measured of a task, where that is enough."""
    try:
        parts = by_task(Question.of_study(study), of_grid(study, store.table())).values()
        table = next(asked.divide(rows).fitted for asked, rows in parts if is_of(asked.task, task))
    except (PipelineError, StopIteration):
        return None
    try:
        found = fit(law, table, toward=targets.numbers(table.columns))
    except FittingError as error:
        raise PipelineError(f"{law} cannot be the truth here: {error}") from error
    return None if found.status is FitStatus.FAILED else found


def _draws(study: Study, grid: Grid, targets: Targets, wishes: Wishes, known: Fit | None) -> list[Task]:
    rng = np.random.default_rng(wishes.seed)  # The same truths for every grid, as far as their sizes allow.
    how = {"law": wishes.truth, "known": known, "noise": wishes.noise, "losses": wishes.losses, "rng": rng}
    drawn = itertools.islice(truths(study, grid, targets, **how), wishes.draws)
    return [task(study, grid, truth, targets, law=wishes.law, rng=rng) for truth in drawn]


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


def on_ray(tasks: Iterable[Task], workers: int | None) -> Iterator[Came | None]:
    """The same on the cluster that RAY_ADDRESS names, or on one of so many workers that is made here."""
    carried = spread(__name__, "carry_out_pickled", map(pickle.dumps, tasks), workers=workers)
    yield from map(pickle.loads, carried)


def carry_out_pickled(one: bytes) -> bytes:
    return pickle.dumps(carry_out(pickle.loads(one)))
