"""Trainers: one contract (contract.py), one training loop (loop/), a room a domain, a line in registry.py for each.

    math/        perceptrons and small transformers on parity, addition and modular arithmetic
    language/    decoder language models on text            vision/    networks that classify pictures
    procgen/     agents that play games                     oracle.py  points of a known law, with no training at all
    data/        the order in which data are read, and where they are kept

    registry.py  trainers by name, module or path           runner.py  where every trainer passes when it is run
    battery.py   checks that any trainer can be put to

A trainer of one's own needs no line here: `package.module:NAME` or `path/to/file.py:NAME` names any object that fulfils
the contract.
"""

from __future__ import annotations

from trainers.contract import (
    HEADROOM,
    THREADS,
    Checkpoint,
    Context,
    Counts,
    End,
    Ending,
    Point,
    RankLost,
    Ranks,
    Trainer,
    TrainerError,
    check_config,
    evaluation_fingerprint,
    field_types,
    fitted,
    inference_budgets,
    reserved_threads,
    spreads,
    threads,
    units,
)
from trainers.registry import TRAINERS, load_trainer
from trainers.runner import run_trainer

__all__ = [
    "HEADROOM",
    "THREADS",
    "TRAINERS",
    "Checkpoint",
    "Context",
    "Counts",
    "End",
    "Ending",
    "Point",
    "RankLost",
    "Ranks",
    "Trainer",
    "TrainerError",
    "check_config",
    "field_types",
    "fitted",
    "evaluation_fingerprint",
    "inference_budgets",
    "load_trainer",
    "reserved_threads",
    "run_trainer",
    "spreads",
    "threads",
    "units",
]
