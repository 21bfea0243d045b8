"""What every trainer promises. A new trainer adds its small runs to `SMALL` and passes everything here."""

from __future__ import annotations

import dataclasses
import math

import pytest
from corpus import CORPUS

from trainers import TRAINERS, Ending, TrainerError, load_trainer, units
from trainers.battery import CHECKS, Trial, run_check, run_in_memory

SMALL_AGENT = {
    "game": "bossfight",
    "width": 0.1,
    "steps": 10,
    "batch_size": 32,
    "environments": 4,
    "minibatches": 2,
    "epochs": 1,
    "test_episodes": 2,
}

SMALL_TRANSFORMER = {"width": 8, "heads": 2, "depth": 1, "steps": 64, "batch_size": 16, "test_size": 64}
SMALL_SUMS = SMALL_TRANSFORMER | {"digits": 2, "dataset_size": 5_000}

SMALL_LANGUAGE = {
    "text": CORPUS,
    "width": 16,
    "head_size": 8,
    "depth": 1,
    "context_length": 16,
    "batch_size": 64,
    "dataset_size": 4_000,
    "validation_tokens": 512,
    "steps": 50,
}

SMALL_PICTURES = {"width": 8, "head_size": 4, "depth": 1, "resolution": 16, "steps": 64, "batch_size": 8}
SMALL_PICTURES |= {"classes": 3, "few_shot_classes": 2, "shots": 3, "test_size": 64, "few_shot_size": 32}

SMALL = {
    "addition": {
        "cohort": [
            SMALL_SUMS | {"answers": 4, "sampled_questions": 16} | difference
            for difference in (
                {"seed": 0},
                {"seed": 1, "learning_rate": 3e-3},
                {"dataset_size": 50, "init_scale": 0.5, "temperature": 0.5},
                {"weight_decay": 0.1, "warmup_steps": 0},
            )
        ],
        "annealed": [
            SMALL_SUMS | {"schedule": "anneal", "decay_share": 0.4} | difference
            for difference in ({"seed": 0}, {"seed": 1, "learning_rate": 3e-3, "weight_decay": 0.1, "init_scale": 0.5})
        ],
        "diverging": SMALL_SUMS | {"weight_decay": 1.0, "learning_rate": 1e20},
        "refused": {"batch_size": 200_000},
    },
    "language": {
        "cohort": [
            SMALL_LANGUAGE | difference
            for difference in (
                {"seed": 0},
                {"seed": 1, "learning_rate": 1e-3, "schedule": "wsd"},
                {"dataset_size": 200, "gradient_clip": 0.0, "init_scale": 2.0},
            )
        ],
        "annealed": [SMALL_LANGUAGE | {"schedule": "anneal", "seed": seed} for seed in (0, 1)],
        "diverging": SMALL_LANGUAGE | {"learning_rate": 1e20, "weight_decay": 1.0},
        "refused": {"vocabulary": 100},
    },
    "modular": {
        "cohort": [
            SMALL_TRANSFORMER | {"modulus": 13, "dataset_size": 50} | difference
            for difference in ({"seed": 0}, {"dataset_size": 90}, {"weight_decay": 0.0, "operation": "quadratic"})
        ],
        "diverging": {"init_scale": 1e20, "learning_rate": 1e20, "width": 8, "steps": 64},
        "refused": {"dataset_size": 9_400},
    },
    "oracle": {
        "cohort": [{"steps": 300, "seed": seed} for seed in (0, 1)] + [{"steps": 300, "dataset_size": 77}],
        "diverging": {"steps": 300, "learning_rate": 2.0},
        "refused": {"learning_rate": -1.0},
    },
    "parity": {
        "cohort": [
            {"bits": 12, "parity_bits": 2, "width": 8, "steps": 300, "batch_size": 16, "test_size": 64} | difference
            for difference in (
                {"seed": 0},
                {"seed": 1, "learning_rate": 3e-3},
                {"dataset_size": 50, "init_scale": 0.5},
                {"label_noise": 0.2, "weight_decay": 0.1},
            )
        ],
        "diverging": {"bits": 12, "test_size": 64, "width": 8, "steps": 300, "init_scale": 1e20, "learning_rate": 1e20},
        "refused": {"parity_bits": 99},
    },
    "procgen": {
        "cohort": [SMALL_AGENT | difference for difference in ({"seed": 0}, {"seed": 1}, {"dataset_size": 3})],
        "diverging": SMALL_AGENT | {"learning_rate": 1e20},
        "refused": {"batch_size": 99},
    },
    "vision": {
        "cohort": [
            SMALL_PICTURES | difference
            for difference in (
                {"seed": 0},
                {"seed": 1, "init_scale": 0.5, "schedule": "wsd", "warmup_steps": 0},
                {"learning_rate": 3e-3, "weight_decay": 0.0, "shift": 2, "flip": True},
            )
        ],
        "annealed": [SMALL_PICTURES | {"schedule": "anneal", "seed": seed} for seed in (0, 1)],
        "diverging": SMALL_PICTURES | {"learning_rate": 1e20, "gradient_clip": 0.0},
        "refused": {"batch_size": 99_999},
    },
}
"""For each trainer: configurations of one shape, one that diverges, and one that is refused; and where its rate has a
schedule, configurations that anneal."""
COHORTS = [(name, kind) for name in TRAINERS for kind in ("cohort", "annealed") if kind in SMALL.get(name, {"cohort"})]


@pytest.fixture(scope="module", params=COHORTS, ids="-".join)
def trial(request) -> Trial:
    """A trainer with its small runs: the uninterrupted ones are made once for all checks."""
    name, kind = request.param
    assert name in SMALL, f"add small runs of '{name}' to SMALL"
    trainer = load_trainer(name)
    return Trial(trainer, [trainer.Config(**settings) for settings in SMALL[name][kind]])


@pytest.fixture(params=TRAINERS)
def trainer(request):
    return load_trainer(request.param)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_contract_is_kept(trial, check):
    assert run_check(check, trial) == []


def test_what_the_studies_ask_for_is_a_field(trainer):
    fields = {field.name for field in dataclasses.fields(trainer.Config)}
    assert {"seed", "steps", "batch_size", "learning_rate"} <= fields


def test_what_is_counted_is_declared(trainer):
    """A report says what a number counts, and takes no trainer's examples for another's tokens."""
    fields = {field.name for field in dataclasses.fields(trainer.Config)}
    assert {"batch_size", "examples"} | ({"dataset_size"} & fields) <= set(units(trainer))
    assert set(units(trainer)) <= fields | {"examples", "step", "inference_steps"}


def test_a_diverged_run_ends_as_diverged(trainer):
    config = trainer.Config(**SMALL[trainer.name]["diverging"])
    points, ends = run_in_memory(trainer, [config])
    assert ends[0].ending is Ending.DIVERGED
    assert ends[0].step <= config.steps
    assert all(math.isfinite(value) for point in points.values() for value in point.metrics.values())


def test_a_bad_configuration_is_refused_in_its_own_words(trainer):
    settings = SMALL[trainer.name]["refused"]
    with pytest.raises(TrainerError, match=next(iter(settings))):
        trainer.Config(**settings)
