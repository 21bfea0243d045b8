"""How much of a GPU a job asks for.

Ray's fraction of a GPU is a promise, not a limit: nothing stops a job from taking more. So the memory of a shape is
measured, and then asked for. The first job of a shape that nobody has measured has a GPU to itself; once it has reached
its first point it says what it takes, and the other jobs of its shape are packed accordingly. The store remembers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from pipeline.events import Used
from pipeline.study import Cell

PROCESS_BYTES = 512 * 2**20
"""GPU memory of a process before it allocates anything: the CUDA context and its kernels."""
HEADROOM = 1.15
"""A job may grow a little after it was measured: fragmentation, a larger evaluation batch."""
FINEST_SHARE = 0.01
"""Shares are rounded up to this; Ray counts fractions of a GPU in ten-thousandths."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one cell of a shape takes."""

    bytes: int
    gpu_bytes: int


class Packing:
    """Footprints by shape, and the jobs that wait for one."""

    def __init__(self) -> None:
        self._footprints: dict[Hashable, Footprint] = {}
        self._probing: set[Hashable] = set()

    @staticmethod
    def shape(cell: Cell) -> Hashable:
        return cell.trainer, cell.version, cell.cohort_key

    def learn(self, cell: Cell, used: Used) -> None:
        """Remember the larger of what was known and what is now measured."""
        shape = self.shape(cell)
        known = self._footprints.get(shape)
        most = max(used.bytes, known.bytes if known else 0)
        self._footprints[shape] = Footprint(bytes=most, gpu_bytes=used.gpu_bytes)
        self._probing.discard(shape)

    def may_start(self, cell: Cell) -> bool:
        """False while another job of the same shape is being measured."""
        return self.shape(cell) not in self._probing

    def share(self, cells: Sequence[Cell]) -> float:
        """The part of a GPU that a cohort needs, by its shape's footprint; a whole one where it is not known yet."""
        shape = self.shape(cells[0])
        footprint = self._footprints.get(shape)
        if footprint is None:
            self._probing.add(shape)
            return 1.0
        needed = (PROCESS_BYTES + HEADROOM * footprint.bytes * len(cells)) / footprint.gpu_bytes
        return min(1.0, math.ceil(needed / FINEST_SHARE) * FINEST_SHARE)

    def grow(self, cells: Sequence[Cell], *, beyond: float) -> None:
        """Cells ran out of memory at a share of `beyond`: their shape needs at least twice of it."""
        shape = self.shape(cells[0])
        if (footprint := self._footprints.get(shape)) and self.share(cells) <= beyond:
            needed = 2 * beyond * footprint.gpu_bytes - PROCESS_BYTES
            self._footprints[shape] = replace(footprint, bytes=math.ceil(needed / HEADROOM / len(cells)))

    def forget_probe(self, cell: Cell) -> None:
        """The job that was to be measured is over without having said anything: let the next one try."""
        self._probing.discard(self.shape(cell))
