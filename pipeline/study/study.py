"""A study: one scientific question as a Python value, and the cells it unfolds into."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fitting import Expression, FittingError, Metric, parse_expression
from pipeline.errors import PipelineError, suggest
from pipeline.study.cell import Cell, Literal, point_columns, show_config
from pipeline.study.growth import NEWEST_ROUND, Growth
from pipeline.study.split import PlannedPoints, Split
from trainers import Trainer, TrainerError, load_trainer

AUTO = "auto"
DEFAULT_LAWS = ("m2", "cf", "bnsl", "unsl")
"""The simplest of one input, the additive one, the broken one, and the unified."""
MOST_HALVINGS = 10
"""Doublings before the end of a run at which it may be stopped: after a thousandth of it nobody knows anything."""


@dataclass(frozen=True)
class Axis:
    """One thing that varies: a field of the trainer's configuration and its values, smallest first.

    Fields that vary together share an axis: `Axis("width, depth", ((64, 2), (128, 4)))`.
    """

    name: str
    values: tuple

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.name.split(","))

    def settings(self) -> Iterator[dict[str, Literal]]:
        """One mapping of fields to literals for each value."""
        for value in self.values:
            values = value if len(self.fields) > 1 else (value,)
            if not isinstance(values, tuple | list) or len(values) != len(self.fields):
                raise PipelineError(f"axis '{self.name}': {value!r} must be {len(self.fields)} values")
            yield dict(zip(self.fields, values, strict=True))


@dataclass(frozen=True, kw_only=True)
class Study:
    """One question: what varies, what is measured, what is held out, and which laws are asked."""

    name: str
    trainer: str
    """A name in `trainers.TRAINERS`, `my_trainer.py:NAME` beside the study's file, or `package.module:NAME`."""
    fixed: Mapping[str, Literal] = field(default_factory=dict)
    """Configuration fields that do not vary and differ from the trainer's defaults."""
    axes: Sequence[Axis]
    seeds: Sequence[int] = (0,)
    only: str = ""
    """Keep only the cells for which this expression over configuration and counts holds; empty keeps the full grid."""
    split: Split
    metric: Metric
    inputs: Sequence[str]
    """Columns of the table that are scale: what a law extrapolates along."""
    hyperparameters: Sequence[str] = ()
    """Columns of the table that have an optimum."""
    tasks: Sequence[str] = ()
    """Fields of the configuration that name a task (architecture, game, operation): one fit for each of their values,
    one table over all."""
    laws: Sequence[str] = DEFAULT_LAWS
    """Names in `fitting.LAWS`, or `my_law.py:NAME` beside the study's file."""
    cohort_size: int = 16
    """Cells that train together at most, where their shapes agree."""
    device: str = "auto"
    """What the cells need: `cpu`, `gpu`, or `auto` for a GPU where there is one. No part of a cell's identity."""
    devices_per_cell: int | str = 1
    """Devices that each cell is trained on at once, or `auto`: as many GPUs of a node as would idle otherwise. No part
    of a cell's identity either; not every trainer can."""
    halve: int = 0
    """At so many doublings before the end of a run, hopeless hyperparameters are stopped (`unsl run --halve`); 0 stops
    none. No part of a cell's identity."""
    growth: Growth | None = None
    """How it grows by `unsl rescale`. Such a study holds out its newest round: its split is `round == newest`."""
    grown: Sequence[Sequence[Mapping[str, Literal]]] = ()
    """What its rounds have added, as its store says: for each the values of the axes and the seed of its cells."""
    address: str = field(default="", repr=False, compare=False)
    """What to write after `unsl VERB` to mean this study, its tier included; its name unless it was loaded."""
    folder: str = field(default="", repr=False, compare=False)
    """The folder of its file, where paths of trainers and laws begin; empty is the current folder."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", self.name):
            raise PipelineError(f"study name {self.name!r} must be lower-case letters, digits, - and _")
        if not self.address:
            object.__setattr__(self, "address", self.name)
        if self.devices_per_cell != AUTO and not (type(self.devices_per_cell) is int and self.devices_per_cell >= 1):
            raise PipelineError(
                f"study '{self.name}': devices_per_cell {self.devices_per_cell!r} must be a whole number from 1 on, "
                "or 'auto'"
            )
        if self.device not in ("auto", "cpu", "gpu"):
            raise PipelineError(f"study '{self.name}': device {self.device!r} must be auto, cpu or gpu")
        if type(self.halve) is not int or not 0 <= self.halve <= MOST_HALVINGS:
            raise PipelineError(
                f"study '{self.name}': halve {self.halve!r} must be a whole number, 0 to {MOST_HALVINGS}"
            )

    @cached_property
    def loaded_trainer(self) -> Trainer:
        try:
            return load_trainer(self.trainer, base=self.folder or None)
        except TrainerError as error:
            raise PipelineError(f"study '{self.name}': {error}") from error

    @property
    def law_addresses(self) -> tuple[str, ...]:
        """The laws as `fitting.find_law` takes them from any folder."""
        return tuple(os.path.join(self.folder, law) if ".py:" in law else law for law in self.laws)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell of the grid, in the order of the axes, then those of the rounds. Raises PipelineError where the
        study is not sound."""
        self._check_columns(self._grid[0])
        grown = {cell.id: cell for cells in self._rounds for cell in cells}
        return (*self._grid, *(cell for cell in grown.values() if self.rounds[cell.id]))

    @cached_property
    def _rounds(self) -> list[list[Cell]]:
        """The cells of each round; what `only` drops, or an edited grid has, is none of theirs."""
        return [self.build(cells) for cells in self.grown]

    @property
    def newest(self) -> int:
        """The number of the round that is held out: the last that was begun, or the first, which is to come."""
        return max(1, len(self.grown))

    @cached_property
    def rounds(self) -> dict[str, int]:
        """For each cell the round that added it; 0 for those of the grid as the study's file has it."""
        found = {cell.id: number for number, cells in enumerate(self._rounds, start=1) for cell in cells}
        return found | {cell.id: 0 for cell in self._grid}

    def standing(self, cells: Sequence[str]) -> dict[str, np.ndarray]:
        """What the table says of cells beside what was measured, a row each: whether the grid has them, and in a study
        that grows their `round` and the `newest`."""
        self.check()
        known = self.rounds
        found = {"in_grid": np.array([cell in known for cell in cells], int)}
        if self.growth:
            found |= {"round": np.array([known.get(cell, 0) for cell in cells], int)}
            found |= {"newest": np.full(len(cells), self.newest)}
        return found

    @cached_property
    def _grid(self) -> tuple[Cell, ...]:
        self._check_names()
        cells = self.build(list(self.unfold([axis.settings() for axis in self.axes])))
        if not cells:
            raise PipelineError(f"study '{self.name}' has no cells: an axis is empty, or `only` drops them all")
        if len({cell.id for cell in cells}) < len(cells):
            raise PipelineError(f"study '{self.name}' names the same cell twice: an axis or the seeds repeat a value")
        return tuple(cells)

    def unfold(self, axes: Iterable[Iterable[Mapping[str, Literal]]]) -> Iterator[dict[str, Literal]]:
        """Every combination of the axes' settings, those of each axis as fields with their values, with every seed."""
        for parts in itertools.product(*axes, ({"seed": seed} for seed in self.seeds)):
            yield {name: value for part in parts for name, value in part.items()}

    def build(self, settings: Sequence[Mapping[str, Literal]]) -> list[Cell]:
        """Cells with such values of the axes and such seeds, without those that `only` drops."""
        return self._kept([self._cell(dict(one)) for one in settings])

    def _kept(self, cells: list[Cell]) -> list[Cell]:
        if not self.only:
            return cells
        keep = self._expression("only", self.only)
        return [cell for cell in cells if bool(np.all(self._evaluate("only", keep, cell.columns)))]

    def check(self) -> None:
        """Raise PipelineError where the study is not sound; the message names the mistake and its remedy."""
        _ = self.cells

    def planned_points(self, cell: Cell) -> PlannedPoints:
        """What the split makes of a cell's points if it runs to its end. Rules of `judged_later` exclude none here."""
        held_out, excluded = self.planned_split(cell)
        counts = (~held_out & ~excluded).sum(), (held_out & ~excluded).sum(), excluded.sum()
        return PlannedPoints(fitted=int(counts[0]), held_out=int(counts[1]), excluded=int(counts[2]))

    def planned_split(self, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
        """Which of a cell's points, in the order of `point_columns`, are held out and which excluded: masks."""
        columns = {**cell.columns, **point_columns(cell), **self._places(cell)}

        def ask(name: str, expression: Expression) -> np.ndarray:
            return np.broadcast_to(self._evaluate(name, expression, columns), cell.points)

        held_out, excluded = ask("held_out", self._held_out), np.zeros(cell.points, bool)
        for rule, expression in self._excluded.items():
            if rule not in self.judged_later:
                excluded = excluded | ask(f"excluded '{rule}'", expression)
        return held_out, excluded

    def _places(self, cell: Cell) -> dict[str, int]:
        """In a study that grows, a cell's round beside the newest."""
        return {"round": self.rounds.get(cell.id, 0), "newest": self.newest} if self.growth else {}

    def held_out_share(self, cell: Cell) -> float:
        """The share of a cell's points that take part which the split holds out: 0 all fitted, 1 all held out."""
        points = self.planned_points(cell)
        return points.held_out / max(1, points.held_out + points.fitted)

    @cached_property
    def judged_later(self) -> tuple[str, ...]:
        """Rules of exclusion that ask for the metric, which nobody knows before the run."""
        return tuple(rule for rule, expression in self._excluded.items() if self.metric.name in expression.names)

    @cached_property
    def _excluded(self) -> dict[str, Expression]:
        return {rule: self._expression(f"excluded '{rule}'", text) for rule, text in self.split.excluded.items()}

    @cached_property
    def _held_out(self) -> Expression:
        return self._expression("held_out", self.split.held_out)

    def _expression(self, name: str, text: str) -> Expression:
        try:
            return parse_expression(text)
        except FittingError as error:
            raise PipelineError(f"study '{self.name}', {name}: {error}") from error

    def _evaluate(self, name: str, expression: Expression, columns: Mapping[str, Any]) -> np.ndarray:
        try:
            return expression.evaluate(columns)
        except FittingError as error:
            raise PipelineError(f"study '{self.name}', {name}: {error}") from error

    def _cell(self, varied: dict[str, Literal]) -> Cell:
        try:
            return Cell.build(self.loaded_trainer, {**self.fixed, **varied})
        except TrainerError as error:
            raise PipelineError(f"study '{self.name}': {error} (in the cell with {show_config(varied)})") from error
        except Exception as error:  # Of a trainer of somebody's own.
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise PipelineError(
                f"study '{self.name}': the trainer '{self.trainer}' raises {type(error).__name__}: {error} "
                f"({last.filename}, line {last.lineno}); `unsl check-trainer` tells more"
            ) from error

    def _check_names(self) -> None:
        names = [name for axis in self.axes for name in axis.fields] + list(self.fixed)
        if repeated := {name for name in names if names.count(name) > 1}:
            raise PipelineError(f"study '{self.name}' sets {', '.join(sorted(repeated))} twice")
        if not self.seeds or "seed" in names:
            raise PipelineError(f"study '{self.name}': name at least one seed, in `seeds` and nowhere else")
        known = {f.name for f in dataclasses.fields(self.loaded_trainer.Config)}
        for name in names:
            if name not in known:
                where = "fixed" if name in self.fixed else "axis"
                raise PipelineError(
                    f"study '{self.name}', {where} '{name}': the trainer '{self.trainer}' has no such field; "
                    + suggest(name, known)
                )

    def _check_columns(self, cell: Cell) -> None:
        """Split, inputs and hyperparameters must speak of columns that the table will have."""
        columns = {**cell.columns, **point_columns(cell), **self._growing_columns(cell)}
        for name in (*self.inputs, *self.hyperparameters):
            if name not in columns:
                raise PipelineError(f"study '{self.name}', input '{name}' is no column; {suggest(name, columns)}")
        for name in self.tasks:
            if name not in cell.config:
                raise PipelineError(f"study '{self.name}', task '{name}' is no field; {suggest(name, cell.config)}")
            if name in (*self.inputs, *self.hyperparameters):
                raise PipelineError(
                    f"study '{self.name}', task '{name}' is read by the laws too: it is one or the other"
                )
        for rule, expression in self._excluded.items():
            if unknown := set(expression.names) - columns.keys() - {self.metric.name}:
                first = min(unknown)
                raise PipelineError(
                    f"study '{self.name}', excluded '{rule}': '{first}' is no column; {suggest(first, columns)}"
                )
        self.planned_points(cell)

    def _growing_columns(self, cell: Cell) -> dict[str, int]:
        """The columns that growth brings. Raises PipelineError where the study cannot grow as it says."""
        if not self.growth:
            return {}
        for name in ("round", "newest"):
            if name in cell.config:
                raise PipelineError(
                    f"study '{self.name}' grows, and '{name}' is a field of its trainer '{self.trainer}': both would "
                    "be one column. Call the field otherwise"
                )
        try:
            self.growth.check({axis.name: axis.fields for axis in self.axes}, tuple(self.laws))
        except PipelineError as error:
            raise PipelineError(f"study '{self.name}', {error}") from error
        if not {"round", "newest"} <= set(self._held_out.names):
            raise PipelineError(
                f"study '{self.name}' grows by rounds, and every round is forecast before it runs: its split must hold "
                f"out the newest, as in held_out='{NEWEST_ROUND}', and not '{self.split.held_out}'"
            )
        return {"round": 0, "newest": 1}
