"""Checkpoints of cells: small sets of plain arrays, read without unpickling.

A checkpoint carries the points that led to it. Whoever resumes a cell first repeats those points, so that none is lost
when the driver died before it had written them; the store keeps one of each.

    STORE/STUDY/checkpoints/CELL/e00000003-000017-000000000512.npz    by the 17th job of the third driver, at step 512

Workers write these files themselves, each below its own cell's folder: they are too large to pass through the driver.
Their order is the order of writing, not that of steps: a job that had to begin anew keeps what it saves, although the
damaged checkpoints that it found lie further on. A job that was given up and does not know removes nothing of its
successor's.
"""

from __future__ import annotations

import dataclasses
import io
import json
import sys
import time
import zipfile
from collections.abc import Sequence

import numpy as np

from pipeline.store import Folder
from trainers import Checkpoint, Point

KEPT = 2
"""The newest and one more, in case the newest is damaged."""
ENDING = ".npz"
HEADER = "unsl"
"""Name of the array that holds step, seconds and points as JSON text."""
TRIES = 3
PAUSE_SECONDS = 1.0
"""Between tries to read a checkpoint that a disk or a network does not give: what lasts longer is left to another
worker."""


class CheckpointsUnreachable(OSError):
    """There are checkpoints, and they cannot be read now. To begin anew would throw away work that is there."""


class Checkpoints:
    """The checkpoints of one cell, as one job reads and writes them."""

    def __init__(self, folder: Folder, series: str):
        self._folder, self._series = folder, series
        self._damaged: set[str] = set()

    def load(self) -> tuple[Checkpoint, list[Point]] | None:
        """The newest that is sound, with its points; None where there is none. Raises CheckpointsUnreachable."""
        for name in reversed(self._ask(lambda: self._folder.names(ending=ENDING))):
            try:
                return _from_bytes(self._ask(lambda name=name: self._folder.read(name)))
            except FileNotFoundError:
                continue  # An earlier worker, still alive, has removed it since it was listed.
            except (EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
                self._damaged.add(name)
                print(f"the checkpoint {self._folder.path(name)} is damaged and is not used: {error}", file=sys.stderr)
        return None

    def save(self, checkpoint: Checkpoint, points: Sequence[Point]) -> None:
        """Write one and drop those that it makes superfluous. Raises OSError."""
        mine = f"{self._series}-{checkpoint.step:012d}{ENDING}"
        self._folder.write(mine, _to_bytes(checkpoint, points))
        there = self._folder.names(ending=ENDING)
        sound = [name for name in there if name not in self._damaged]
        self._folder.remove(*set(there).difference(sound[-KEPT:]))

    def _ask(self, request):
        for number in range(1, TRIES + 1):
            try:
                return request()
            except FileNotFoundError:
                raise
            except OSError as error:
                if number == TRIES:
                    raise CheckpointsUnreachable(f"checkpoints in {self._folder.path()}: {error}") from error
                time.sleep(PAUSE_SECONDS)


def _to_bytes(checkpoint: Checkpoint, points: Sequence[Point]) -> bytes:
    header = {
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "points": [dataclasses.asdict(point) for point in points],
    }
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{HEADER: text}, **checkpoint.arrays)
    return buffer.getvalue()


def _from_bytes(data: bytes) -> tuple[Checkpoint, list[Point]]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    header = json.loads(arrays.pop(HEADER).tobytes())
    checkpoint = Checkpoint(step=header["step"], seconds=header["seconds"], arrays=arrays)
    return checkpoint, [Point(**point) for point in header["points"]]
