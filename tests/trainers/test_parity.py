"""What is particular to parity: exact counts, the task itself, and that it is learned."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainers import Point, TrainerError, load_trainer
from trainers.data import EpochOrder
from trainers.loop import log_spaced_steps
from trainers.math.parity import Examples, ParityConfig, PerceptronCohort

PARITY = load_trainer("parity")


class Quiet:
    device = "cpu"

    def load(self, cell):
        return None

    def checkpoint_due(self):
        return False

    def should_stop(self):
        return False


@pytest.mark.parametrize("depth", [1, 3])
def test_counts_are_those_of_the_real_model(depth):
    config = ParityConfig(bits=10, width=7, depth=depth, batch_size=5, steps=10, test_size=64)
    cohort = PerceptronCohort(PARITY, [config], [0], "cpu")
    assert PARITY.count(config).parameters == cohort.weights.shape[1]
    with FlopCounterMode(display=False) as counter:
        cohort.update()
    assert PARITY.count(config).flops_per_step == counter.get_total_flops()


def test_labels_are_the_parity_of_the_first_bits():
    config = ParityConfig(bits=9, parity_bits=3, dataset_size=500, batch_size=50, test_size=64)
    bits, labels = Examples(config).batches(0, 10)
    assert (labels == 1 - 2 * (bits[..., :3].astype(int).sum(-1) % 2)).all()
    assert 0.3 < bits.mean() < 0.7


def test_label_noise_flips_its_share():
    clean = ParityConfig(bits=16, dataset_size=20_000, batch_size=100, steps=200)
    noisy = ParityConfig(bits=16, dataset_size=20_000, batch_size=100, steps=200, label_noise=0.2)
    pairs = zip(Examples(clean).batches(0, 200), Examples(noisy).batches(0, 200), strict=True)
    (bits, other_bits), (labels, other_labels) = pairs
    assert (bits == other_bits).all()
    assert np.mean(labels != other_labels) == pytest.approx(0.2, abs=0.01)


def test_a_larger_set_begins_with_the_smaller():
    small = Examples(ParityConfig(dataset_size=64, batch_size=64, steps=10))
    large = Examples(ParityConfig(dataset_size=512, batch_size=64, steps=10))
    assert (large._packed[:64] == small._packed).all()


def patterns(bits: np.ndarray) -> set[bytes]:
    return {pattern.tobytes() for pattern in bits.reshape(-1, bits.shape[-1])}


@pytest.mark.parametrize("bits, test_size", [(3, 4), (12, 1_024), (13, 4_096), (16, 4_096), (64, 4_096), (70, 64)])
def test_no_test_example_is_trained_on(bits, test_size):
    config = ParityConfig(bits=bits, test_size=test_size, dataset_size=20_000, batch_size=100, steps=200)
    inputs, labels = Examples(config).batches(0, 200)
    training, test = patterns(inputs), patterns(Examples.test_set(config)[0])
    assert not training & test
    assert len(training | test) > min(2**bits, 20_000) * 0.7, "the others are all there"
    assert (labels == 1 - 2 * (inputs[..., :3].astype(int).sum(-1) % 2)).all()


def test_a_larger_set_of_few_bits_begins_with_the_smaller():
    """Also where examples were drawn again."""
    small, large = (
        Examples(ParityConfig(bits=10, test_size=512, dataset_size=size, batch_size=64, steps=100))
        for size in (300, 5_000)
    )
    assert (large._packed[:300] == small._packed).all()


def test_a_test_set_leaves_patterns_for_training():
    with pytest.raises(TrainerError, match="test_size = 129 must be at least 1 and at most half of the 256 patterns"):
        ParityConfig(bits=8, test_size=129)


def test_parity_is_learned_and_noise_sets_the_floor():
    config = ParityConfig(bits=16, parity_bits=2, label_noise=0.1, width=32, steps=2048, learning_rate=3e-3)
    points = [event for event in PARITY.train([config], Quiet()) if isinstance(event, Point)]
    entropy = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    assert points[0].metrics["error"] > 0.4
    assert points[-1].metrics["error"] == pytest.approx(0.1, abs=0.01)
    assert entropy <= points[-1].metrics["loss"] < 1.15 * entropy


def test_weight_decay_shrinks_its_own_model():
    config = ParityConfig(bits=8, width=4, steps=50, batch_size=8, test_size=32, learning_rate=1e-2)
    both = PerceptronCohort(PARITY, [config, dataclasses.replace(config, weight_decay=3.0)], [0, 1], "cpu")
    start = both.weights.detach().clone()
    both.update()
    plain, decayed = both.weights.detach()
    torch.testing.assert_close(decayed, plain - 0.03 * start[1], rtol=1e-4, atol=1e-6)


def test_measuring_does_not_touch_training():
    config = ParityConfig(bits=8, width=4, steps=50, batch_size=8, test_size=32)
    measured, unmeasured = (PerceptronCohort(PARITY, [config], [0], "cpu") for _ in range(2))
    for _ in range(5):
        measured.measure()
        for cohort in (measured, unmeasured):
            cohort.update()
            cohort.step += 1
    assert torch.equal(measured.weights, unmeasured.weights)


@pytest.mark.parametrize("start, count", [(0, 10), (7, 3), (8, 25), (95, 1)])
def test_any_stretch_of_the_order_can_be_asked_for(start, count):
    whole = EpochOrder(seed=3, size=10).take(0, 100)
    assert (EpochOrder(seed=3, size=10).take(start, count) == whole[start : start + count]).all()
    assert sorted(whole[20:30]) == list(range(10))
    assert (whole[:10] != whole[10:20]).any()


@pytest.mark.parametrize("steps", [1, 16, 17, 100, 4096])
def test_evaluation_steps_reach_the_end(steps):
    grid = log_spaced_steps(steps, first=16, per_doubling=2)
    assert grid[-1] == steps
    assert list(grid) == sorted(set(grid))
    assert set(log_spaced_steps(4096, first=16, per_doubling=2)) >= set(grid[:-1])
