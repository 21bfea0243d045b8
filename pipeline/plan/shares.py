"""Cells that are to be spread over several devices: whether their batches can be shared out."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.errors import PipelineError
from pipeline.plan.plan import PlannedCell
from pipeline.study import AUTO, Study, show_config
from trainers import spreads


def check_even(study: Study, planned: Iterable[PlannedCell], devices: int | str) -> None:
    """Raise PipelineError where a cell cannot be trained on so many devices at once; `auto` finds its own number."""
    if devices in (AUTO, 1):
        return
    trainer = study.loaded_trainer
    if not hasattr(trainer, "batch_parts"):
        raise PipelineError(
            f"{devices} devices a cell are asked for, and trainer '{trainer.name}' trains a cell on one: leave that out"
        )
    for one in planned:
        if not spreads(trainer, config := trainer.Config(**one.cell.config), devices):
            varied = {name: one.cell.config[name] for axis in study.axes for name in axis.fields}
            raise PipelineError(
                f"{devices} devices cannot share out the batch of the cell with {show_config(varied)} evenly: its "
                f"{trainer.batch_parts(config)} parts are no multiple of {devices}"
            )
