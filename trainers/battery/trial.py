"""Runs a trainer in memory, interrupts it and resumes it: what the checks share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from trainers.contract import Checkpoint, End, Point, Trainer, TrainerError

RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""How far a cell's metrics may be from those it has alone: batched products round in another order."""

Points = dict[tuple[int, int, int], Point]
"""Points by cell, step and inference steps, their seconds put to zero."""


class Recorder:
    """A context in memory: keeps checkpoints, and asks to stop after some points."""

    device = "cpu"

    def __init__(self, *, stop_after_points: int | None = None, saved: dict[int, Checkpoint] | None = None):
        self.saved: dict[int, Checkpoint] = dict(saved or {})
        self._resumed = dict(self.saved)
        self._left = stop_after_points

    def load(self, cell: int) -> Checkpoint | None:
        return self._resumed.get(cell)

    def checkpoint_due(self) -> bool:
        return False

    def save(self, cell: int, checkpoint: Checkpoint) -> None:
        self.saved[cell] = checkpoint

    def count_point(self) -> None:
        if self._left is not None:
            self._left -= 1

    def should_stop(self) -> bool:
        return self._left is not None and self._left <= 0


def run_in_memory(
    trainer: Trainer, configs: Sequence[Any], context: Recorder | None = None
) -> tuple[Points, dict[int, End]]:
    """Points and the end of each cell. Raises TrainerError where one is said twice or after a cell's end."""
    context = context or Recorder()
    points: Points = {}
    ends: dict[int, End] = {}
    for event in trainer.train(configs, context):
        if not isinstance(event, Point | End):
            raise TrainerError(f"train() yielded a {type(event).__name__}: yield trainers.Point and trainers.End")
        if event.cell in ends:
            raise TrainerError(f"cell {event.cell} goes on after its End")
        if isinstance(event, End):
            ends[event.cell] = event
            continue
        key = (event.cell, event.step, event.inference_steps)
        if key in points:
            raise TrainerError(f"cell {event.cell} was measured twice at step {event.step}")
        points[key] = dataclasses.replace(event, seconds=0.0)
        context.count_point()
    return points, ends


class SavingRecorder(Recorder):
    """Asks for a checkpoint at every occasion and keeps each beside a copy of what it held then."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Checkpoint, dict[str, Any]]] = []

    def checkpoint_due(self) -> bool:
        return True

    def save(self, cell: int, checkpoint: Checkpoint) -> None:
        super().save(cell, checkpoint)
        self.kept.append((checkpoint, {name: np.array(array) for name, array in checkpoint.arrays.items()}))


class Trial:
    """A trainer, the small configurations that it is checked with, and what their uninterrupted runs gave."""

    def __init__(self, trainer: Trainer, configs: Sequence[Any] | None = None):
        self.trainer = trainer
        self._given = configs
        self._alone: dict[int, Points] = {}

    @cached_property
    def configs(self) -> list[Any]:
        """At least two of one cohort."""
        configs = list(self._given or getattr(self.trainer, "example_configs", None) or [self.trainer.Config()])
        return configs if len(configs) > 1 else [configs[0], self.reseeded(configs[0])]

    @cached_property
    def whole(self) -> tuple[Points, dict[int, End]]:
        return run_in_memory(self.trainer, self.configs)

    def alone(self, cell: int) -> Points:
        """The points of one of the configurations when it trains by itself, as cell 0."""
        if cell not in self._alone:
            self._alone[cell], _ = run_in_memory(self.trainer, [self.configs[cell]])
        return self._alone[cell]

    @staticmethod
    def reseeded(config: Any) -> Any:
        return dataclasses.replace(config, seed=config.seed + 7)

    def points_of(self, cell: int) -> list[Point]:
        return [point for (owner, _, _), point in self.whole[0].items() if owner == cell]


def first_difference(expected: Points, found: Points, *, exact: bool) -> str | None:
    """The first point that is in one and not in the other, or a metric that differs."""
    for key in sorted(expected.keys() | found.keys()):
        cell, step, _ = key
        if key not in found or key not in expected:
            return f"only one of both has a point of cell {cell} at step {step}"
        one, other = expected[key].metrics, found[key].metrics
        for name in sorted(one.keys() | other.keys()):
            a, b = one.get(name, math.nan), other.get(name, math.nan)
            equal = a == b if exact else math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
            if not equal:
                return f"{name} of cell {cell} at step {step} is {a!r} once and {b!r} then"
    return None
