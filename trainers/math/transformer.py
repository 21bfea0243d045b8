"""A stack of decoder-only transformers of one shape, run as one program: every product is a batched matrix product.

For models too small to fill a machine alone. Pre-norm with LayerNorm, learned positions, squared ReLU (So et al., arXiv
2109.08668), no biases, no dropout and separate input and output embeddings. On a CPU core a step takes 0.7 times as
long as with RMSNorm and GELU. All weights of a model lie in one row of one matrix, (models, weights), so that
an optimiser and a checkpoint see plain arrays; `views` gives them names and shapes.

FLOPs are those of the matrix products, two for a multiply-add, with attention over the full square of positions: once
forward and twice backward. Recomputation inside an attention kernel is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from trainers.loop import rate_factors

EXPANSION = 4
"""Width of the hidden layer of a block's perceptron over the model's width."""
EPSILON = 1e-5


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What models must share to run as one stack."""

    vocabulary: int
    length: int
    """Positions of a sequence."""
    width: int
    depth: int
    """Blocks, each attention and perceptron."""
    heads: int
    base_width: int = 0
    """Of maximal update parametrisation; 0 is the standard one."""

    @property
    def widening(self) -> float:
        """How much wider than the base a model is that has one; 1 in the standard parametrisation."""
        return self.width / self.base_width if self.base_width else 1.0

    @property
    def attention_scale(self) -> float | None:
        """What products of query and key are multiplied by; None is one over the root of a head's width."""
        head = self.width / self.heads
        return None if self.widening == 1 else 1 / math.sqrt(head * self.widening)

    @cached_property
    def layout(self) -> dict[str, tuple[int, int]]:
        """Every weight of one model and its shape, in the order in which a row holds them."""
        width = self.width
        weights = {"tokens": (self.vocabulary, width), "positions": (self.length, width)}
        for block in range(self.depth):
            weights |= {
                f"{block}.attention_norm": (1, width),
                f"{block}.query_key_value": (width, 3 * width),
                f"{block}.attention_out": (width, width),
                f"{block}.perceptron_norm": (1, width),
                f"{block}.up": (width, EXPANSION * width),
                f"{block}.down": (EXPANSION * width, width),
            }
        return weights | {"norm": (1, width), "logits": (width, self.vocabulary)}

    @property
    def parameters(self) -> int:
        return sum(rows * columns for rows, columns in self.layout.values())

    @property
    def parameters_without_embeddings(self) -> int:
        return self.parameters - self.width * (2 * self.vocabulary + self.length)

    def training_flops(self, *, sequences: int, inputs: int, predicted: int) -> float:
        """One forward and backward pass over sequences of `inputs` tokens, of which `predicted` positions are read."""
        width = self.width
        block = inputs * (4 + 2 * EXPANSION) * width**2 + 2 * inputs**2 * width
        return 6.0 * sequences * (self.depth * block + predicted * width * self.vocabulary)

    def kept_bytes(self, *, sequences: int, inputs: int, predicted: int) -> int:
        """What a forward pass keeps for the backward pass, in single precision: of a token and block its norms, query,
        key, value, what is read, and two hidden layers; of a predicted token its norm and the logarithms of its logits.
        """
        width = self.width
        block = (6 + 3 + 1 + 2 * EXPANSION) * width + self.heads + 4
        return 4 * sequences * (inputs * self.depth * block + predicted * (3 * width + self.vocabulary + 2))


def initial_weights(shape: Shape, *, seed: int, scale: float) -> np.ndarray:
    """One row of weights, float32: normal with deviation scale / sqrt(inputs), and smaller where blocks add up."""
    random = np.random.default_rng((seed, 3))
    pieces = []
    for name, (rows, columns) in shape.layout.items():
        if name.endswith("norm"):
            pieces.append(np.ones(columns))
            continue
        deviation = scale / math.sqrt(shape.width if name in ("tokens", "positions") else rows)
        if name in ("tokens", "positions"):
            deviation *= math.sqrt(shape.widening)
        if name == "logits":
            deviation /= math.sqrt(shape.widening)
        if name.endswith(("attention_out", "down")):
            deviation /= math.sqrt(2 * shape.depth)
        pieces.append(random.normal(0, deviation, rows * columns))
    return np.concatenate(pieces).astype(np.float32)


def decay_mask(shape: Shape) -> np.ndarray:
    """Which weights of a row decay: all but the norms. float32, shape (weights,)."""
    return np.concatenate(
        [
            np.full(rows * columns, not name.endswith("norm"), np.float32)
            for name, (rows, columns) in shape.layout.items()
        ]
    )


def rate_mask(shape: Shape) -> np.ndarray | None:
    """Every weight's share of the learning rate, float32, shape (weights,); None where all have the whole."""
    if shape.widening == 1:
        return None
    factors = rate_factors(shape.layout, replace(shape, width=shape.base_width).layout, inputs=slice(0, 1))
    return np.concatenate(
        [np.full(rows * columns, factors[name], np.float32) for name, (rows, columns) in shape.layout.items()]
    )


def views(shape: Shape, weights) -> dict:
    """Named views (models, rows, columns) of stacked rows, each a leaf that gradients can be asked for."""
    named, start = {}, 0
    for name, (rows, columns) in shape.layout.items():
        stop = start + rows * columns
        named[name] = weights[:, start:stop].view(-1, rows, columns).requires_grad_()
        start = stop
    return named


class KeyValueCache:
    """Keys and values of the positions that a stack has seen, for drawing a token at a time."""

    def __init__(self):
        self.length = 0
        self._blocks: dict[int, tuple] = {}

    def extend(self, block: int, keys, values):
        import torch

        if block in self._blocks:
            old_keys, old_values = self._blocks[block]
            keys, values = torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2)
        self._blocks[block] = keys, values
        return keys, values

    def repeat(self, times: int) -> None:
        """Let `times` sequences go on from each seen one; copies of one sequence lie side by side."""
        self._blocks = {
            block: tuple(part.repeat_interleave(times, 0) for part in parts) for block, parts in self._blocks.items()
        }


def logits(shape: Shape, named: dict, tokens, *, predicted: int, cache: KeyValueCache | None = None):
    """Logits (models, sequences, predicted, vocabulary) at the last `predicted` positions of tokens (models, sequences,
    positions). With `cache` the tokens go on where it ends, and it grows; then one token a sequence, or the first call.
    """
    import torch
    from torch.nn.functional import embedding, relu, scaled_dot_product_attention

    models, sequences, length = tokens.shape
    rows, width = sequences * length, shape.width
    first = cache.length if cache else 0
    offsets = torch.arange(models, device=tokens.device)[:, None] * shape.vocabulary
    stream = embedding(tokens.reshape(models, rows) + offsets, named["tokens"].reshape(-1, width))
    positions = named["positions"][:, None, first : first + length]
    stream = (stream.view(models, sequences, length, width) + positions).view(models, rows, width)
    for block in range(shape.depth):
        inputs = _normalised(stream, named[f"{block}.attention_norm"])
        mixed = torch.bmm(inputs, named[f"{block}.query_key_value"])
        mixed = mixed.view(models * sequences, length, 3, shape.heads, width // shape.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        if cache:
            key, value = cache.extend(block, key, value)
        read = scaled_dot_product_attention(query, key, value, is_causal=length > 1, scale=shape.attention_scale)
        read = read.transpose(1, 2).reshape(models, rows, width)
        stream = torch.baddbmm(stream, read, named[f"{block}.attention_out"])
        inputs = _normalised(stream, named[f"{block}.perceptron_norm"])
        hidden = relu(torch.bmm(inputs, named[f"{block}.up"]), inplace=True).square()
        stream = torch.baddbmm(stream, hidden, named[f"{block}.down"])
    if cache:
        cache.length += length
    last = stream.view(models, sequences, length, width)[:, :, length - predicted :].reshape(models, -1, width)
    read = torch.bmm(_normalised(last, named["norm"]), named["logits"])
    return read.view(models, sequences, predicted, shape.vocabulary)


def _normalised(stream, gain):
    from torch.nn.functional import layer_norm

    return layer_norm(stream, stream.shape[-1:], eps=EPSILON) * gain
