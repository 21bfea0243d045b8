"""A design for several tasks within one budget: what their forecasts gain together.

Tasks have a fit each, and a cell teaches only of its own. So within a task the order is that of the task's own design
(`fitting.design`), and between tasks the cell goes first that takes most, for its cost, off the sum over all targets of
the squares of the half-widths of their intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitting import Design, Fit, Pick, design


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the candidates of one task would measure, and what is under way."""

    fit: Fit
    candidates: Sequence[int]
    """Numbers of its own among all."""
    columns: Mapping[str, np.ndarray]
    """Of every row that they would measure, shape (rows,)."""
    cell: np.ndarray
    """For each row the place of its cell in `candidates`."""
    targets: Mapping[str, np.ndarray]
    pending: Mapping[str, np.ndarray]
    pending_cell: np.ndarray

    @property
    def weight(self) -> int:
        return len(next(iter(self.targets.values())))

    def design(self, cost: np.ndarray, *, budget: float, most: int | None) -> Design:
        """Of this task alone; picks name candidates by their numbers among all. cost: of all candidates."""
        made = design(
            self.fit,
            self.columns,
            cell=self.cell,
            cost=cost[list(self.candidates)],
            target=self.targets,
            budget=budget,
            most=most,
            pending=self.pending,
            pending_cell=self.pending_cell,
        )
        return replace(made, picks=tuple(replace(one, candidate=self.candidates[one.candidate]) for one in made.picks))

    def after(self, chosen: Sequence[int]) -> Told:
        """With some of its candidates under way."""
        taken = np.isin(np.asarray(self.candidates, int), list(chosen))
        rows, free = taken[self.cell], np.flatnonzero(~taken)
        place = {int(old): new for new, old in enumerate(free)}
        first = 1 + int(self.pending_cell.max(initial=-1))
        return replace(
            self,
            candidates=[self.candidates[one] for one in free],
            columns={name: values[~rows] for name, values in self.columns.items()},
            cell=np.array([place[int(one)] for one in self.cell[~rows]], int),
            pending={name: np.concatenate([values, self.columns[name][rows]]) for name, values in self.pending.items()},
            pending_cell=np.concatenate([self.pending_cell, first + self.cell[rows]]),
        )


class _Task:
    """One task while cells are chosen: its own next pick, and how wide its forecast is."""

    def __init__(self, told: Told, cost: np.ndarray, *, budget: float, most: int | None):
        self._told, self._cost, self._most = told, cost, most
        self._taken: list[int] = []
        self._plan(budget)
        self.half, self.weight = self._made.before, told.weight

    def next(self, left: float) -> Pick | None:
        """Its next pick that what is left of the budget covers."""
        if self._at < len(self._made.picks) and self._made.picks[self._at].cost > left * (1 + 1e-12):
            # Its own design reckoned with all of the budget: what others took of it leaves room for cheaper cells.
            self._told, self._taken = self._told.after(self._taken), []
            self._plan(left)
        return self._made.picks[self._at] if self._at < len(self._made.picks) else None

    def gain(self, pick: Pick) -> float:
        return self.weight * (self.half**2 - pick.half**2) / pick.cost

    def take(self, pick: Pick) -> None:
        self.half = pick.half
        self._taken.append(pick.candidate)
        self._at += 1

    def _plan(self, budget: float) -> None:
        self._made, self._at = self._told.design(self._cost, budget=budget, most=self._most), 0


def design_jointly(told: Sequence[Told], cost: np.ndarray, *, budget: float, most: int | None) -> Design:
    """See the module's docstring. cost: of all candidates, shape (candidates,). The half-width that is said is the root
    of the mean square over all targets; of one task, that of its own design."""
    if len(told) == 1:
        return told[0].design(cost, budget=budget, most=most)
    tasks = [_Task(one, cost, budget=budget, most=most) for one in told]
    before, picks, left = _together(tasks), [], budget
    while most is None or len(picks) < most:
        offers = [(task, pick) for task in tasks if (pick := task.next(left)) is not None]
        if not offers:
            break
        task, pick = max(offers, key=lambda offer: offer[0].gain(offer[1]))
        task.take(pick)
        left -= pick.cost
        picks.append(replace(pick, half=_together(tasks)))
    return Design(before=before, picks=tuple(picks))


def _together(tasks: Sequence[_Task]) -> float:
    return math.sqrt(sum(one.weight * one.half**2 for one in tasks) / sum(one.weight for one in tasks))
