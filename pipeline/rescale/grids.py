"""The grids that are rehearsed: a study as it is, with more values of an axis, with more seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.plan import Throughput
from pipeline.rescale.growth import axis_values, rows_of
from pipeline.rescale.tasks import is_of
from pipeline.study import Axis, Cell, Study, larger

MORE_VALUES, MORE_SEEDS = 2, 3
"""What a larger grid is rehearsed with."""


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


def grids(study: Study, throughput: Throughput, task: Mapping[str, Any] | None = None) -> list[Grid]:
    """The study as it is, then with more values on each axis that holds numbers, then with more seeds; of one of its
    tasks, where one is named.

    What is added counts as fitted, whatever the split says of it: what it would teach is the question.
    """
    names = (*study.inputs, *study.hyperparameters)
    of_task = [cell for cell in study.cells if is_of(cell.columns, task or {})]
    own = [cell for cell in of_task if study.growth or study.planned_points(cell).fitted]
    found = [_grid(study, "as it is", names, own, (), throughput)]
    for axis in study.axes:
        if more := [cell for cell in _further(study, axis) if is_of(cell.columns, task or {})]:
            title = f"{MORE_VALUES} more values of {axis.name}"
            found.append(_grid(study, title, names, own, more, throughput))
    seeds = [max(study.seeds) + 1 + k for k in range(MORE_SEEDS)]
    known = {cell.id for cell in study.cells}
    again = study.build([{**_settings(study, cell), "seed": seed} for cell in own for seed in seeds])
    unique = {cell.id: cell for cell in again if cell.id not in known}
    found.append(_grid(study, f"{MORE_SEEDS} more seeds", names, own, list(unique.values()), throughput))
    return found


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
