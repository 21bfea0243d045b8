"""Which part of a study's table a figure along one column shows: exact cells of the grid, where most data lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.analysis import Divided

NEARLY = 0.9
"""Slices with this share of the fullest one's cells count as full: then the largest scale is worth more than a cell."""
MOST_OTHERS = 6
"""Columns that are tried as the one that tells lines apart: a study of forty inputs has 1,560 pairs of them."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Points that differ in two columns alone, and in their seeds."""

    along: str
    """The column on the horizontal axis."""
    by: str | None
    """The column that tells lines apart; None where there is no second one."""
    levels: tuple[float, ...]
    """Values of `by` that are shown, smallest first; one value without meaning where `by` is None."""
    at: Mapping[str, Any]
    """The other columns that vary in the study, each at one value."""
    rows: Any
    """pandas DataFrame: the points."""

    def of(self, level: float) -> Any:
        return self.rows if self.by is None else self.rows[self.rows[self.by] == level]


def columns(divided: Divided) -> list[str]:
    """Inputs and hyperparameters that vary."""
    names = (*divided.question.inputs, *divided.question.hyperparameters)
    return [name for name in names if divided.rows[name].nunique() > 1]


def slices(divided: Divided, along: str, *, most: int, most_levels: int) -> list[Slice]:
    """The slices along a column that show most of what another column does, at most one for each other column.

    None where no line would hold three values of the column (or all, if there are fewer): the data are no grid.
    """
    others = [name for name in columns(divided) if name != along]
    found = [_fullest(divided, along, by, others, most_levels) for by in others[:MOST_OTHERS] or [None]]
    whole = [one for one in found if one is not None]
    return sorted(whole, key=_effect, reverse=True)[:most]


def _fullest(divided: Divided, along: str, by: str | None, others: Sequence[str], most_levels: int) -> Slice | None:
    rows = divided.rows
    rest = [name for name in others if name != by] + _hidden(divided)
    at: dict[str, Any] = {}
    if rest:
        shown = [along] if by is None else [along, by]
        cells = rows.drop_duplicates([*rest, *shown, "held_out"])
        grouped = cells.groupby(rest, sort=True)
        # Fitted cells count twice: a slice that lies outside the fitted range altogether says little about the fit.
        score = grouped.size() + grouped["held_out"].agg(lambda mask: (~mask).sum())
        ranking = score[score >= NEARLY * score.max()].rename("score").reset_index()
        scales = [name for name in rest if name in divided.question.inputs]
        ranking["scale"] = np.log(ranking[scales].to_numpy(float)).sum(1) if scales else 0.0
        ranking = ranking.merge(cells.groupby(rest)["loss"].mean().rename("mean_loss").reset_index(), on=rest)
        best = ranking.sort_values(["scale", "mean_loss"], ascending=[False, True], kind="stable").iloc[0]
        at = {name: best[name] for name in rest}
        for name, value in at.items():
            rows = rows[rows[name] == value]
    levels = (1.0,) if by is None else _levels(rows, along, by, most_levels)
    if by is not None:
        rows = rows[rows[by].isin(levels)]
    one = Slice(along=along, by=by, levels=levels, at=at, rows=rows)
    longest = max(one.of(level)[along].nunique() for level in levels)
    return one if longest >= min(3, divided.rows[along].nunique()) else None


def _levels(rows: Any, along: str, by: str, most: int) -> tuple[float, ...]:
    """The largest level and every second, third, ... below it, of those with at least half the fullest one's cells."""
    filled = rows.groupby(by, sort=True)[along].nunique()
    values = filled[filled >= filled.max() / 2].index.to_numpy()
    stride = max(math.ceil((values.size - 1) / (most - 1)), 1)
    return tuple(float(value) for value in values[::-1][::stride][::-1])


def _hidden(divided: Divided) -> list[str]:
    """What varies in the study, is no column of the laws and does not follow from them: it must be held fixed too."""
    question, rows = divided.question, divided.rows
    seen = [*question.inputs, *question.hyperparameters]
    candidates = [name for name in question.replicates if name not in seen and rows[name].nunique() > 1]
    if not candidates:
        return []
    different = rows.groupby(seen)[candidates].nunique().max()
    return [name for name in candidates if different[name] > 1]


def _effect(one: Slice) -> float:
    """How far the lines of a slice lie apart, in ln of the loss: the mean over the horizontal axis."""
    if one.by is None:
        return 0.0
    table = one.rows.assign(log=np.log(one.rows["loss"])).groupby([one.along, one.by])["log"].mean().unstack()
    spread = (table.max(axis=1) - table.min(axis=1)).mean()
    return float(spread) if np.isfinite(spread) else 0.0
