"""What a study may grow by, and which of it: the cells that narrow its forecast most for what they cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fitting import Design
from pipeline.errors import PipelineError
from pipeline.plan import Accounts, Budget, Plan
from pipeline.rescale.jointly import Told, design_jointly
from pipeline.rescale.tasks import Asked
from pipeline.study import Axis, Cell, Literal, Study, larger, point_columns


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A cell that might be run next."""

    cell: Cell
    settings: Mapping[str, Literal]
    """The values of the axes, and the seed."""
    cost: float = 0.0
    """Predicted, in the unit of the budget."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Cells that were chosen, in their order, and what was foretold of choosing them."""

    chosen: tuple[Candidate, ...]
    design: Design | None
    """How the forecast narrows with each; None where that was not asked."""

    @property
    def cost(self) -> float:
        return sum(one.cost for one in self.chosen)


def beyond_the_grid(study: Study) -> list[Candidate]:
    """The cells that one step of growth adds: every axis that grows has its next value beside all that it has had, in
    the grid or in a round. Cells that the trainer refuses are left out.

    Raises PipelineError where all are refused, or an axis that is to grow holds no numbers.
    """
    known = {cell.id for cell in study.cells}
    found, refused = [], ""
    for varied in study.unfold([_with_next(study, axis) for axis in study.axes]):
        try:
            cells = study.build([varied])
        except PipelineError as error:
            refused = refused or str(error)
            continue
        found += [Candidate(cell=cell, settings=varied) for cell in cells if cell.id not in known]
    if not found and refused:
        raise PipelineError(f"the trainer refuses every cell that the study could grow by, the first because {refused}")
    return found


def priced(candidates: Sequence[Candidate], made: Plan, accounts: Accounts, budget: Budget) -> list[Candidate]:
    """Candidates with what each is predicted to cost on a plan's device, in the unit of a budget."""
    device = made.device.name
    rate = accounts.device_seconds_a_second(device)
    return [replace(one, cost=budget.spent({device: rate * made.throughput.seconds(one.cell)})) for one in candidates]


def axis_values(study: Study, axis: Axis) -> list[dict[str, Any]]:
    """All values that an axis has had, in the grid and then in the rounds, each as fields with their values."""
    settings = [dict(one) for one in axis.settings()]
    for cell in (cell for cells in study.grown for cell in cells):
        one = {name: cell[name] for name in axis.fields if name in cell}
        if len(one) == len(axis.fields) and one not in settings:
            settings.append(one)
    return settings


def _with_next(study: Study, axis: Axis) -> list[dict[str, Any]]:
    """All values that an axis has had, then its next one where it grows."""
    settings = axis_values(study, axis)
    factor = study.growth.axes.get(axis.name) if study.growth else None
    if factor is None:
        return settings
    try:
        last = max(settings, key=lambda one: tuple(float(one[name]) for name in axis.fields))
    except (TypeError, ValueError) as error:
        raise PipelineError(
            f"study '{study.name}': the axis '{axis.name}' cannot grow, since it holds no numbers"
        ) from error
    return [*settings, larger(last, factor)]


def cheapest(candidates: Sequence[Candidate], *, budget: float) -> Choice:
    """The cheapest that the budget covers, all of them if it does."""
    chosen, left = [], budget
    for one in sorted(candidates, key=lambda one: one.cost):
        left -= one.cost
        if left < 0:
            break
        chosen.append(one)
    return Choice(chosen=tuple(chosen), design=None)


def most_telling(
    study: Study,
    asked: Sequence[Asked],
    candidates: Sequence[Candidate],
    *,
    budget: float = math.inf,
    most: int | None = None,
    pending: Sequence[Cell] = (),
    fitted_only: bool = False,
) -> Choice:
    """The candidates that narrow the forecasts of a study's tasks most for what they cost; see `fitting.design`, and
    `jointly` for several tasks. Candidates of a task that is not asked for are left.

    pending: cells that are under way. fitted_only: of a cell count those of its points alone that the split fits.
    """
    told = []
    for one in asked:
        own = [number for number, candidate in enumerate(candidates) if one.holds(candidate.cell.columns)]
        how = {"fitted_only": fitted_only}
        columns, cell = rows_of(study, one.fit.columns, [candidates[number].cell for number in own], **how)
        under_way = [cell for cell in pending if one.holds(cell.columns)]
        waiting, number = rows_of(study, one.fit.columns, under_way, **how)
        told.append(
            Told(
                fit=one.fit,
                candidates=own,
                columns=columns,
                cell=cell,
                targets=one.targets.numbers(one.fit.columns),
                pending=waiting,
                pending_cell=number,
            )
        )
    made = design_jointly(told, np.array([one.cost for one in candidates]), budget=budget, most=most)
    return Choice(chosen=tuple(candidates[pick.candidate] for pick in made.picks), design=made)


def rows_of(
    study: Study, names: Sequence[str], cells: Sequence[Cell], *, fitted_only: bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Some columns of all points that cells will have and no rule excludes; and for each the number of its cell."""
    pieces: dict[str, list[np.ndarray]] = {name: [np.zeros(0)] for name in names}
    numbers = [np.zeros(0, int)]
    for number, cell in enumerate(cells):
        held_out, excluded = study.planned_split(cell)
        kept = ~excluded & ~held_out if fitted_only else ~excluded
        known = {**cell.columns, **point_columns(cell)}
        for name in names:
            pieces[name].append(np.broadcast_to(np.asarray(known[name], float), kept.shape)[kept])
        numbers.append(np.full(int(kept.sum()), number))
    return {name: np.concatenate(parts) for name, parts in pieces.items()}, np.concatenate(numbers)
