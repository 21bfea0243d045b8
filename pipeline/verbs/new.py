"""`unsl new`: write a study that runs at once, and a trainer of one's own with it."""

from __future__ import annotations

import argparse
import os
import re
from string import Template

from pipeline.errors import PipelineError
from pipeline.verbs.verb import Verb

STUDY = '''"""What do width, training time and learning rate do to the loss?

Claim     Small and short runs forecast the wide and long ones.
Cost      $cost
Run       unsl run $file && unsl report $file
"""

from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="$name",
    trainer="$trainer",
    fixed={$fixed},  # Fields of its configuration that do not vary; the others have the trainer's defaults.
    axes=[  # Fields that vary. All combinations are run: `unsl plan $file` shows them, with what they cost.
        Axis("width", (4, 8, 16, 32, 64, 128)),
        Axis("learning_rate", $rates),
    ],
    seeds=(0, 1),  # Runs that differ by chance alone say how far chance goes.
    inputs=("parameters", "step"),  # Columns of the table of points that are scale.
    hyperparameters=("learning_rate",),  # Columns that have an optimum.
    metric=Metric(name="loss"),
    # Which points are forecast rather than fitted: decide it before you look at any.
    split=Split(held_out="$held_out", excluded={"warm-up": "step < 64"}),
    laws=("m2", "cf", "bnsl", "unsl"),
)
'''
PARITY = {
    "cost": "36 perceptrons on sparse parity: about a minute on two CPU cores.",
    "trainer": "parity",
    "fixed": '"bits": 32, "parity_bits": 2, "label_noise": 0.1, "steps": 2048',
    "rates": "(1e-3, 3e-3, 1e-2)",
    "held_out": "parameters > 1500 or step > 1024",
}
OWN = {
    "cost": "36 linear models of the trainer beside this file: about a minute on two CPU cores.",
    "fixed": '"steps": 2048',
    "rates": "(0.03, 0.1, 0.3)",
    "held_out": "parameters > 48 or step > 1024",
}
TRAINER = '''"""Linear regression by stochastic gradient descent: put a model of your own in its place.

`unsl check-trainer $file:TRAINER` says whether the trainer still keeps what a study relies on.
"""

from dataclasses import dataclass

import numpy as np

from trainers import Counts
from trainers.loop import Cohort, log_spaced_steps, train_cohorts

SCALES = np.arange(1, 513) ** -0.75
"""Standard deviations of the 512 inputs, all of which the target is the sum of."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run. Every field may be an axis of a study: an int, a float, a str or a bool, with a default."""

    width: int = 32
    """Inputs that the model sees, at most 512: its parameters."""
    steps: int = 256
    """Optimiser steps."""
    batch_size: int = 16
    """Examples a step."""
    learning_rate: float = 0.1
    """Learning rate, constant."""
    seed: int = 0
    """Seed of the examples."""


class Regression(Cohort):
    """A model in training. Clock, points, checkpoints and stopping are the loop's."""

    def __init__(self, trainer, configs, cells, device):
        super().__init__(trainer, configs, cells, device)
        self.weights = np.zeros(self.config.width)

    def update(self):
        """One step. Chance depends on seed and step alone: a run that was interrupted goes on as if it had not been."""
        config = self.config
        random = np.random.default_rng((config.seed, self.step))
        examples = random.standard_normal((config.batch_size, len(SCALES))) * SCALES
        inputs, targets = examples[:, : config.width], examples.sum(axis=1)
        self.weights -= config.learning_rate * inputs.T @ (inputs @ self.weights - targets) / config.batch_size

    def measure(self):
        """The mean squared error on all examples there could be, which a linear model has in closed form."""
        errors = np.concatenate([self.weights - 1, np.ones(len(SCALES) - len(self.weights))])
        return {1: {"loss": [float(np.sum((errors * SCALES) ** 2))]}}

    def state(self, row):
        """What a run goes on from."""
        import torch

        return {"weights": torch.from_numpy(self.weights)}


class Trainer:
    name = "$name"
    version = 1  # Raise it when equal configurations give other points: what was measured is then run again.
    Config = Config

    def count(self, config):
        """What a run costs: two FLOPs a multiply-add, as many for the gradient as for the prediction."""
        return Counts(
            parameters=config.width,
            parameters_without_embeddings=config.width,
            flops_per_step=4.0 * config.width * config.batch_size,
            steps=config.steps,
            bytes=8 * (2 * config.width + len(SCALES) * config.batch_size),
        )

    def evaluation_steps(self, config):
        return log_spaced_steps(config.steps, first=16, per_doubling=1)

    def cohort_key(self, config):
        return config.width, config.steps

    def train(self, configs, context):
        return train_cohorts(Regression, self, configs, context, together=False)


TRAINER = Trainer()
'''


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="of the study: NAME.py is written into the current folder")
    parser.add_argument("--trainer", action="store_true", help="write NAME_trainer.py too, a trainer to make your own")


def run(options: argparse.Namespace) -> int:
    name = options.name.removesuffix(".py")
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,55}", name):
        raise PipelineError(f"'{options.name}' is no name for a study: take lower-case letters, digits, - and _")
    stem = name.replace("-", "_")
    trainer = f"{stem}_trainer.py"
    words = OWN | {"trainer": f"{trainer}:TRAINER"} if options.trainer else PARITY
    files = {f"{stem}.py": Template(STUDY).substitute(words, name=name, file=f"{stem}.py")}
    if options.trainer:
        files[trainer] = Template(TRAINER).substitute(name=name, file=trainer)
    for path in files:
        if os.path.lexists(path):
            raise PipelineError(f"there is a file {path} already: take another name, or another folder")
    for path, text in files.items():
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise PipelineError(f"{path} cannot be written ({error.strerror}): go to a folder of your own") from error
    print(f"wrote {' and '.join(files)}. Next: unsl plan {stem}.py, unsl run {stem}.py, unsl report {stem}.py")
    if options.trainer:
        print(f"unsl check-trainer {trainer}:TRAINER says whether the trainer keeps its contract")
    return 0


NEW = Verb(
    name="new",
    summary="write a study that runs at once, and a trainer of your own",
    example="unsl new width --trainer",
    add_options=add_options,
    run=run,
)
