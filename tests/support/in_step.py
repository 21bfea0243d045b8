"""A trainer without a framework whose cells can be spread over processes, and that can go wrong in one of them.

`trouble` is `none`, or what happens in the second process at step 2: `killed`, `raises`, `full` or `hangs`. The first
then waits for it, as a process does whose sum of gradients is not complete.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainers import Context, Counts, End, Point


@dataclass(frozen=True, kw_only=True)
class InStepConfig:
    """A run that measures at every step."""

    trouble: str = "none"
    """See the module's docstring."""
    batch_size: int = 4
    """Examples a step."""
    steps: int = 3
    """Steps."""
    pause: float = 0.05
    """Seconds of a step."""
    seed: int = 0
    """Seed of nothing."""


class InStep:
    """See the module's docstring."""

    name = "in_step"
    version = 1
    Config = InStepConfig

    def count(self, config: InStepConfig) -> Counts:
        return Counts(parameters=1, parameters_without_embeddings=1, flops_per_step=1e6, steps=config.steps, bytes=4)

    def batch_parts(self, config: InStepConfig) -> int:
        return config.batch_size

    def evaluation_steps(self, config: InStepConfig) -> tuple[int, ...]:
        return tuple(range(1, config.steps + 1))

    def cohort_key(self, config: InStepConfig) -> int:
        return config.steps

    def train(self, configs: Sequence[InStepConfig], context: Context) -> Iterator[Point | End]:
        for cell, config in enumerate(configs):
            for step in range(1, config.steps + 1):
                if context.should_stop():
                    return
                time.sleep(config.pause)
                if step == 2 and config.trouble != "none":
                    _trouble(config.trouble, context)
                metrics = {"loss": 1 / step, "processes": float(context.ranks.count)}
                spent = context.ranks.count * step * config.pause
                yield Point(cell=cell, step=step, metrics=metrics, examples=step, flops=1e6 * step, seconds=spent)
            yield End(cell=cell, step=config.steps)


def _trouble(kind: str, context: Context) -> None:
    if not context.ranks.index:
        while True:
            time.sleep(0.02)
            if kind == "hangs" and context.should_stop():
                raise KeyError("nobody is to be told to stop by a process that waits")
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "full":
        raise MemoryError("no room for the gradient")
    if kind == "raises":
        raise ZeroDivisionError("a mistake")
    time.sleep(600)


IN_STEP = InStep()
