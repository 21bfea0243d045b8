"""The training loop that trainers share, whatever they train: the clock, points and ends, stopping and checkpoints.

A cohort is cells that train together; a cell that trains alone is a cohort of one, so that there is one code path. A
domain says what a step is, what is measured and which tensors a cell's future depends on.
"""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from trainers.contract import Checkpoint, Context, End, Ending, Point, Trainer, TrainerError


class Cohort(abc.ABC):
    """Cells at one step. A domain adds `update`, `measure` and `state`."""

    block = 1
    """Steps between looks at the clock and the stop signal; after a measurement there is always one."""

    def __init__(self, trainer: Trainer, configs: Sequence[Any], cells: Sequence[int], device: str):
        """`cells` are indices of `configs`; `device` is as torch names it."""
        import torch

        self.cells, self.configs = list(cells), [configs[cell] for cell in cells]
        self.one = self.configs[0]
        """What all cells share is read from the first."""
        self.flops_per_step = trainer.count(self.one).flops_per_step
        self.evaluations = frozenset(trainer.evaluation_steps(self.one))
        self.device = torch.device(device)
        self.step, self.seconds = 0, [0.0] * len(cells)
        self.alive = [True] * len(cells)

    @abc.abstractmethod
    def update(self) -> None:
        """One optimiser step of every cell, the one after `self.step` finished steps."""

    @abc.abstractmethod
    def measure(self) -> Mapping[int, Mapping[str, Sequence[float]]]:
        """Inference steps to metric to a value a cell. Training state is not touched."""

    @abc.abstractmethod
    def state(self, row: int) -> Mapping[str, Any]:
        """The tensors, by name, that with the step decide how a cell goes on: writing to them restores it."""

    def arrays(self, row: int) -> dict[str, np.ndarray]:
        """What the checkpoint of the cell in `row` holds: copies, which later steps leave alone."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.state(row).items()}

    def restore(self, checkpoints: Sequence[Checkpoint | None]) -> None:
        """Go on where checkpoints ended, one for every configuration and all of this cohort's at one step."""
        import torch

        for row, cell in enumerate(self.cells):
            if (checkpoint := checkpoints[cell]) is None:
                continue
            self.step, self.seconds[row] = checkpoint.step, checkpoint.seconds
            with torch.no_grad():
                for name, tensor in self.state(row).items():
                    tensor.copy_(torch.from_numpy(checkpoint.arrays[name]))

    def save(self, context: Context) -> None:
        for row, cell in enumerate(self.cells):
            if self.alive[row]:
                context.save(cell, Checkpoint(step=self.step, seconds=self.seconds[row], arrays=self.arrays(row)))

    def run(self, context: Context) -> Iterator[Point | End]:
        """Train to the end, or to where the context asks to stop."""
        began = time.perf_counter()
        while self.step < self.one.steps and any(self.alive):
            self.update()
            self.step += 1
            evaluating = self.step in self.evaluations
            if not evaluating and self.step % self.block:
                continue
            measured = self.measure() if evaluating else None
            share = (time.perf_counter() - began) / sum(self.alive)
            self.seconds = [s + share * alive for s, alive in zip(self.seconds, self.alive, strict=True)]
            if measured:
                yield from self._points(measured)
            stopping = self.step < self.one.steps and context.should_stop()
            if stopping or context.checkpoint_due():
                self.save(context)
            if stopping:
                return
            began = time.perf_counter()
        for row, cell in enumerate(self.cells):
            if self.alive[row]:
                yield End(cell=cell, step=self.step)

    def _points(self, measured: Mapping[int, Mapping[str, Sequence[float]]]) -> Iterator[Point | End]:
        for row, cell in enumerate(self.cells):
            if not self.alive[row]:
                continue
            if not all(math.isfinite(values[row]) for values in measured[1].values()):
                self.alive[row] = False
                yield End(cell=cell, step=self.step, ending=Ending.DIVERGED)
                continue
            for inference_steps, metrics in measured.items():
                yield Point(
                    cell=cell,
                    step=self.step,
                    metrics={name: values[row] for name, values in metrics.items()},
                    examples=self.step * self.one.batch_size,
                    flops=self.step * self.flops_per_step,
                    seconds=self.seconds[row],
                    inference_steps=inference_steps,
                )


def train_cohorts(
    kind: type[Cohort], trainer: Trainer, configs: Sequence[Any], context: Context, *, together: bool
) -> Iterator[Point | End]:
    """Train configurations of one shape as cohorts of a kind: those at the same step together, or each by itself.

    Raises TrainerError for cells that cannot be trained when the others are done, which must not suffer from them.
    """
    checkpoints = [context.load(cell) for cell in range(len(configs))]
    steps = [checkpoint.step if checkpoint else 0 for checkpoint in checkpoints]

    def group(cell: int) -> int:
        return steps[cell] if together else cell

    refused = []
    for _, cells in groupby(sorted(range(len(configs)), key=group), key=group):
        if context.should_stop():
            return
        try:
            cohort = kind(trainer, configs, list(cells), context.device)
            cohort.restore(checkpoints)
        except TrainerError as error:
            refused.append(str(error))
            continue
        yield from cohort.run(context)
        del cohort  # before the next one asks for memory
    if refused:
        raise TrainerError("; ".join(dict.fromkeys(refused)))
