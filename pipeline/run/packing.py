"""How much of a GPU a job asks for.

Ray's fraction of a GPU is a promise, not a limit: nothing stops a job from taking more. So the memory of a shape is
measured, and then asked for: once for each type of GPU, as types differ in their memory and in what their libraries
take of it. The first job of a shape that nobody has measured on any type at hand has a GPU to itself; once it has
reached its first point it says what it takes, and the other jobs of its shape are packed accordingly. The store
remembers, since every cell in it names its GPU's type.

Nobody knows beforehand on which GPU Ray will put a job. Where several types are at hand, a job asks for the largest
share that any of them needs; on a type that is not measured yet it is taken to need the bytes that another one did.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

from pipeline.plan import PROCESS_BYTES
from pipeline.store import Used
from pipeline.study import Cell
from trainers import HEADROOM

FINEST_SHARE = 0.01
"""Shares are rounded up to this; Ray counts fractions of a GPU in ten-thousandths."""


class Packing:
    """Footprints by shape and type of GPU, and the shapes that wait for one."""

    def __init__(self) -> None:
        self._bytes: dict[Hashable, dict[str, int]] = {}
        """What one cell takes: by its shape, then by the type of GPU."""
        self._sizes: dict[str, int] = {}
        """Memory of every type of GPU that was ever heard of."""
        self._at_hand: set[str] = set()
        """Types among today's workers; empty where nobody can tell, and then any type may be at hand."""
        self._heard: set[str] = set()
        """Types that today's jobs named, should the executor know them by other names or not yet."""
        self._probing: set[Hashable] = set()
        self._mute: set[Hashable] = set()
        """Shapes whose jobs ended without a word on what they take: each has a GPU to itself."""
        self._memory: dict[Hashable, int] = {}
        """Main memory of a process, by the shape that it trains; of this run alone."""

    @staticmethod
    def shape(cell: Cell) -> Hashable:
        return cell.trainer, cell.version, cell.cohort_key

    def look(self, gpus: Mapping[str, int]) -> None:
        """Take note of the workers' types of GPU, each with its memory. Called again when they may have changed."""
        self._sizes = {**gpus, **self._sizes}  # A job's own word on its GPU's memory counts more.
        self._at_hand = set(gpus)

    def learn(self, cell: Cell, used: Used) -> None:
        """Remember the larger of what was known and what is now measured."""
        shape = self.shape(cell)
        known = self._bytes.setdefault(shape, {})
        known[used.gpu] = max(used.bytes, known.get(used.gpu, 0))
        self._sizes[used.gpu] = used.gpu_bytes
        self._probing.discard(shape)

    def hear(self, cell: Cell, used: Used) -> None:
        """Learn from a job of today: its type of GPU is at hand."""
        self._heard.add(used.gpu)
        self.learn(cell, used)

    def hear_memory(self, cell: Cell, bytes: int) -> None:
        """Remember the most main memory that a process took while it trained this shape."""
        shape = self.shape(cell)
        self._memory[shape] = max(bytes, self._memory.get(shape, 0))

    def memory(self, cell: Cell) -> int:
        """Main memory that a job of this shape will need, in bytes; 0 until one was measured."""
        return math.ceil(HEADROOM * self._memory.get(self.shape(cell), 0))

    def may_start(self, cell: Cell) -> bool:
        """False while another job of the same shape is being measured."""
        return self.shape(cell) not in self._probing

    def share(self, cells: Sequence[Cell]) -> float:
        """The part of a GPU that a cohort needs, by its shape's footprint; a whole one where it is not known yet."""
        shape = self.shape(cells[0])
        expected = self._expected(shape)
        if not expected:
            if shape not in self._mute:
                self._probing.add(shape)
            return 1.0
        return max(self._part(gpu, size, len(cells)) for gpu, size in expected.items())

    def grow(self, cells: Sequence[Cell], *, beyond: float) -> None:
        """Cells ran out of memory at a share of `beyond`: their shape needs at least twice of it, wherever it was."""
        shape = self.shape(cells[0])
        for gpu, size in self._expected(shape).items():
            if self._part(gpu, size, len(cells)) <= beyond:
                needed = 2 * beyond * self._sizes[gpu] - PROCESS_BYTES
                self._bytes[shape][gpu] = math.ceil(needed / HEADROOM / len(cells))

    def forget_probe(self, cell: Cell, *, ended: bool = False) -> None:
        """The job that was to be measured is over. If it `ended` by itself and said nothing, no other will."""
        if (shape := self.shape(cell)) in self._probing:
            self._probing.discard(shape)
            self._mute |= {shape} if ended else set()

    def _expected(self, shape: Hashable) -> dict[str, int]:
        """Bytes of a cell on every type of GPU at hand; nothing where it was measured on none of them."""
        known = self._bytes.get(shape, {})
        types = self._at_hand | self._heard if self._at_hand else set(known)
        measured = [known[gpu] for gpu in types if gpu in known]
        return {gpu: known.get(gpu, max(measured)) for gpu in sorted(types)} if measured else {}

    def _part(self, gpu: str, bytes: int, cells: int) -> float:
        needed = (PROCESS_BYTES + HEADROOM * bytes * cells) / self._sizes[gpu]
        return min(1.0, math.ceil(needed / FINEST_SHARE) * FINEST_SHARE)
