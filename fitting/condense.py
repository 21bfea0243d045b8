"""The rows that are fitted: replicates averaged, and of a long table neighbours averaged, none drawn or dropped.

Rows that agree in every column differ by chance alone, whatever the law. For squared errors their mean of ln y, with
their number as weight, has the same minimum as the rows themselves. A table that is still longer than what time allows
is cut into cells of near rows, each again a mean with its weight. The frontier, which decides what predicts, is cut
last and least. [ours]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .solver import Loss
from .table import Table

# Coefficients, over all forms of a law, times rows: some twenty seconds for the whole procedure on one core, whatever
# the law. Five thousand means of near rows hold what a million rows say about a smooth law.
_WORK = 3_000_000
_FEWEST_CELLS, _MOST_CELLS = 1_000, 5_000
# Candidates are ranked on fewer: the ranking tries every form, and needs to tell good from bad only.
RANKED_CELLS = 1_000
# The frontier gets at least this part of the cells.
_FRONTIER = 0.5


@dataclass(frozen=True, kw_only=True)
class Condensed:
    """table: one row a cell, in an order of its own, with the number of measurements as weights. measured: rows before.
    within: mean over them of the squared difference of ln y from their cell's mean.
    """

    table: Table
    measured: int
    within: float


def most_cells(sizes: int) -> int:
    """How many rows a law of so many coefficients, over all its forms, is fitted to."""
    return int(np.clip(_WORK // max(sizes, 1), _FEWEST_CELLS, _MOST_CELLS))


def condense(table: Table, *, most: int, frontier: np.ndarray, loss: Loss) -> Condensed:
    """frontier: mask of the rows that are averaged last. The order in which rows come changes nothing."""
    order = np.lexsort([table.y, *table.columns.values()])
    table, frontier = table.where(order), frontier[order]
    z = np.log(np.column_stack(list(table.columns.values())))
    if loss is Loss.MSLE:
        new = np.concatenate([[True], (np.diff(z, axis=0) != 0).any(1)])
        cell = np.cumsum(new) - 1
    else:  # the mean of replicates is not what an absolute error is least at
        cell = np.arange(len(table))
    count = int(cell[-1]) + 1
    if count == len(table) and count <= most:
        return Condensed(table=replace(table, group=None), measured=len(table), within=0.0)
    if count > most:
        cell = _cells(z, cell, frontier, most)
    return _averaged(table, z, cell)


def _averaged(table: Table, z: np.ndarray, cell: np.ndarray) -> Condensed:
    weights = np.ones(len(table)) if table.weights is None else table.weights
    _, cell = np.unique(cell, return_inverse=True)
    total = np.bincount(cell, weights)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(cell, weights * values) / total

    log_y = np.log(table.y)
    middle = mean(log_y)
    within = float((weights * (log_y - middle[cell]) ** 2).sum() / weights.sum())
    first = np.full(total.size, len(table))
    np.minimum.at(first, cell, np.arange(len(table)))
    columns: dict[str, np.ndarray] = {}
    for k, (name, values) in enumerate(table.columns.items()):
        # Cells of replicates keep their value to the bit.
        same = np.bincount(cell, z[:, k] != z[first, k][cell]) == 0
        columns[name] = np.where(same, values[first], np.exp(mean(z[:, k])))
    averaged = Table(
        inputs={name: columns[name] for name in table.inputs},
        hyperparameters={name: columns[name] for name in table.hyperparameters},
        y=np.where(middle == log_y[first], table.y[first], np.exp(middle)),
        ceiling=table.ceiling,
        weights=total,
    )
    order = np.lexsort([averaged.y, *averaged.columns.values()])
    return Condensed(table=averaged.where(order), measured=len(table), within=within)


def _cells(z: np.ndarray, replicate: np.ndarray, frontier: np.ndarray, most: int) -> np.ndarray:
    """A cell a row, at most `most` of them: boxes halved at the median of their widest side, the frontier's first."""
    spread = np.ptp(z, axis=0)
    scaled = (z - z.min(0)) / np.where(spread > 0, spread, 1.0)
    out = np.empty(len(z), int)
    used = 0
    room = most
    for rows, part in ((np.flatnonzero(frontier), _FRONTIER), (np.flatnonzero(~frontier), 1.0)):
        if not rows.size:
            continue
        distinct = np.unique(replicate[rows]).size
        cells = max(1, min(distinct, int(room * part)))
        room -= cells
        stack = [(rows, cells)]
        while stack:
            some, leaves = stack.pop()
            widths = np.ptp(scaled[some], axis=0)
            side = int(np.argmax(widths))
            if leaves <= 1 or widths[side] == 0:
                out[some] = used
                used += 1
                continue
            values = scaled[some, side]
            middle = min(max(round(some.size * (leaves // 2) / leaves), 1), some.size - 1)
            cut = np.partition(values, middle)[middle]
            low = values < cut if (values < cut).any() else values <= cut
            stack += [(some[~low], leaves - leaves // 2), (some[low], leaves // 2)]
    return out
