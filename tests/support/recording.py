"""Runs a trainer in memory, interrupts it and resumes it: what tests of trainers share."""

from __future__ import annotations

import dataclasses

from trainers import Checkpoint, End, Point, Trainer


class Recorder:
    """A context that keeps checkpoints in memory and stops when told."""

    device = "cpu"

    def __init__(self, *, stop_after_points: int | None = None, saved: dict[int, Checkpoint] | None = None):
        self.saved: dict[int, Checkpoint] = dict(saved or {})
        self._left = stop_after_points
        self._resumed = dict(self.saved)

    def load(self, cell):
        return self._resumed.get(cell)

    def checkpoint_due(self):
        return False

    def save(self, cell, checkpoint):
        self.saved[cell] = checkpoint

    def count_point(self):
        if self._left is not None:
            self._left -= 1

    def should_stop(self):
        return self._left is not None and self._left <= 0


def run(trainer: Trainer, configs, context: Recorder | None = None) -> tuple[dict, dict[int, End]]:
    """Points by (cell, step, inference steps) without their seconds, and the end of each cell."""
    context = context or Recorder()
    points, ends = {}, {}
    for event in trainer.train(configs, context):
        if isinstance(event, Point):
            key = (event.cell, event.step, event.inference_steps)
            assert key not in points, f"{key} measured twice"
            assert event.cell not in ends, "a point after its cell's end"
            points[key] = dataclasses.replace(event, seconds=0.0)
            context.count_point()
        else:
            assert event.cell not in ends, "a cell ended twice"
            ends[event.cell] = event
    return points, ends
