"""Maximal update parametrisation: the base width is the standard, and steps move activations alike at every width."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from corpus import CORPUS
from small_vision import config as vision

from trainers import TrainerError
from trainers.language import LANGUAGE, LanguageConfig, LanguageModel
from trainers.math import ADDITION, PARITY, AdditionConfig, ParityConfig, PerceptronCohort, TransformerCohort
from trainers.vision import initial_weights
from trainers.vision.networks import rate_factors

STEPS = 4
NARROW, WIDE = 16, 256


def perceptron(config) -> tuple:
    cohort = PerceptronCohort(PARITY, [config], [0], "cpu")
    return cohort, lambda: cohort.forward(cohort.test_inputs.expand(1, -1, -1))


def transformer(config) -> tuple:
    cohort = TransformerCohort(ADDITION, [config], [0], "cpu")
    return cohort, lambda: cohort.losses(cohort.test)[0]


def language(config) -> tuple:
    model = LanguageModel(LANGUAGE, [config], [0], "cpu")
    return model, lambda: model.logits(torch.from_numpy(model.windows.validation[:8, :-1]))


CASES = {
    "perceptron": (perceptron, ParityConfig(depth=2, bits=16, parity_bits=2, test_size=256, learning_rate=3e-3)),
    "transformer": (
        transformer,
        AdditionConfig(digits=2, depth=2, heads=4, batch_size=32, test_size=64, warmup_steps=0, dataset_size=500),
    ),
    "language": (
        language,
        LanguageConfig(
            text=CORPUS, head_size=16, depth=2, context_length=16, batch_size=128, dataset_size=4_000,
            validation_tokens=512, warmup_steps=0,
        ),
    ),
}  # fmt: skip


def moved(make, config) -> float:
    """How far some steps move what a model says, as the root of the mean square."""
    cohort, outputs = make(config)
    with torch.no_grad():
        before = outputs()
    for _ in range(STEPS):
        cohort.update()
        cohort.step += 1
    with torch.no_grad():
        return float((outputs() - before).square().mean().sqrt())


@pytest.mark.parametrize("name", CASES)
def test_steps_move_outputs_alike_at_every_width(name):
    make, config = CASES[name]
    narrow = moved(make, dataclasses.replace(config, width=NARROW))
    wide = {base: moved(make, dataclasses.replace(config, width=WIDE, base_width=base)) for base in (0, NARROW)}
    assert 0.2 < wide[NARROW] / narrow < 1.5
    assert wide[0] > 1.5 * wide[NARROW], "in the standard parametrisation a wide model moves further"


@pytest.mark.parametrize("name", CASES)
def test_at_the_base_width_nothing_changes(name):
    make, config = CASES[name]
    states = []
    for base in (0, 32):
        cohort, _ = make(dataclasses.replace(config, width=32, base_width=base))
        cohort.update()
        states.append(cohort.state(0))
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())


@pytest.mark.parametrize("architecture", ["vit", "mixer", "resnet"])
def test_weights_of_a_network_of_pictures_have_the_rate_of_what_enters_them(architecture):
    of = vision(architecture=architecture, depth=4, width=32, head_size=8, base_width=8)
    factors, weights = rate_factors(of), initial_weights(of)
    narrow = initial_weights(dataclasses.replace(of, width=8))
    for name, weight in weights.items():
        same = weight.ndim == 1 or name == "positions" or weight[0].size == narrow[name][0].size
        assert factors.get(name, 1.0) == (1 if same else 0.25), name
    assert factors["head"] == 0.25 and sum(factor == 0.25 for factor in factors.values()) > 8
    if architecture == "vit":
        assert np.std(weights["positions"]) == pytest.approx(np.std(narrow["positions"]), rel=0.3)
    assert rate_factors(dataclasses.replace(of, width=8)) == {}


def test_shares_reach_the_optimiser_and_decay_does_not_know_them():
    config = dataclasses.replace(CASES["language"][1], width=64, base_width=16)
    groups = LanguageModel(LANGUAGE, [config], [0], "cpu").optimiser.param_groups
    assert {(group["factor"], group["weight_decay"]) for group in groups} == {(1.0, 0.1), (1.0, 0.0), (0.25, 0.4)}


@pytest.mark.parametrize("kind, width", [(ParityConfig, {}), (AdditionConfig, {}), (vision, {"width": 8})])
def test_a_base_that_is_no_width_is_refused(kind, width):
    with pytest.raises(TrainerError, match="base_width = -1 must be at least 0"):
        kind(**width, base_width=-1)
