"""What every trainer promises. A new trainer adds its small runs to `SMALL` and passes everything here."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math

import numpy as np
import pytest
from corpus import CORPUS
from recording import Recorder, run

from trainers import TRAINERS, End, Ending, Trainer, TrainerError, inference_budgets, load_trainer, units

SMALL_AGENT = {
    "game": "bossfight",
    "width": 0.1,
    "steps": 20,
    "batch_size": 32,
    "environments": 4,
    "minibatches": 2,
    "epochs": 1,
    "test_episodes": 2,
}

SMALL_TRANSFORMER = {"width": 8, "heads": 2, "depth": 1, "steps": 128, "batch_size": 16, "test_size": 64}
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

SMALL_PICTURES = {"width": 8, "head_size": 4, "depth": 1, "resolution": 16, "steps": 128, "batch_size": 8}
SMALL_PICTURES |= {"classes": 3, "few_shot_classes": 2, "shots": 3, "test_size": 64, "few_shot_size": 32}

SMALL = {
    "addition": {
        "cohort": [
            SMALL_SUMS | {"answers": 4, "sampled_questions": 16} | difference
            for difference in (
                {"seed": 0},
                {"seed": 1, "learning_rate": 3e-3, "schedule": "cosine"},
                {"dataset_size": 50, "init_scale": 0.5, "temperature": 0.5},
                {"weight_decay": 0.1, "schedule": "wsd", "warmup_steps": 0},
            )
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
        "diverging": {"bits": 12, "width": 8, "steps": 300, "init_scale": 1e20, "learning_rate": 1e20},
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
        "diverging": SMALL_PICTURES | {"learning_rate": 1e20, "gradient_clip": 0.0},
        "refused": {"batch_size": 99_999},
    },
}
"""For each trainer: configurations of one shape, one that diverges, and one that is refused."""


@pytest.fixture(params=TRAINERS)
def trainer(request) -> Trainer:
    assert request.param in SMALL, f"add small runs of '{request.param}' to SMALL"
    return load_trainer(request.param)


@pytest.fixture
def configs(trainer):
    return [trainer.Config(**settings) for settings in SMALL[trainer.name]["cohort"]]


def test_every_field_has_a_default_and_says_what_it_is(trainer):
    fields = dataclasses.fields(trainer.Config)
    assert {"seed", "steps", "batch_size", "learning_rate"} <= {field.name for field in fields}
    assert all(field.default is not dataclasses.MISSING for field in fields)
    assert trainer.Config.__dataclass_params__.frozen
    body = ast.parse(inspect.getsource(trainer.Config)).body[0].body
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign):
            documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            assert documented, f"{statement.target.id} has no docstring"


def test_what_is_counted_is_declared(trainer):
    """A report says what a number counts, and takes no trainer's examples for another's tokens."""
    fields = {field.name for field in dataclasses.fields(trainer.Config)}
    assert {"batch_size", "examples"} | ({"dataset_size"} & fields) <= set(units(trainer))
    assert set(units(trainer)) <= fields | {"examples", "step", "inference_steps"}


def test_a_run_keeps_to_its_plan(trainer, configs):
    points, ends = run(trainer, configs)
    for cell, config in enumerate(configs):
        counts, steps = trainer.count(config), trainer.evaluation_steps(config)
        planned = list(itertools.product(steps, inference_budgets(trainer, config)))
        assert [(step, inference) for of, step, inference in points if of == cell] == planned
        assert steps[-1] == counts.steps == config.steps
        assert ends[cell] == End(cell=cell, step=config.steps)
        assert 0 < counts.parameters_without_embeddings <= counts.parameters
        for point in (point for point in points.values() if point.cell == cell):
            assert point.flops == pytest.approx(point.step * counts.flops_per_step)
            assert point.examples == point.step * config.batch_size
            assert point.metrics and all(math.isfinite(value) for value in point.metrics.values())


def test_one_seed_gives_one_result(trainer, configs):
    assert run(trainer, configs) == run(trainer, configs)


def test_the_seed_matters(trainer, configs):
    other = dataclasses.replace(configs[0], seed=configs[0].seed + 7)
    assert run(trainer, configs[:1])[0] != run(trainer, [other])[0]


def test_a_cohort_equals_its_cells_alone(trainer, configs):
    assert len({trainer.cohort_key(config) for config in configs}) == 1
    together, _ = run(trainer, configs)
    for cell, config in enumerate(configs):
        alone, _ = run(trainer, [config])
        for (_, step, inference_steps), point in alone.items():
            partner = together[cell, step, inference_steps]
            for name, value in point.metrics.items():
                assert partner.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-6), (step, name)


@pytest.mark.parametrize("stop_after_points", [1, 6])
def test_an_interrupted_run_equals_an_uninterrupted_one(trainer, configs, stop_after_points):
    whole, ends = run(trainer, configs)
    first = Recorder(stop_after_points=stop_after_points)
    before, ended = run(trainer, configs, first)
    assert len(ended) < len(configs), "the run was to be interrupted"
    unended = [cell for cell in range(len(configs)) if cell not in ended]
    after, _ = run(trainer, configs, Recorder(saved=first.saved))
    repeated = {key: point for key, point in after.items() if key[0] in ended}
    assert {**before, **after} == whole
    assert unended and all(repeated[key] == whole[key] for key in repeated)
    assert all(step > first.saved[cell].step for cell, step, _ in after if cell in first.saved)


def test_checkpoints_are_plain_arrays(trainer, configs):
    context = Recorder(stop_after_points=1)
    run(trainer, configs, context)
    assert context.saved
    for checkpoint in context.saved.values():
        assert all(isinstance(array, np.ndarray) and array.dtype != object for array in checkpoint.arrays.values())


def test_a_diverged_run_ends_as_diverged(trainer):
    config = trainer.Config(**SMALL[trainer.name]["diverging"])
    points, ends = run(trainer, [config])
    assert ends[0].ending is Ending.DIVERGED
    assert ends[0].step <= config.steps
    assert all(math.isfinite(value) for point in points.values() for value in point.metrics.values())


def test_a_bad_configuration_is_refused_in_its_own_words(trainer):
    settings = SMALL[trainer.name]["refused"]
    with pytest.raises(TrainerError, match=next(iter(settings))):
        trainer.Config(**settings)


@pytest.mark.parametrize(
    "name, hint", [("parrity", "did you mean 'parity'"), ("x", "known: .*oracle"), ("a.b:C", "a.b:C")]
)
def test_an_unknown_trainer_is_named(name, hint):
    with pytest.raises(TrainerError, match=hint):
        load_trainer(name)


def test_an_object_that_is_no_trainer_is_refused():
    with pytest.raises(TrainerError, match="no trainer"):
        load_trainer("math:pi")
