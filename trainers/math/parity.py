"""parity: multilayer perceptrons on (n, k) sparse parity, the smallest task with a sharp transition.

The label of n random bits is the parity of k of them, flipped with probability `label_noise`. For long nothing is
learned, then the loss falls: when depends on width, data, steps and learning rate together (Barak et al., arXiv
2207.08799, study the transition). Loss and error are measured on unseen examples and are exact expectations over the
label noise, so the irreducible loss is the noise's entropy and the irreducible error its rate.

The test examples are the same for every cell, and no cell trains on their patterns: a training example that would have
one of them is drawn again, which matters where there are few bits. At most half of all patterns may be for the test.

Version 2: before, training examples had test patterns by chance, at 16 bits mostly all of them.

Cells of one shape train as one batched program: weights are stacked along a leading axis of models, every product is a
batched matrix product and Adam (`trainers.loop`) runs on one flat tensor, with a learning rate a model.

With `base_width` one learning rate serves models of all widths (trainers/loop/parametrisation.py).

FLOPs are those of the matrix products, two for a multiply-add: 2 for the forward pass, 2 for the gradient of every
weight and 2 for the gradient of every layer's input but the first's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise

import numpy as np

from trainers.contract import Context, Counts, End, Point, check_config
from trainers.data import EpochOrder
from trainers.loop import Adam, Cohort, log_spaced_steps, rate_factors, train_cohorts

TEST_SEED = 0x7E57
"""Seed of the test examples, the same for every cell: differences between cells are not differences of test sets."""
BLOCK = 64
"""Steps whose batches are gathered at once, and between looks at the clock and the stop signal: often enough to stop
within a second, rare enough to cost nothing."""
WIDEST_COHORT = 512
"""Wider models fill a core by themselves: at width 1024 a cohort runs at half the speed of its cells one by one."""
MOST_BITS_THAT_MEET = 64
"""With more, no pattern of a billion is one of a million others by chance (5e-5 at 65 bits)."""
REDRAWN = 1_024
"""Patterns drawn at once in place of those that the test has."""
BETAS, EPSILON = (0.9, 0.999), 1e-8
"""As Adam was published."""
TINY_LOSS = 1e-9
"""Losses are kept above this, since a law is fitted to their logarithm."""


@dataclass(frozen=True, kw_only=True)
class ParityConfig:
    """One multilayer perceptron and its training run."""

    bits: int = 32
    """Bits of an input, n."""
    parity_bits: int = 3
    """Bits that the label depends on, k."""
    label_noise: float = 0.0
    """Probability that a label is flipped, in training and in test."""
    width: int = 64
    """Neurons of each hidden layer."""
    base_width: int = field(default=0, metadata={"added": True})
    """Above 0, other widths take over learning rate and initial weights of this one, by maximal update parametrisation
    (trainers/loop/parametrisation.py); 0 is the standard parametrisation."""
    depth: int = 1
    """Hidden layers."""
    dataset_size: int = 1_000_000
    """Unique training examples; with `steps * batch_size` or more of them no example is seen twice."""
    steps: int = 2_000
    """Optimiser steps."""
    batch_size: int = 32
    """Examples a step."""
    learning_rate: float = 1e-2
    """Learning rate of Adam, constant."""
    weight_decay: float = 0.0
    """Decoupled weight decay a step, before the learning rate."""
    init_scale: float = 1.0
    """Factor on the initial weights, whose standard deviation is sqrt(2 / inputs)."""
    test_size: int = 4_096
    """Unseen examples that a measurement uses."""
    seed: int = 0
    """Seed of the weights, the training examples and their order."""

    def __post_init__(self) -> None:
        check_config(
            self,
            bits=(1 <= self.bits <= 1024, "between 1 and 1024"),
            parity_bits=(1 <= self.parity_bits <= self.bits, f"between 1 and bits = {self.bits}"),
            label_noise=(0 <= self.label_noise < 0.5, "at least 0 and below 0.5"),
            width=(self.width >= 1, "at least 1"),
            base_width=(self.base_width >= 0, "at least 0"),
            depth=(self.depth >= 1, "at least 1"),
            dataset_size=(self.dataset_size >= 1, "at least 1"),
            steps=(self.steps >= 1, "at least 1"),
            batch_size=(1 <= self.batch_size <= self.dataset_size, f"between 1 and dataset_size = {self.dataset_size}"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            weight_decay=(self.weight_decay >= 0, "at least 0"),
            init_scale=(self.init_scale > 0, "above 0"),
            test_size=(
                self.test_size >= 1 and 2 * self.test_size <= 2 ** max(self.bits, 0),
                f"at least 1 and at most half of the {2 ** max(self.bits, 0):,} patterns of {self.bits} bits",
            ),
            seed=(self.seed >= 0, "at least 0"),
        )


class Parity:
    """See the module's docstring."""

    name = "parity"
    version = 2
    Config = ParityConfig
    units = {"dataset_size": "examples", "examples": "examples", "batch_size": "examples"}

    def count(self, config: ParityConfig) -> Counts:
        layers = list(pairwise(_sizes(config)))
        weights = sum(a * b for a, b in layers)
        parameters = weights + sum(b for _, b in layers)
        first = layers[0][0] * layers[0][1]
        # A step keeps every layer of its batch; a measurement has two layers of the test examples at once.
        measuring = config.test_size * (config.bits + 2 * config.width)
        return Counts(
            parameters=parameters,
            parameters_without_embeddings=parameters,
            flops_per_step=2.0 * config.batch_size * (3 * weights - first),
            steps=config.steps,
            bytes=4 * (4 * parameters + max(2 * kept_numbers(config), measuring)),
        )

    def evaluation_steps(self, config: ParityConfig) -> tuple[int, ...]:
        return log_spaced_steps(config.steps, first=32, per_doubling=2)

    def evaluation_fingerprint(self, config: ParityConfig) -> str:
        """A hash of the test examples themselves, and of the label noise over which the metrics are expectations."""
        return _test_fingerprint(config.bits, config.parity_bits, config.test_size, config.label_noise)

    def cohort_key(self, config: ParityConfig) -> tuple:
        if config.width > WIDEST_COHORT:
            return (config,)
        shape = (*_sizes(config), config.base_width)
        return (*shape, config.parity_bits, config.steps, config.batch_size, config.test_size)

    def train(self, configs: Sequence[ParityConfig], context: Context) -> Iterator[Point | End]:
        return train_cohorts(PerceptronCohort, self, configs, context, together=True)


class PerceptronCohort(Cohort):
    """Models of one shape and their examples."""

    check_interval = BLOCK

    def __init__(self, trainer: Parity, configs: Sequence[ParityConfig], cells: Sequence[int], device: str):
        import torch

        super().__init__(trainer, configs, cells, device)
        initial = torch.from_numpy(np.stack([_initial_weights(config) for config in self.configs]))
        self.weights = initial.to(self.device)
        self.layers = self._layers()
        self.optimiser = Adam(self.weights, betas=BETAS, epsilon=EPSILON)
        self.learning_rate = self._column([config.learning_rate for config in self.configs])
        if (factors := _rate_mask(self.config)) is not None:
            self.learning_rate = self.learning_rate * torch.from_numpy(factors).to(self.device)
        decays = [config.learning_rate * config.weight_decay for config in self.configs]
        self.decay = self._column(decays) if any(decays) else None
        self.noise = self._column([config.label_noise for config in self.configs])[:, 0]

        self.examples = [Examples(config) for config in self.configs]
        self.gathered_block = -1
        bits, labels = Examples.test_set(self.config)
        self.test_inputs = self._signs(torch.from_numpy(bits).to(self.device))
        self.test_labels = torch.from_numpy(labels).to(self.device).float()

    def _column(self, values: list[float]):
        import torch

        return torch.tensor(values, dtype=torch.float32, device=self.device)[:, None]

    @staticmethod
    def _signs(bits):
        """Bits as -1 and +1."""
        return bits.float().mul_(2).sub_(1)

    def _layers(self):
        """Views of the flat weights: a weight and a bias a layer, in turn."""
        layers, start, models = [], 0, len(self.cells)
        for fan_in, fan_out in pairwise(_sizes(self.config)):
            for rows in (fan_in, 1):
                stop = start + rows * fan_out
                layers.append(self.weights[:, start:stop].view(models, rows, fan_out).requires_grad_())
                start = stop
        return layers

    def state(self, row: int) -> dict:
        return self.optimiser.state(row)

    def forward(self, inputs):
        """Logits of shape (models, examples) for inputs of shape (models, examples, bits)."""
        import torch

        for weight, bias in zip(self.layers[::2], self.layers[1::2], strict=True):
            outputs = torch.baddbmm(bias, inputs, weight)
            inputs = outputs.relu()
        return outputs[..., 0]

    def batch(self):
        """This step's inputs as bits, shape (models, examples, bits), and labels, shape (models, examples)."""
        import torch

        block, offset = divmod(self.step, BLOCK)
        if block != self.gathered_block:
            parts = [examples.batches(block * BLOCK, BLOCK) for examples in self.examples]
            bits, labels = (
                torch.from_numpy(np.stack(part, axis=1)).to(self.device) for part in zip(*parts, strict=True)
            )
            self.gathered_block, self.block_bits, self.block_labels = block, bits, labels.float()
        return self.block_bits[offset], self.block_labels[offset]

    def update(self) -> None:
        import torch
        from torch.nn.functional import softplus

        bits, labels = self.batch()
        # The sum over models keeps their gradients apart; the mean over examples is each model's own loss.
        loss = softplus(-labels * self.forward(self._signs(bits))).mean(1).sum()
        gradients = torch.autograd.grad(loss, self.layers)
        torch.cat([gradient.flatten(1) for gradient in gradients], dim=1, out=self.optimiser.gradient)
        self.optimiser.update(self.step, learning_rate=self.learning_rate, decay=self.decay)

    def measure(self) -> dict[int, dict[str, list[float]]]:
        import torch
        from torch.nn.functional import softplus

        with torch.no_grad():
            margins = self.test_labels * self.forward(self.test_inputs.expand(len(self.cells), -1, -1))
            right, wrong = softplus(-margins).mean(1), softplus(margins).mean(1)
            losses = (1 - self.noise) * right + self.noise * wrong
            missed = (margins <= 0).float().mean(1)
            errors = (1 - self.noise) * missed + self.noise * (1 - missed)
        # A test set of T examples cannot show an error below about 1/(2T).
        errors = errors.clamp_min(0.5 / self.config.test_size)
        return {1: {"loss": losses.clamp_min(TINY_LOSS).tolist(), "error": errors.tolist()}}


class Examples:
    """A set of examples, its bits packed eight a byte. A larger set of the same seed begins with the smaller one."""

    def __init__(self, config: ParityConfig):
        # Examples that the run never reaches are not drawn.
        size = min(config.dataset_size, config.steps * config.batch_size)
        self._config = config
        packed = self._apart_from_test(config, self._patterns(config, config.seed, size))
        self._packed, self._labels = packed, self._label(config, config.seed, packed, config.label_noise)
        self._order = EpochOrder(seed=config.seed, size=size)

    def batches(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The batches of `count` steps: bits (count, batch, bits), uint8, and labels (count, batch), -1 or +1, int8."""
        shape = (count, self._config.batch_size)
        rows = self._order.take(first * shape[1], count * shape[1])
        bits = np.unpackbits(self._packed[rows], axis=1, count=self._config.bits)
        return bits.reshape(*shape, -1), self._labels[rows].reshape(shape)

    @classmethod
    def test_set(cls, config: ParityConfig) -> tuple[np.ndarray, np.ndarray]:
        """Test examples without label noise: bits (test_size, bits) and labels (test_size,)."""
        packed = cls._patterns(config, TEST_SEED, config.test_size)
        return np.unpackbits(packed, axis=1, count=config.bits), cls._label(config, TEST_SEED, packed, 0.0)

    @staticmethod
    def _patterns(config: ParityConfig, seed: int, size: int, stream: int = 1) -> np.ndarray:
        """Random bits, packed: (size, bytes)."""
        random = np.random.default_rng((seed, stream))
        return np.frombuffer(random.bytes(size * math.ceil(config.bits / 8)), np.uint8).reshape(size, -1)

    @classmethod
    def _apart_from_test(cls, config: ParityConfig, packed: np.ndarray) -> np.ndarray:
        """The patterns, those of test examples drawn again: the n-th of them becomes the n-th of another sequence."""
        if config.bits > MOST_BITS_THAT_MEET:
            return packed
        tested = np.unique(_keys(cls._patterns(config, TEST_SEED, config.test_size), config.bits))
        leaked = np.flatnonzero(np.isin(_keys(packed, config.bits), tested))
        if not len(leaked):
            return packed
        packed, block, found = packed.copy(), 0, 0
        while found < len(leaked):
            drawn = cls._patterns(config, config.seed, REDRAWN, stream=4 + block)
            drawn = drawn[~np.isin(_keys(drawn, config.bits), tested)][: len(leaked) - found]
            packed[leaked[found : found + len(drawn)]] = drawn
            found, block = found + len(drawn), block + 1
        return packed

    @staticmethod
    def _label(config: ParityConfig, seed: int, packed: np.ndarray, noise: float) -> np.ndarray:
        flips = np.random.default_rng((seed, 2)).random(len(packed)) < noise
        odd = (np.unpackbits(packed, axis=1, count=config.parity_bits).sum(1) + flips) % 2
        return 1 - 2 * odd.astype(np.int8)


def _keys(packed: np.ndarray, bits: int) -> np.ndarray:
    """The first `bits` bits of every row, 64 at most, as one number: what fills up the last byte is no part of them."""
    bytes_ = np.zeros((len(packed), 8), np.uint8)
    bytes_[:, : packed.shape[1]] = packed
    bytes_[:, packed.shape[1] - 1] &= 0xFF & (0xFF << (-bits % 8))
    return bytes_.view(np.uint64)[:, 0]


@cache
def _test_fingerprint(bits: int, parity_bits: int, size: int, noise: float) -> str:
    inputs, labels = Examples.test_set(ParityConfig(bits=bits, parity_bits=parity_bits, test_size=size))
    return hashlib.sha256(inputs.tobytes() + labels.tobytes() + repr(noise).encode()).hexdigest()[:16]


def _initial_weights(config: ParityConfig) -> np.ndarray:
    """He-normal weights and zero biases as one flat vector of shape (parameters,), float32."""
    random = np.random.default_rng((config.seed, 3))
    pieces = []
    for layer, (fan_in, fan_out) in enumerate(pairwise(_sizes(config))):
        deviation = config.init_scale * math.sqrt(2 / fan_in)
        if layer == config.depth and config.base_width:
            deviation *= math.sqrt(config.base_width / config.width)
        pieces += [random.normal(0, deviation, fan_in * fan_out), np.zeros(fan_out)]
    return np.concatenate(pieces).astype(np.float32)


def _rate_mask(config: ParityConfig) -> np.ndarray | None:
    """Every weight's share of the learning rate, as `_initial_weights`; None where all have the whole."""
    if config.base_width in (0, config.width):
        return None

    def shapes(of: ParityConfig) -> dict:
        return dict(enumerate(pairwise(_sizes(of))))

    factors = rate_factors(shapes(config), shapes(replace(config, width=config.base_width)), inputs=slice(0, 1))
    pieces = []
    for layer, (fan_in, fan_out) in shapes(config).items():
        pieces += [np.full(fan_in * fan_out, factors[layer], np.float32), np.ones(fan_out, np.float32)]
    return np.concatenate(pieces)


def kept_numbers(config: ParityConfig) -> int:
    """What the forward pass of a batch keeps for the backward pass, in single precision."""
    return config.batch_size * sum(_sizes(config))


def _sizes(config: ParityConfig) -> tuple[int, ...]:
    return (config.bits, *[config.width] * config.depth, 1)


PARITY = Parity()
