"""The training loop: the clock, points and ends, stopping and checkpoints, the same for whatever is trained.

A cohort is cells that train together; a cell that trains alone is a cohort of one, so that there is one code path. A
domain says what a step is, what is measured and which tensors a cell's future depends on.
"""

from __future__ import annotations

import abc
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from trainers.contract import Checkpoint, Context, End, Ending, Point, Trainer, TrainerError
from trainers.loop.branches import Branches, standing
from trainers.loop.ranks import group_here, together_with_others


class Interrupted(Exception):
    """A step was given up half way, since the run must end soon: for domains whose steps take long.

    It carries the state before that step, a checkpoint by row; a row without one has not begun.
    """

    def __init__(self, checkpoints: Mapping[int, Checkpoint]):
        super().__init__("the run was asked to end within a step")
        self.checkpoints = checkpoints


class Cohort(abc.ABC):
    """Cells at one step. A domain adds `update`, `measure` and `state`."""

    check_interval = 1
    """Steps between two questions to the context and the clock; after a measurement they are always asked."""

    def __init__(self, trainer: Trainer, configs: Sequence[Any], cells: Sequence[int], device: str):
        """`cells` are indices of `configs`; `device` is as torch names it."""
        self.cells, self.configs = list(cells), [configs[cell] for cell in cells]
        self.config = self.configs[0]
        """What all cells share is read from the first."""
        self.flops_per_step = trainer.count(self.config).flops_per_step
        steps = trainer.evaluation_steps(self.config)
        self.evaluation_steps = frozenset(steps)
        annealing = getattr(self.config, "schedule", None) == "anneal"
        self.branches = Branches(self.config, steps) if annealing else None
        """Where an annealing run stands; None of a run that has no branches."""
        self.device, self.on_gpu = device, device.startswith("cuda")
        self.group = group_here()
        """The processes that train this cohort, most often this one alone."""
        self.should_stop: Callable[[], bool] = lambda: False
        """The context's question, for domains that ask within a step."""
        self.step, self.seconds = 0, [0.0] * len(cells)
        self.alive = [True] * len(cells)

    @abc.abstractmethod
    def update(self) -> None:
        """One optimiser step of every cell, the one after `self.step` finished ones. May raise `Interrupted`."""

    @abc.abstractmethod
    def measure(self) -> Mapping[int, Mapping[str, Sequence[float]]]:
        """Inference steps to metric to a value a cell. Training state is not touched. May raise `Interrupted`."""

    @abc.abstractmethod
    def state(self, row: int) -> Mapping[str, Any]:
        """The tensors, by name, that with the step decide how a cell goes on: writing to them restores it."""

    @property
    def branch(self) -> int | None:
        """The length of the branch that the next step is one of, if it is."""
        return self.branches.length if self.branches else None

    @property
    def stride(self) -> int:
        """Steps that the next update takes: 1, or more where nothing happens between two measurements."""
        return 1

    def has_diverged(self, row: int) -> bool:
        """Whether a cell is known to be lost before it is measured. One with a metric that is not finite always is."""
        return False

    def close(self) -> None:  # noqa: B027 (most cohorts have nothing to free)
        """Free what the cohort holds beside memory."""

    def go_to(self, step: int) -> None:
        """Be at a step whose state has just been written to the tensors."""
        self.step = step

    def arrays(self, row: int) -> dict[str, np.ndarray]:
        """What the checkpoint of the cell in `row` holds: copies, which later steps leave alone."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.state(row).items()}

    def restore(self, checkpoints: Sequence[Checkpoint | None]) -> None:
        """Go on where checkpoints ended, one for every configuration and all of this cohort's at one step."""
        for row, cell in enumerate(self.cells):
            if (checkpoint := checkpoints[cell]) is None:
                continue
            self.seconds[row] = checkpoint.seconds
            if tensors := self.state(row):
                import torch

                with torch.no_grad():
                    for name, tensor in tensors.items():
                        tensor.copy_(torch.from_numpy(checkpoint.arrays[name]))
            self.go_to(checkpoint.step)
        begun = [checkpoints[cell] for cell in self.cells if checkpoints[cell] is not None]
        if self.branches and begun:
            self.go_to(self.branches.restore(begun, self._states()))

    def checkpoint(self, row: int) -> Checkpoint:
        """The state of the cell in `row` after `self.step` steps."""
        arrays, step = self.arrays(row), self.step
        if self.branches:
            arrays, step = arrays | self.branches.arrays(row, step), self.branches.reached(step)
        return Checkpoint(step=step, seconds=self.seconds[row], arrays=arrays)

    def _states(self) -> list[Mapping[str, Any]]:
        return [self.state(row) for row in range(len(self.cells))]

    def run(self, context: Context) -> Iterator[Point | End]:
        """Train to the end, or to where the context asks to stop."""
        self.should_stop = context.should_stop
        began = time.perf_counter()
        while self.step < self.config.steps and any(self.alive):
            try:
                if self.branches and (step := self.branches.steer(self.step, self._states)) != self.step:
                    self.go_to(step)
                stride = self.stride
                self.update()
                self.step += stride
                # Branches pass by each other's lengths.
                evaluating = self.step == self.branch if self.branches else self.step in self.evaluation_steps
                if not evaluating and self.step % self.check_interval:
                    continue
                yield from self._end_diverged()
                measured = self.measure() if evaluating and any(self.alive) else {}
            except Interrupted as interrupted:
                self._share_seconds_since(began)
                for row, checkpoint in interrupted.checkpoints.items():
                    context.save(self.cells[row], replace(checkpoint, seconds=self.seconds[row]))
                return
            self._share_seconds_since(began)
            yield from self._points(measured)
            stopping = self.step < self.config.steps and context.should_stop()
            if (stopping or context.checkpoint_due()) and self.group.first:
                for row, cell in enumerate(self.cells):
                    if self.alive[row]:
                        context.save(cell, self.checkpoint(row))
            if stopping:
                return
            began = time.perf_counter()
        for row, cell in enumerate(self.cells):
            if self.alive[row]:
                yield End(cell=cell, step=self.step)

    def _share_seconds_since(self, began: float) -> None:
        share = self.group.count * (time.perf_counter() - began) / max(1, sum(self.alive))
        self.seconds = [s + share * alive for s, alive in zip(self.seconds, self.alive, strict=True)]

    def _end_diverged(self) -> Iterator[End]:
        for row in range(len(self.cells)):
            if self.alive[row] and self.has_diverged(row):
                yield self._diverged(row)

    def _diverged(self, row: int) -> End:
        self.alive[row] = False
        return End(cell=self.cells[row], step=self.step, ending=Ending.DIVERGED)

    def _points(self, measured: Mapping[int, Mapping[str, Sequence[float]]]) -> Iterator[Point | End]:
        for row, cell in enumerate(self.cells):
            if not self.alive[row]:
                continue
            if not all(math.isfinite(values[row]) for metrics in measured.values() for values in metrics.values()):
                yield self._diverged(row)
                continue
            for inference_steps, metrics in measured.items():
                yield Point(
                    cell=cell,
                    step=self.step,
                    metrics={name: values[row] for name, values in metrics.items()},
                    examples=self.step * self.config.batch_size,
                    flops=self.step * self.flops_per_step,
                    seconds=self.seconds[row],
                    inference_steps=inference_steps,
                )


def train_cohorts(
    kind: type[Cohort], trainer: Trainer, configs: Sequence[Any], context: Context, *, together: bool
) -> Iterator[Point | End]:
    """Train configurations of one shape as cohorts of a kind: those at the same step together, or each by itself.

    Raises TrainerError for cells that cannot be trained when the others are done, which must not suffer from them.
    Where the context has `ranks`, the processes that they are train each cohort together.
    """
    with together_with_others(context) as context:
        yield from _train_cohorts(kind, trainer, configs, context, together=together)


def _train_cohorts(
    kind: type[Cohort], trainer: Trainer, configs: Sequence[Any], context: Context, *, together: bool
) -> Iterator[Point | End]:
    checkpoints = [context.load(cell) for cell in range(len(configs))]
    stand = [standing(checkpoint) for checkpoint in checkpoints]

    def group(cell: int):
        return stand[cell] if together else cell

    refused = []
    for _, cells in groupby(sorted(range(len(configs)), key=group), key=group):
        if context.should_stop():
            return
        cohort, refusal = None, ""
        try:
            cohort = kind(trainer, configs, list(cells), context.device)
            cohort.restore(checkpoints)
        except TrainerError as error:
            refusal = str(error)
        if refusals := list(filter(None, group_here().all_said(refusal))):
            refused += refusals
            del cohort
            continue
        with contextlib.closing(cohort):
            yield from cohort.run(context)
        del cohort  # before the next one asks for memory
    if refused:
        raise TrainerError("; ".join(dict.fromkeys(refused)))
