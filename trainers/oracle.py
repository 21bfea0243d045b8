"""oracle: points drawn from a known law plus noise, with no training at all.

For rehearsal (does the split, the budget and the fit make sense before a GPU is touched?) and for tests. The law is

    loss = irreducible + [1/ceiling + 1/(A N^-.35 + B D^-.4 + S (step lr)^-.5 + H lr^1.5 N^.2)]^-1

with N parameters, D unique examples and learning rate lr: too small a learning rate acts like too few steps, too large
a one harms, and larger models more. Noise is log-normal: one draw a run (what a seed changes) and one a point.

FLOPs follow the usual 6 N an example. Nothing is trained, so a run costs microseconds unless `step_seconds` slows it.
"""

from __future__ import annotations

import math
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trainers.contract import Context, Counts, End, Point, check_config
from trainers.loop import Cohort, log_spaced_steps, train_cohorts

DIVERGING_LEARNING_RATE = 1.0
FAULTS = ("none", "error", "exit", "out_of_memory")


@dataclass(frozen=True, kw_only=True)
class OracleConfig:
    """One imagined training run."""

    parameters: int = 10_000
    """Parameters of the imagined model."""
    dataset_size: int = 10_000
    """Unique training examples."""
    steps: int = 1_000
    """Optimiser steps."""
    batch_size: int = 32
    """Examples a step."""
    learning_rate: float = 0.01
    """Peak learning rate; a run at 1.0 or more diverges half way."""
    irreducible: float = 0.5
    """The loss that no scale removes, in nats."""
    ceiling: float = 4.0
    """The reducible loss of a model that has learned nothing, in nats."""
    run_noise: float = 0.01
    """Standard deviation of the log loss between seeds."""
    point_noise: float = 0.002
    """Standard deviation of the log loss between points of a run."""
    step_seconds: float = 0.0
    """Seconds to sleep a step, to rehearse a run's length."""
    fault: str = "none"
    """A failure to rehearse half way: `none`, `error`, `exit` (the process dies) or `out_of_memory`."""
    seed: int = 0
    """Seed of the noise."""

    def __post_init__(self) -> None:
        check_config(
            self,
            parameters=(self.parameters >= 1, "at least 1"),
            dataset_size=(self.dataset_size >= 1, "at least 1"),
            steps=(self.steps >= 1, "at least 1"),
            batch_size=(self.batch_size >= 1, "at least 1"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            fault=(self.fault in FAULTS, f"one of {', '.join(FAULTS)}"),
        )


class Oracle:
    """See the module's docstring."""

    name = "oracle"
    version = 1
    Config = OracleConfig
    units = {"dataset_size": "examples", "examples": "examples", "batch_size": "examples"}

    def count(self, config: OracleConfig) -> Counts:
        return Counts(
            parameters=config.parameters,
            parameters_without_embeddings=config.parameters,
            flops_per_step=6.0 * config.parameters * config.batch_size,
            steps=config.steps,
            bytes=16 * config.parameters,
        )

    def evaluation_steps(self, config: OracleConfig) -> tuple[int, ...]:
        return log_spaced_steps(config.steps, first=16, per_doubling=1)

    def evaluation_fingerprint(self, config: OracleConfig) -> str:
        """There is no set: what is measured is the law itself."""
        return f"law {config.irreducible:g} {config.ceiling:g}"

    def cohort_key(self, config: OracleConfig) -> tuple:
        return (config.steps, config.parameters)

    def train(self, configs: Sequence[OracleConfig], context: Context) -> Iterator[Point | End]:
        return train_cohorts(ImaginedRun, self, configs, context, together=False)


class ImaginedRun(Cohort):
    """One cell, which has no state: what is measured follows from the configuration and the step."""

    @property
    def stride(self) -> int:
        return min(step for step in self.evaluation_steps if step > self.step) - self.step

    def update(self) -> None:
        if self.config.step_seconds:
            time.sleep(self.config.step_seconds * self.stride)

    def measure(self) -> dict[int, dict[str, list[float]]]:
        loss = draw(self.config, self.step)
        if 2 * self.step >= self.config.steps:
            _rehearse(self.config.fault)
            if self.config.learning_rate >= DIVERGING_LEARNING_RATE:
                loss = math.inf
        return {1: {"loss": [loss]}}

    def state(self, row: int) -> dict:
        return {}


def truth(config: OracleConfig, step: int) -> float:
    """The loss without noise after `step` steps, in nats."""
    reducible = (
        30.0 * config.parameters**-0.35
        + 40.0 * config.dataset_size**-0.4
        + 3.0 * (step * config.learning_rate) ** -0.5
        + 0.2 * config.learning_rate**1.5 * config.parameters**0.2
    )
    return config.irreducible + 1 / (1 / config.ceiling + 1 / reducible)


def draw(config: OracleConfig, step: int) -> float:
    """One noisy measurement. The same configuration, seed included, draws the same noise in every process."""
    key = zlib.crc32(repr(config).encode())
    of_run = np.random.default_rng(key).normal(0, config.run_noise)
    of_point = np.random.default_rng((key, step)).normal(0, config.point_noise)
    return truth(config, step) * math.exp(of_run + of_point)


def _rehearse(fault: str) -> None:
    if fault == "error":
        raise RuntimeError("a rehearsed error")
    if fault == "out_of_memory":
        raise MemoryError("a rehearsed lack of memory")
    if fault == "exit":
        os._exit(1)


ORACLE = Oracle()
