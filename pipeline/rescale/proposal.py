"""What to measure next, of a study or of a table: cells that narrow its forecast most for what they cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitting import Design, FittingError, parse_quantity
from pipeline.analysis import Question, of_grid
from pipeline.errors import PipelineError
from pipeline.forecasts import Targets
from pipeline.plan import Accounts, Budget, State, make_plan
from pipeline.rescale.growth import Candidate, beyond_the_grid, most_telling, priced
from pipeline.rescale.jointly import Told, design_jointly
from pipeline.rescale.knowledge import LEVEL, question_now
from pipeline.rescale.tasks import Asked, Part, fit_parts, in_order, is_of
from pipeline.store import Store
from pipeline.study import Study

MOST_LEVELS = 24
"""Values of a column up to which a table counts as a grid; more were drawn, and their product is no plan."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A batch of cells, in the order in which they were chosen."""

    law: str
    rows: int
    """That were fitted."""
    median: Sequence[float]
    """What the law foretells at each target, in the metric's units."""
    candidates: int
    pending: int
    """Cells under way, which are counted in."""
    unit: str
    places: Sequence[Mapping[str, Any]]
    """What tells each chosen cell from the others."""
    design: Design

    def to_json(self) -> dict[str, Any]:
        return {
            "law": self.law,
            "rows": self.rows,
            "median": list(self.median),
            "candidates": self.candidates,
            "pending": self.pending,
            "unit": self.unit,
            "before": math.expm1(self.design.before),
            "after": math.expm1(self.design.after),
            "cost": self.design.cost,
            "next": [
                {"at": dict(place), "cost": pick.cost, "interval": math.expm1(pick.half)}
                for place, pick in zip(self.places, self.design.picks, strict=True)
            ],
        }


def next_cells(
    study: Study,
    store: Store,
    targets: Targets,
    *,
    law: str,
    budget: Budget | None,
    most: int | None,
    device: str = "",
    seed: int = 0,
) -> Proposal:
    """Of the cells of a study's grid that nobody has begun, and of those by which it may grow.

    Cells that were begun are counted in. Of a study that does not grow count only points that its split fits. Raises
    PipelineError where too little is measured, or where there is no such cell.
    """
    made = make_plan(study, store, device)
    asked, parts = fit_parts(law, question_now(study), of_grid(study, store.table()), targets, seed=seed)
    unit = budget or Budget(amount=math.inf, unit=made.device.name)
    unit.check_device(made.device.name)
    fitted_only = study.growth is None
    new = [one for one in made.cells if not one.state.finished and one.state not in (State.RESUME, State.HELD)]
    candidates = [
        Candidate(cell=one.cell, settings=_varied(study, one.cell.config))
        for one in new
        if one.points.fitted or not fitted_only
    ]
    candidates += beyond_the_grid(study) if study.growth else []
    candidates = [one for one in candidates if any(task.holds(one.cell.columns) for task in asked)]
    if not candidates:
        raise PipelineError(
            f"study '{study.name}' has no cell left that would be fitted: extend its grid, or say how it grows "
            "(growth=Growth(...)), and ask again"
        )
    candidates = priced(candidates, made, Accounts.read(store.folder), unit)
    pending = [one.cell for one in made.cells if one.state is State.RESUME]
    choice = most_telling(
        study,
        asked,
        candidates,
        budget=unit.amount,
        most=most,
        pending=pending,
        fitted_only=fitted_only,
    )
    assert choice.design is not None
    _refuse_nothing(choice.design, [one.cost for one in candidates], unit.amount, unit.shown_unit)
    return Proposal(
        law=asked[0].fit.law,
        rows=sum(one.fit.rows for one in asked),
        median=_medians(asked, parts),
        candidates=len(candidates),
        pending=len(pending),
        unit=unit.shown_unit,
        places=[one.settings for one in choice.chosen],
        design=choice.design,
    )


def next_rows(
    question: Question,
    rows: Any,
    targets: Targets,
    *,
    law: str,
    cost: str,
    budget: float | None,
    most: int | None,
    seed: int = 0,
) -> Proposal:
    """Of the rows of a table (a pandas DataFrame) that have no metric yet, or where all have one, of the places of its
    grid that it lacks and those one step beyond. cost: of a row, an expression over its columns.

    Raises PipelineError where there are none, or where the cost is no positive number.
    """
    asked, parts = fit_parts(law, question, rows, targets, seed=seed)
    waiting = bool(rows[question.metric.name].isna().any())
    reads = [*question.inputs, *question.hyperparameters]
    told, places, costs = [], [], []
    for one, part in zip(asked, parts, strict=True):
        own = rows.loc[[is_of(row, one.task) for row in rows[[*reads, *question.tasks]].to_dict("records")]]
        found = _waiting(question, own) if waiting else _lacking(question, own)
        columns = {name: np.array([place[name] for place in found], float) for name in one.fit.columns}
        told.append(
            Told(
                fit=one.fit,
                candidates=range(len(places), len(places) + len(found)),
                columns=columns,
                cell=np.arange(len(found)),
                targets=part.targets.numbers(one.fit.columns),
                pending={name: np.zeros(0) for name in one.fit.columns},
                pending_cell=np.zeros(0, int),
            )
        )
        places += [{**one.task, **place} for place in found]
        costs.append(_costs(cost, columns, len(found)))
    if not places:
        raise PipelineError(
            f"{question.about} has no row that waits for its {question.metric.name}, and is no grid that lacks a "
            f"place: add rows that might be run, without {question.metric.name}"
        )
    prices = np.concatenate(costs)
    try:
        made = design_jointly(told, prices, budget=math.inf if budget is None else budget, most=most)
    except FittingError as error:
        raise PipelineError(f"--cost '{cost}': {error}") from error
    _refuse_nothing(made, prices, math.inf if budget is None else budget, f"of {cost}")
    return Proposal(
        law=asked[0].fit.law,
        rows=sum(one.fit.rows for one in asked),
        median=_medians(asked, parts),
        candidates=len(places),
        pending=0,
        unit=cost,
        places=[places[pick.candidate] for pick in made.picks],
        design=made,
    )


def _costs(cost: str, columns: Mapping[str, np.ndarray], rows: int) -> np.ndarray:
    """What each row costs, by an expression over its columns."""
    try:
        return np.broadcast_to(parse_quantity(cost).evaluate(columns), rows).astype(float)
    except FittingError as error:
        raise PipelineError(f"--cost '{cost}': {error}") from error


def _waiting(question: Question, rows: Any) -> list[dict[str, float]]:
    """Rows that have no metric yet."""
    reads = [*question.inputs, *question.hyperparameters]
    waiting = rows[rows[question.metric.name].isna()]
    try:
        return [dict(zip(reads, map(float, values), strict=True)) for values in waiting[reads].to_numpy()]
    except (TypeError, ValueError) as error:
        raise PipelineError(f"{question.about}: rows that may be run next must hold numbers ({error})") from error


def _medians(asked: Sequence[Asked], parts: Sequence[Part]) -> list[float]:
    """What is foretold at each target, in the metric's units."""
    return in_order(asked, [
        [float(y) for y in part.question.metric.from_loss(one.fit.predict(one.targets.numbers(one.fit.columns)))]
        for one, part in zip(asked, parts, strict=True)
    ])  # fmt: skip


def _varied(study: Study, config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in (*(name for axis in study.axes for name in axis.fields), "seed")}


def _lacking(question: Question, rows: Any) -> list[dict[str, float]]:
    """Places of a table's grid that it has no row of, one step beyond in every input among them."""
    levels = []
    for name in (*question.inputs, *question.hyperparameters):
        known = np.unique(rows[name].to_numpy(float))
        if len(known) > MOST_LEVELS:
            return []
        if name in question.inputs and len(known) > 1:
            known = np.append(known, float(f"{known[-1] ** 2 / known[-2]:.6g}"))
        levels.append(known.tolist())
    names = (*question.inputs, *question.hyperparameters)
    have = set(zip(*(rows[name].to_numpy(float).tolist() for name in names), strict=True))
    return [dict(zip(names, place, strict=True)) for place in itertools.product(*levels) if place not in have]


def _refuse_nothing(made: Design, costs: Sequence[float], budget: float, unit: str) -> None:
    if made.picks:
        return
    if min(costs) > budget:
        raise PipelineError(
            f"the cheapest of {len(costs)} candidates is predicted to cost {min(costs):.3g} {unit}, and the budget is "
            f"{budget:g}: {min(costs) - budget:.3g} are missing"
        )
    raise PipelineError(
        f"none of {len(costs)} candidates would narrow the {LEVEL:.0%} interval at the target: ask for another target"
    )
