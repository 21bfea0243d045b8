"""Checkpoints of cells: small sets of plain arrays, read without unpickling.

A checkpoint carries the points that led to it. Whoever resumes a cell first repeats those points, so that none is lost
when the driver died before it had written them; the store keeps one of each.

Workers write these files themselves, each below its own cell's folder: they are too large to pass through the driver.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Sequence

import numpy as np

from pipeline.store import Folder
from trainers import Checkpoint, Point

KEPT = 2
"""The newest and one more, in case the newest is damaged."""
HEADER = "unsl"
"""Name of the array that holds step, seconds and points as JSON text."""


def save_checkpoint(folder: Folder, checkpoint: Checkpoint, points: Sequence[Point]) -> None:
    """Write one checkpoint into a cell's folder and drop all but the newest `KEPT`."""
    header = {
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "points": [dataclasses.asdict(point) for point in points],
    }
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{HEADER: text}, **checkpoint.arrays)
    folder.write(f"{checkpoint.step:012d}.npz", buffer.getvalue())
    folder.remove(*folder.names(ending=".npz")[:-KEPT])


def load_checkpoint(folder: Folder) -> tuple[Checkpoint, list[Point]] | None:
    """The newest checkpoint that can be read whole, with its points; None where there is none."""
    for name in reversed(folder.names(ending=".npz")):
        try:
            with np.load(io.BytesIO(folder.read(name)), allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
            header = json.loads(arrays.pop(HEADER).tobytes())
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            continue
        checkpoint = Checkpoint(step=header["step"], seconds=header["seconds"], arrays=arrays)
        return checkpoint, [Point(**point) for point in header["points"]]
    return None
