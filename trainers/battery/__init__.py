"""The contract battery: checks that any trainer can be put to, each of which says in words what fails and what to do.

    for finding in check_trainer(load_trainer("my_trainer.py:TRAINER")):
        print(finding)

A check is a function that yields a sentence for everything it finds; its docstring is the promise it holds a trainer
to. Those of declared.py ask what a trainer says before it trains, those of trained.py what it does then. They run small
configurations of one cohort: the caller's, the trainer's `example_configs`, or else its defaults with two seeds.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainers.battery.declared import (
    it_counts_what_a_run_costs,
    it_counts_without_a_framework,
    it_has_every_part,
    its_cohort_key_can_be_compared,
    its_config_is_plain_and_frozen,
    its_fields_are_documented,
    its_steps_are_known_before,
)
from trainers.battery.trained import (
    a_cohort_equals_its_cells_alone,
    an_interrupted_run_equals_an_uninterrupted_one,
    it_measures_what_was_planned,
    it_trains,
    its_checkpoints_are_plain_arrays,
    its_metrics_are_finite,
    its_points_add_up,
    one_seed_gives_one_result,
    the_seed_decides,
)
from trainers.battery.trial import Recorder, Trial, run_in_memory
from trainers.contract import Trainer

__all__ = ["CHECKS", "Finding", "Recorder", "Trial", "check_trainer", "run_check", "run_in_memory"]

Check = Callable[[Trial], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    it_has_every_part,
    its_config_is_plain_and_frozen,
    its_fields_are_documented,
    it_counts_what_a_run_costs,
    it_counts_without_a_framework,
    its_steps_are_known_before,
    its_cohort_key_can_be_compared,
    it_trains,
    it_measures_what_was_planned,
    its_points_add_up,
    its_metrics_are_finite,
    one_seed_gives_one_result,
    the_seed_decides,
    a_cohort_equals_its_cells_alone,
    an_interrupted_run_equals_an_uninterrupted_one,
    its_checkpoints_are_plain_arrays,
)
FOUNDATIONS = (it_has_every_part, it_trains)
"""Where one of these finds something, what follows would only say the same again."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a trainer."""

    check: str
    """The check that found it, by the name of its function."""
    says: str
    """What is wrong and what to do."""

    def __str__(self) -> str:
        return f"{self.check.replace('_', ' ')}: {self.says}"


def check_trainer(
    trainer: Trainer,
    configs: Sequence[Any] | None = None,
    *,
    progress: Callable[[str], None] = lambda check: None,
) -> list[Finding]:
    """Everything that the battery finds wrong, in the order of `CHECKS`; an empty list for a sound trainer.

    `configs` are a few small configurations of one cohort; without them the trainer's own are taken (see the module's
    docstring). `progress` is called with the name of every check before it runs.
    """
    trial = Trial(trainer, configs)
    findings: list[Finding] = []
    for check in CHECKS:
        progress(check.__name__)
        found = run_check(check, trial)
        findings += found
        if found and check in FOUNDATIONS:
            break
    return findings


def run_check(check: Check, trial: Trial) -> list[Finding]:
    """What one check finds. What the trainer raises meanwhile is a finding too."""
    says: list[str] = []
    try:
        for sentence in check(trial):
            says.append(sentence)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        says.append(f"it raised {type(error).__name__}: {error} ({last.filename}, line {last.lineno})")
    return [Finding(check=check.__name__, says=sentence) for sentence in says]
