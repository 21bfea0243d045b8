"""What the forward pass of a language model keeps for the backward pass, in bytes, with products in bfloat16.

Counted from the computation of transformers under autocast, which on a GPU takes powers, norms and sums in single
precision: the terms of each line are the tensors that autograd saves. Attention keeps no square of positions: its
kernel saves one number a head and token. `config` is a `LanguageConfig` everywhere.
"""

from __future__ import annotations

import math

from trainers.language.architectures import CHUNK, block_weights, gated_width
from trainers.loop import COPY_BYTES, Kept

SINGLE, HALF, INDEX = 4, 2, 8
"""Bytes of a number in single precision, in bfloat16, and of a token's number."""


def kept(config) -> Kept:
    """What one sequence keeps."""
    width, length = config.width, config.context_length
    block = {"gpt2": _gpt2, "llama": _llama, "mamba2": _mamba2}[config.architecture](config)
    # The last norm's input, what the logits are a product of, their logarithms, and the tokens twice.
    last = (SINGLE + HALF) * width + 2 * SINGLE
    if config.architecture != "gpt2":
        last += SINGLE * width  # A norm without means is written out, and keeps its quotient too.
    return Kept(
        blocks=(block,) * config.depth,
        inputs=(SINGLE * width * length,) * config.depth,
        rest=length * (last + SINGLE * config.vocabulary + 2 * INDEX),
    )


def part_bytes(config) -> int:
    """What one part of a batch takes beside the model: what it keeps, and the gradient of its logits."""
    sequences = config.batch_size // config.context_length // config.accumulation
    logits = (SINGLE + HALF) * config.vocabulary * config.context_length
    return sequences * (kept(config).most(checkpointing=config.checkpointing) + logits)


def copy_bytes(config) -> int:
    """Copies in bfloat16 of the weights of products; the tied embedding is the last of them."""
    return COPY_BYTES * (config.depth * block_weights(config) + config.vocabulary * config.width)


def _gpt2(config) -> int:
    width, heads = config.width, config.width // config.head_size
    norms = 2 * (SINGLE * width + 2 * SINGLE)
    attention = HALF * (width + 3 * width + width) + SINGLE * heads
    # GELU by tanh is written out: the hidden layer is kept as it is, as the base of a power, as tanh and plus one.
    perceptron = HALF * width + 4 * width * (2 * HALF + 3 * SINGLE)
    return config.context_length * (norms + attention + perceptron)


def _llama(config) -> int:
    width, heads = config.width, config.width // config.head_size
    norms = 2 * (2 * SINGLE * width + SINGLE)
    attention = HALF * (width + 3 * width + 2 * width) + SINGLE * heads
    perceptron = HALF * (width + 2 * width) + 4 * HALF * gated_width(config)
    return config.context_length * (norms + attention + perceptron)


def _mamba2(config) -> int:
    width, state = config.width, config.state_size
    inner, heads = 2 * width, 2 * width // config.head_size
    chunk = min(CHUNK, config.context_length)
    chunks = math.ceil(config.context_length / chunk)
    norm = 2 * SINGLE * width + SINGLE + HALF * width
    convolved = 2 * HALF * (inner + 2 * state)
    # Gate and output around the norm between them, and what goes into the projection back.
    gated = SINGLE * 5 * inner + HALF * inner + SINGLE + SINGLE * 3 * heads
    token = norm + convolved + gated
    # By heads: decays of every pair of positions of a chunk, both factors of every state, inputs and outputs.
    pairs = (SINGLE + 2 * HALF) * chunk * heads
    states = (SINGLE + 4 * HALF) * heads * state
    scanned = (2 * SINGLE + 3 * HALF) * inner + SINGLE * 2 * heads
    between = HALF * (2 * chunks + 1) * inner * state
    return config.context_length * token + chunks * chunk * (pairs + states + scanned) + between
