"""What a cell will cost: seconds from measured throughput, and how cells are gathered into jobs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.plan.devices import CPU, REFERENCE, Device
from pipeline.study import Cell

LONGEST_JOB_SHARE = 1 / 4
"""The most of a worker's part of the work that one job is predicted to take: longer ones leave other workers idle."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one finished cell took."""

    flops_per_step: float
    steps: int
    """Those of branches included."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Seconds a step = overhead + FLOPs a step / rate, on one worker's device."""

    overhead: float
    """Seconds a step that do not depend on the model's size."""
    rate: float
    """FLOPs a second."""
    cells: int
    """How many finished cells this was fitted to; 0 means it is assumed, not measured."""

    @classmethod
    def assumed(cls, device: Device) -> Throughput:
        """By the device's peak and the share of it that is to be expected; that of another for one of no known peak."""
        known = device if device.peak else REFERENCE
        return cls(overhead=known.step_seconds, rate=known.peak * known.utilisation, cells=0)

    @classmethod
    def fit(cls, timings: Iterable[Timing], device: Device = CPU) -> Throughput:
        """Least squares on relative errors with both terms at least zero; the assumption where nothing was measured."""
        rows = [m for m in timings if m.seconds > 0 and m.steps > 0]
        if not rows:
            return cls.assumed(device)
        flops = np.array([m.flops_per_step for m in rows])
        seconds = np.array([m.seconds / m.steps for m in rows])
        design = np.stack([np.ones_like(flops), flops], axis=1) / seconds[:, None]
        both, *_ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)
        if (both > 0).all():
            overhead, per_flop = both
        else:
            # One of the terms does not show: keep the one that explains the measurements better alone.
            alone = design.sum(0) / (design**2).sum(0)
            errors = ((design * alone - 1) ** 2).sum(0)
            overhead, per_flop = (alone[0], 0.0) if errors[0] <= errors[1] else (0.0, alone[1])
        rate = 1 / per_flop if per_flop > 0 else np.inf
        return cls(overhead=float(overhead), rate=float(rate), cells=len(rows))

    def seconds(self, cell: Cell) -> float:
        """Predicted seconds of a whole cell on one worker."""
        return cell.counts.steps_taken * (self.overhead + cell.counts.flops_per_step / self.rate)


def gather(
    cells: Sequence[Cell], throughput: Throughput, *, cohort_size: int, workers: int, device: Device = CPU
) -> list[tuple[Cell, ...]]:
    """Cells of equal cohort key in cohorts, longest predicted first, none so long that other workers wait for it, and
    none that is counted to need more than the device's memory."""
    longest = sum(map(throughput.seconds, cells)) / max(workers, 1) * LONGEST_JOB_SHARE
    by_shape = defaultdict(list)
    for cell in cells:
        by_shape[cell.trainer, cell.cohort_key].append(cell)
    cohorts = []
    for alike in by_shape.values():
        fitting = int(longest / throughput.seconds(alike[0]))
        size = max(1, min(cohort_size, fitting))
        while size > 1 and not device.holds(alike[0].counts.bytes, size):
            size -= 1
        cohorts += [tuple(alike[start : start + size]) for start in range(0, len(alike), size)]
    return sorted(cohorts, key=lambda cohort: -sum(map(throughput.seconds, cohort)))
