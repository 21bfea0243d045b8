"""Cells that a device's memory cannot hold: refused before anything runs, with what would make them fit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from pipeline.errors import PipelineError
from pipeline.plan.devices import Device
from pipeline.plan.plan import PlannedCell
from pipeline.study import Cell, Study, show_config
from trainers import TrainerError

SPLITS = tuple(2**power for power in range(1, 13))
"""Parts of a batch that are tried: a batch in 4,096 parts is one example or a few tokens each."""
GIB = 2**30


def too_large(planned: Sequence[PlannedCell], device: Device) -> list[PlannedCell]:
    """Cells that do not fit by themselves; none where the device's memory is not known."""
    return [one for one in planned if not device.holds(one.cell.counts.bytes)]


def check_memory(study: Study, planned: Sequence[PlannedCell], device: Device) -> None:
    """Raise PipelineError where a cell does not fit; the message says what would."""
    if large := too_large(planned, device):
        raise PipelineError(explain(study, large, device))


def explain(study: Study, large: Sequence[PlannedCell], device: Device) -> str:
    """Why cells do not fit and what would make them, of the largest one."""
    cell = max((one.cell for one in large), key=lambda cell: cell.counts.bytes)
    varied = {name: cell.config[name] for axis in study.axes for name in axis.fields}
    return (
        f"{len(large)} cells do not fit into the {device.bytes / GIB:.0f} GiB of one {device.name}: the largest "
        f"({show_config(varied)}) needs {device.needs(cell.counts.bytes) / GIB:.0f} GiB, as counted. "
        + _remedy(study, cell, device)
    )


def _remedy(study: Study, cell: Cell, device: Device) -> str:
    if "accumulation" in cell.config:
        batch, now = int(cell.config.get("batch_size", 0)), int(cell.config["accumulation"])
        for parts in SPLITS:
            if parts <= now or not batch or batch % parts:
                continue
            with suppress(TrainerError):
                split = Cell.build(study.loaded_trainer, {**cell.config, "accumulation": parts})
                if device.holds(split.counts.bytes):
                    return f"A micro-batch of {batch // parts} would fit: accumulation {parts} instead of {now}"
        return "No micro-batch would fit: use a device with more memory, or a smaller model"
    return "Use a device with more memory, or a smaller model or batch"
