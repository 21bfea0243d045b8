"""The one training loop: what every trainer does alike, whatever it trains.

    cohort.py         the loop itself: clock, points and ends, stopping, checkpoints, divergence
    single_model.py   the step of one torch model that trains by itself: AdamW, accumulation, clipping
    adam.py           Adam on flat weights, for several small models at once
    schedules.py      when a run is measured, and how its learning rate moves
    parametrisation.py one learning rate for models of all widths
    memory.py         what a step takes of a GPU's memory, and the parts of a batch that fit
    ranks.py          several processes that train one cell, each on a device of its own
    branches.py       runs of many lengths in one: a trunk at a constant rate, and what decays from it

A domain derives a `Cohort`, or a `SingleModel`, says what a step is and what is measured, and hands it to
`train_cohorts`. Nothing here imports the training framework before a run begins.
"""

from __future__ import annotations

from trainers.loop.adam import Adam
from trainers.loop.cohort import Cohort, Interrupted, train_cohorts
from trainers.loop.memory import COPY_BYTES, Kept, fitted, fitted_to_device
from trainers.loop.parametrisation import rate_factors
from trainers.loop.schedules import (
    SCHEDULES,
    branch_start,
    branch_steps,
    learning_rate_factor,
    log_spaced_steps,
    measured_steps,
    schedule_rules,
    state_bytes,
)
from trainers.loop.single_model import DataIdentity, SingleModel

__all__ = [
    "COPY_BYTES",
    "SCHEDULES",
    "Adam",
    "Cohort",
    "DataIdentity",
    "Interrupted",
    "Kept",
    "SingleModel",
    "branch_start",
    "branch_steps",
    "fitted",
    "fitted_to_device",
    "learning_rate_factor",
    "log_spaced_steps",
    "measured_steps",
    "rate_factors",
    "schedule_rules",
    "state_bytes",
    "train_cohorts",
]
