"""A trainer as a user writes one: a file of its own, of which tests break one line at a time."""

from __future__ import annotations

from pathlib import Path

SOUND = '''"""coin: learns how often a coin shows heads."""

from dataclasses import dataclass

import numpy as np

from trainers import Checkpoint, Counts, End, Point


@dataclass(frozen=True)
class Coin:
    chance: float = 0.3
    """How often it shows heads, from 0 to 1."""
    steps: int = 8
    """Throws."""
    batch_size: int = 4
    """Coins a throw."""
    seed: int = 0
    """Seed of the throws."""


class CoinTrainer:
    name, version, Config = "coin", 1, Coin

    def count(self, config):
        return Counts(
            parameters=1, parameters_without_embeddings=1, flops_per_step=2.0, steps=config.steps, bytes=8
        )

    def evaluation_steps(self, config):
        return (2, 4, config.steps)

    def cohort_key(self, config):
        return (config.steps, config.batch_size)

    def train(self, configs, context):
        for cell, config in enumerate(configs):
            saved = context.load(cell)
            heads = saved.arrays["heads"].copy() if saved else np.zeros(1)
            for step in range(saved.step if saved else 0, config.steps):
                thrown = np.random.default_rng((config.seed, step)).random(config.batch_size)
                heads += (thrown < config.chance).sum()
                done = step + 1
                if done in self.evaluation_steps(config):
                    error = float(abs(heads[0] / done / config.batch_size - config.chance)) + 1e-3
                    yield Point(
                        cell=cell, step=done, metrics={"error": error}, examples=done * config.batch_size,
                        flops=2.0 * done, seconds=0.0,
                    )
                    if context.should_stop() and done < config.steps:
                        context.save(cell, Checkpoint(step=done, seconds=0.0, arrays={"heads": heads.copy()}))
                        return
                if context.checkpoint_due():
                    context.save(cell, Checkpoint(step=done, seconds=0.0, arrays={"heads": heads.copy()}))
            yield End(cell=cell, step=config.steps)


TRAINER = CoinTrainer()
'''


def write_trainer(path: Path, *changes: tuple[str, str]) -> str:
    """The name of the sound trainer, or of one with some text changed, written to a file."""
    source = SOUND
    for old, new in changes:
        assert old in source, f"the sound trainer has no {old!r}"
        source = source.replace(old, new)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    return f"{path}:TRAINER"
