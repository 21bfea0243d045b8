"""Cells and a device's memory: how they are carried out there, and which are refused before anything runs.

A trainer cuts a batch into as many parts as a device asks for; a plan says which parts these will be.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from pipeline.errors import PipelineError
from pipeline.plan.devices import Device
from pipeline.plan.plan import PlannedCell
from pipeline.study import Cell, Study, show_config
from trainers import fitted

GIB = 2**30


def carried_out(study: Study, cell: Cell, device: Device) -> Cell | None:
    """The cell as its trainer carries it out with the device's memory; None where nothing makes it fit."""
    if device.holds(cell.counts.bytes):
        return cell
    trainer = study.loaded_trainer
    made = fitted(trainer, trainer.Config(**cell.config), int(device.available))
    return Cell.build(trainer, dataclasses.asdict(made)) if made is not None else None


def too_large(study: Study, planned: Sequence[PlannedCell], device: Device) -> list[PlannedCell]:
    """Cells that do not fit by themselves; none where the device's memory is not known."""
    return [one for one in planned if carried_out(study, one.cell, device) is None]


def check_memory(study: Study, planned: Sequence[PlannedCell], device: Device) -> None:
    """Raise PipelineError where a cell does not fit."""
    if large := too_large(study, planned, device):
        raise PipelineError(explain(study, large, device))


def explain(study: Study, large: Sequence[PlannedCell], device: Device) -> str:
    """Why cells do not fit, of the largest one."""
    cell = max((one.cell for one in large), key=lambda cell: cell.counts.bytes)
    in_parts = hasattr(study.loaded_trainer, "fitted")
    return (
        f"{len(large)} cells do not fit into the {device.bytes / GIB:.0f} GiB of one {device.name}: the largest "
        f"({show_config(varied(study, cell))}) needs {device.needs(cell.counts.bytes) / GIB:.0f} GiB, as counted"
        + (", and no part of its batch would fit" if in_parts else "")
        + f". Use a device with more memory, or a smaller model{'' if in_parts else ' or batch'}"
    )


def varied(study: Study, cell: Cell) -> dict:
    """What the study varies, of one cell."""
    return {name: cell.config[name] for axis in study.axes for name in axis.fields}


def in_parts(study: Study, planned: Sequence[PlannedCell], device: Device) -> list[str]:
    """How cells that are too large at once are carried out on a device: a line for every number of parts."""
    ways: Counter[str] = Counter()
    for one in planned:
        made = carried_out(study, one.cell, device)
        if made is None or made.config == one.cell.config:
            continue
        batch, parts = int(made.config.get("batch_size", 0)), int(made.config.get("accumulation", 1))
        again = ", blocks computed again" if made.config.get("checkpointing") else ""
        ways[f"train in micro-batches of {batch // parts:,} (accumulation {parts}{again})"] += 1
    return [f"{count} cells {way} to fit one {device.name}" for way, count in ways.most_common()]
