"""When a run is measured, and how its learning rate moves."""

from __future__ import annotations

import math


def log_spaced_steps(steps: int, *, first: int, per_doubling: int) -> tuple[int, ...]:
    """Steps from `first` to `steps`, evenly spaced in log2 with `per_doubling` a doubling; the last is always `steps`.

    The points lie on a grid anchored at `first`, so that two runs of different length share their early points.
    """
    first = min(first, steps)
    doublings = math.log2(steps / first)
    grid = (round(first * 2 ** (i / per_doubling)) for i in range(math.floor(doublings * per_doubling + 1e-9) + 1))
    return tuple(sorted({*grid, steps}))
