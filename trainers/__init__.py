"""Trainers: one contract (contract.py), one training loop (loop/), a room a domain, one line here for each trainer.

    math/        perceptrons and small transformers on parity, addition and modular arithmetic
    language/    decoder language models on text            vision/    networks that classify pictures
    procgen/     agents that play games                     oracle.py  points of a known law, with no training at all
    data/        the order in which data are read, and where they are kept

A trainer of one's own needs no line here: `package.module:NAME` names any object that fulfils the contract.
"""

from __future__ import annotations

import difflib
import importlib

from trainers.contract import (
    Checkpoint,
    Context,
    Counts,
    End,
    Ending,
    Point,
    Trainer,
    TrainerError,
    evaluation_fingerprint,
    inference_budgets,
    units,
)

__all__ = [
    "TRAINERS",
    "Checkpoint",
    "Context",
    "Counts",
    "End",
    "Ending",
    "Point",
    "Trainer",
    "TrainerError",
    "evaluation_fingerprint",
    "inference_budgets",
    "load_trainer",
    "units",
]

TRAINERS = {
    "addition": "trainers.math:ADDITION",
    "language": "trainers.language:LANGUAGE",
    "modular": "trainers.math:MODULAR",
    "oracle": "trainers.oracle:ORACLE",
    "parity": "trainers.math:PARITY",
    "procgen": "trainers.procgen:PROCGEN",
    "vision": "trainers.vision:VISION",
}


def load_trainer(name: str) -> Trainer:
    """The trainer registered as `name`, or found at `package.module:NAME`. Raises TrainerError if there is none."""
    location = TRAINERS.get(name, name)
    module, _, attribute = location.partition(":")
    if not attribute:
        near = difflib.get_close_matches(name, TRAINERS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(TRAINERS)}"
        raise TrainerError(f"there is no trainer '{name}': {hint}")
    try:
        trainer = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise TrainerError(f"trainer '{name}' cannot be loaded: {error}") from error
    if not isinstance(trainer, Trainer):
        raise TrainerError(f"'{name}' is no trainer: it lacks a part of the contract in trainers/contract.py")
    return trainer
