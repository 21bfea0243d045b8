r"""A trunk at a constant rate and the branches that leave it, each annealed to its own length.

    trunk     0 ------ B1 -------- B2 ------------- B3          Bn = branch_start(Ln)
    branches            \__ L1     \___ L2          \_____ L3   a point at the end of each, and nowhere else

Where a branch begins the state of the trunk is set aside, and taken up again when the branch has been measured. With a
decay over a fifth of each length and two lengths a doubling, a run costs 1.5 times its longest branch; the same lengths
one by one would cost 3.4 times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainers.contract import Checkpoint
from trainers.loop.schedules import branch_start

STANDING = ("branch/step", "branch/length", "branch/trunk_step")
"""Arrays of a checkpoint, one number each: the step, the length of the branch (0 on the trunk), and where it began."""
TRUNK = "trunk/"
"""Before the name of an array of the trunk's state, which a checkpoint has while a branch is away from it."""


class Branches:
    """Where cells that anneal together stand: on their trunk, or on the branch to one length."""

    def __init__(self, config: Any, lengths: Sequence[int]):
        """`lengths` rise, and the last is that of the run."""
        self._starts = {length: branch_start(config, length) for length in lengths}
        self.length: int | None = None
        """The length that the current branch leads to; None on the trunk."""
        self._trunk: list[dict[str, Any]] = []
        """The trunk's tensors by name, a row a cell, while a branch is away from it."""
        self._trunk_step = 0

    def steer(self, step: int, live: Callable[[], Sequence[Mapping[str, Any]]]) -> int:
        """Between two steps: go back to the trunk from a branch that has been measured, leave it where one begins.

        `live` gives the tensors of every cell, which are written to. The step that they are then at is returned.
        """
        if self.length is not None and step < self.length:
            return step
        if self.length is None:
            ahead = [length for length, start in self._starts.items() if start >= step]
        else:
            ahead = [length for length in self._starts if length > self.length]
            step = self._trunk_step
            _copy(self._trunk, live())
        if self._starts[ahead[0]] > step:
            self.length, self._trunk = None, []
        else:
            if self.length is None:
                self._trunk = [{name: tensor.detach().clone() for name, tensor in state.items()} for state in live()]
            self.length, self._trunk_step = ahead[0], step
        return step

    def reached(self, step: int) -> int:
        """The length up to which a run that stands at a step is known: what is measured next is longer."""
        if self.length is None:
            measured = [length for length, start in self._starts.items() if start < step]
        else:
            measured = [length for length in self._starts if length < self.length]
        return max([step, *measured])

    def arrays(self, row: int, step: int) -> dict[str, np.ndarray]:
        """What the checkpoint of a cell holds beside the state at `step`: where it stands, and the trunk."""
        standing = (step, self.length or 0, self._trunk_step)
        trunk = self._trunk[row] if self._trunk else {}
        return {name: np.array(number) for name, number in zip(STANDING, standing, strict=True)} | {
            TRUNK + name: tensor.cpu().numpy().copy() for name, tensor in trunk.items()
        }

    def restore(self, checkpoints: Sequence[Checkpoint], states: Sequence[Mapping[str, Any]]) -> int:
        """Stand where the checkpoints of every cell do, all at one place: the step that they are at is returned."""
        import torch

        step, length, self._trunk_step = standing(checkpoints[0])
        self.length = length or None
        if self.length is not None:
            self._trunk = [{name: torch.empty_like(tensor) for name, tensor in state.items()} for state in states]
            saved = [
                {name: torch.from_numpy(checkpoint.arrays[TRUNK + name]) for name in state}
                for checkpoint, state in zip(checkpoints, states, strict=True)
            ]
            _copy(saved, self._trunk)
        return step


def standing(checkpoint: Checkpoint | None) -> tuple[int, int, int]:
    """The numbers of `STANDING`; those of a trunk at the checkpoint's step where it has none."""
    if checkpoint is None or STANDING[0] not in checkpoint.arrays:
        return (checkpoint.step if checkpoint else 0, 0, 0)
    return tuple(int(checkpoint.arrays[name]) for name in STANDING)


def _copy(source: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]]) -> None:
    import torch

    with torch.no_grad():
        for one, other in zip(source, target, strict=True):
            for name, tensor in other.items():
                tensor.copy_(one[name])
