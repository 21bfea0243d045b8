"""What benchmarks of training are timed with, and what a GPU could reach."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 products a second, by the maker's data sheets."""
WARM_UP, REPEATS = 3, 3


class Clock:
    """Seconds of a piece of work: on a GPU until it has finished, on a CPU its CPU time."""

    def __init__(self, device: str):
        self.cuda = device.startswith("cuda")

    def now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def per_call(self, work: Callable[[], object], calls: int) -> float:
        """Seconds a call, of the fastest of several runs: the others waited for something else."""
        for _ in range(WARM_UP):
            work()
        best = float("inf")
        for _ in range(REPEATS):
            began = self.now()
            for _ in range(calls):
                work()
            best = min(best, (self.now() - began) / calls)
        return best
