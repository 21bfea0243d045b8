"""The networks of Procgen's agents: their layers as arithmetic, and policy and value as one program.

Everything lies in flat tensors, weights as well as gradients and Adam's moments, so that an update and a checkpoint are
a few operations whatever the network is. Weights and frames have their channels last in memory, which is what
convolutions are fastest in.

With the precision `bfloat16` every layer but the last reads frames, weights and activations rounded to bfloat16, when
the agent acts, learns and is measured. Weights, gradients and moments are kept, and logits, values and losses computed,
in float32. A CPU without instructions for it computes the same products, rounded alike, several times as slowly.
"""

from __future__ import annotations

import math
import platform
import warnings
from dataclasses import dataclass

import numpy as np

from trainers.loop import Adam
from trainers.procgen.environments import ACTIONS, SIDE

NETWORKS = ("nature", "impala")
PRECISIONS = ("float32", "bfloat16")
POLICY_GAIN = 0.01
"""The first policy is nearly uniform."""
VALUE_GAIN = 1.0
"""Usual for the value. Behind small hidden units the first values are still nearly 0."""
BETAS, EPSILON = (0.9, 0.999), 1e-5
"""Of Adam, as usual for PPO."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A convolution, or a matrix product where kernel and side are 1, with a bias an output."""

    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    side: int = 1
    """Height and width of the output."""

    @property
    def weights(self) -> int:
        return self.outputs * self.inputs * self.kernel**2

    @property
    def flops(self) -> float:
        """FLOPs of the forward pass of one frame."""
        return 2.0 * self.weights * self.side**2


def network(kind: str, width: float) -> tuple[Layer, ...]:
    """The layers in the order of the forward pass; the last gives the actions' logits and the value."""

    def scaled(channels: int) -> int:
        return max(1, round(channels * width))

    if kind == "nature":
        a, b, hidden = scaled(32), scaled(64), scaled(512)
        body = [
            Layer(inputs=3, outputs=a, kernel=8, stride=4, side=15),
            Layer(inputs=a, outputs=b, kernel=4, stride=2, side=6),
            Layer(inputs=b, outputs=b, kernel=3, side=4),
            Layer(inputs=b * 16, outputs=hidden),
        ]
    else:
        inputs, side, body = 3, SIDE, []
        for outputs in (scaled(16), scaled(32), scaled(32)):
            body.append(Layer(inputs=inputs, outputs=outputs, kernel=3, padding=1, side=side))
            inputs, side = outputs, side // 2
            body += [Layer(inputs=outputs, outputs=outputs, kernel=3, padding=1, side=side)] * 4
        hidden = scaled(256)
        body.append(Layer(inputs=inputs * side**2, outputs=hidden))
    return (*body, Layer(inputs=hidden, outputs=ACTIONS + 1))


def kept_bytes(kind: str, width: float, precision: str = "float32") -> int:
    """What the forward pass of one frame keeps for the backward pass."""
    layers, size = network(kind, width), 2 if precision == "bfloat16" else 4
    body = 3 * SIDE**2 + sum(layer.outputs * layer.side**2 for layer in layers[:-2])
    kept = size * body + 4 * (layers[-1].inputs + ACTIONS)
    if kind == "nature":
        return kept
    # Every pool keeps where its maxima were, in eight bytes each, and its output goes on to the next layer.
    return kept + sum(
        (8 + size) * stage.outputs * (stage.side // 2) ** 2 for stage in (layers[0], layers[5], layers[10])
    )


class Agent:
    """Policy and value of one network. All weights lie in one flat tensor, and so do their gradients and moments."""

    def __init__(self, kind: str, width: float, *, seed: int, device: str, precision: str = "float32"):
        import torch

        self.precision = getattr(torch, precision)
        if precision == "bfloat16" and device == "cpu" and not cpu_has_bfloat16():
            warnings.warn(
                "this CPU has no instructions for bfloat16: the agent is trained as on one that has them, but several "
                'times as slowly; precision="float32" is faster here, and another cell',
                RuntimeWarning,
                stacklevel=2,
            )
        self.device, self.shapes = torch.device(device), network(kind, width)
        self.body = self._nature if kind == "nature" else self._impala
        self.weights = torch.from_numpy(_initial_weights(self.shapes, seed)).to(self.device)
        self.optimiser = Adam(self.weights, betas=BETAS, epsilon=EPSILON)
        self.gradient = self.optimiser.gradient
        self.layers, start = [], 0
        for layer in self.shapes:
            for shape in ((layer.outputs, layer.kernel, layer.kernel, layer.inputs), (layer.outputs,)):
                stop = start + math.prod(shape)
                piece, gradient = (whole[start:stop].view(shape) for whole in (self.weights, self.gradient))
                if len(shape) > 1:
                    piece, gradient = piece.movedim(3, 1), gradient.movedim(3, 1)
                # Backward passes add to their part of the flat gradient.
                piece.requires_grad_().grad = gradient
                self.layers.append(piece)
                start = stop

    def __call__(self, frames):
        """Logits (n, actions) and values (n,) of frames (n, 64, 64, 3), uint8."""
        from torch.nn.functional import linear

        x = self.body(frames.movedim(3, 1).to(self.precision).mul_(1 / 255))
        weight, bias = self._rounded(len(self.shapes) - 2)
        x = linear(x.relu(), weight.flatten(1), bias).float()
        x = linear(x.relu(), self.layers[-2].flatten(1), self.layers[-1])
        return x[:, :ACTIONS], x[:, ACTIONS]

    def _rounded(self, index: int):
        """Weights and biases of a layer, as it reads them."""
        return [piece.to(self.precision) for piece in self.layers[2 * index : 2 * index + 2]]

    def _convolution(self, x, index: int):
        from torch.nn.functional import conv2d

        layer = self.shapes[index]
        return conv2d(x, *self._rounded(index), stride=layer.stride, padding=layer.padding)

    def _nature(self, x):
        x = self._convolution(x, 0).relu_()
        x = self._convolution(x, 1).relu_()
        return self._convolution(x, 2).movedim(1, 3).flatten(1)

    def _impala(self, x):
        from torch.nn.functional import max_pool2d

        for first in (0, 5, 10):
            x = max_pool2d(self._convolution(x, first), 3, 2, 1)
            for block in (first + 1, first + 3):
                x = x + self._convolution(self._convolution(x.relu(), block).relu_(), block + 1)
        return x.movedim(1, 3).flatten(1)

    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        import torch

        return bool(torch.isfinite(self.weights).all())

    def update(self, updates: int, *, learning_rate: float, max_norm: float) -> None:
        """One step of Adam after `updates` others, by a gradient that is shortened to norm `max_norm`."""
        import torch

        with torch.no_grad():
            norm = self.gradient.norm()
            self.gradient.mul_((max_norm / (norm + 1e-6)).clamp_max(1.0))
        self.optimiser.update(updates, learning_rate=learning_rate)


def cpu_has_bfloat16() -> bool:
    """Whether products in bfloat16 are instructions of this CPU, and not emulated."""
    import torch

    if platform.machine().lower() in ("x86_64", "amd64"):
        # oneDNN calls bfloat16 supported wherever it can emulate it with AVX-512.
        return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _initial_weights(layers: tuple[Layer, ...], seed: int) -> np.ndarray:
    """Weights and biases as one flat vector of shape (parameters,), float32.

    As CleanRL starts its Procgen agents: hidden layers as PyTorch does, uniformly within one over the square root of
    the weights that enter an output; the last layer without biases, its weights normal with a deviation of that size
    times `POLICY_GAIN` and `VALUE_GAIN`.
    """
    random, pieces = np.random.default_rng((seed, 0)), []
    for layer in layers:
        entering = layer.weights // layer.outputs
        limit = 1 / math.sqrt(entering)
        if layer is layers[-1]:
            gains = np.array([POLICY_GAIN] * ACTIONS + [VALUE_GAIN])
            weights, biases = (
                random.normal(0, limit, (layer.outputs, entering)) * gains[:, None],
                np.zeros(layer.outputs),
            )
        else:
            weights = random.uniform(-limit, limit, (layer.outputs, entering))
            biases = random.uniform(-limit, limit, layer.outputs)
        pieces += [weights.ravel(), biases]
    return np.concatenate(pieces).astype(np.float32)
