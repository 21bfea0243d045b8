"""What training one model takes of a GPU's memory, and the parts that a batch is cut into so that it fits.

Weights, gradients and moments are counted in schedules.py. What a forward pass keeps for the backward pass is counted
by each domain, example by example, for products in bfloat16 under autocast, and held against the tensors that autograd
saves (tests/trainers/test_memory.py). With checkpointing a block keeps no more than what enters it, and the rest is
computed again, one block at a time, in the backward pass: a third more arithmetic, which FLOPs do not count.

Neither the parts of a batch nor checkpointing are part of a cell: they change results by rounding alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainers.contract import HEADROOM, Trainer, TrainerError, spreads
from trainers.loop.ranks import ALONE, BUFFER_BYTES, Group

COPY_BYTES = 2
"""Bytes that a weight of a product takes again: autocast keeps a copy in bfloat16 until the backward pass."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the forward pass of one example keeps for the backward pass, in bytes."""

    blocks: Sequence[int]
    """By each block, what enters it included."""
    inputs: Sequence[int]
    """What enters each block: all that it keeps with checkpointing."""
    rest: int
    """Outside of blocks: embeddings, the last norm, logits and loss."""

    def bytes(self, *, checkpointing: bool) -> int:
        """When the forward pass is over."""
        return self.rest + sum(self.inputs if checkpointing else self.blocks)

    def most(self, *, checkpointing: bool) -> int:
        """In the backward pass too, which computes one block again."""
        return self.bytes(checkpointing=checkpointing) + checkpointing * max(self.blocks, default=0)


def fitted(trainer: Trainer, config: Any, available: int, *, examples: int, fewest: int) -> Any | None:
    """The configuration with the fewest parts of a batch that keep its counted bytes within those available.

    A batch has `examples` that cannot be cut. Parts of less than `fewest` leave a GPU's units idle: before that, blocks
    are computed again. None where not even parts of one example fit.
    """
    splits = [parts for parts in range(config.accumulation, examples + 1) if examples % parts == 0]

    def first(checkpointing: bool, most_parts: int) -> Any | None:
        for parts in splits:
            made = dataclasses.replace(config, accumulation=parts, checkpointing=checkpointing)
            if parts <= max(most_parts, config.accumulation) and trainer.count(made).bytes <= available:
                return made
        return None

    plain = None if config.checkpointing else first(False, examples // fewest)
    return plain or first(True, examples)


def shared_out(trainer: Trainer, config: Any, device: str, group: Group) -> Any:
    """The configuration as a group of processes carries it out: with what is free on the fullest of their GPUs, and a
    batch in as many parts as fall to them evenly. Raises TrainerError where that cannot be.
    """
    if not spreads(trainer, config, group.count):
        raise TrainerError(
            f"a batch of trainer '{trainer.name}' cannot be shared out evenly over {group.count} devices: "
            f"batch_size = {config.batch_size}; use a number of devices that divides it"
        )
    if device.startswith("cuda"):
        config = fitted_to_device(trainer, config, device, group)
    if group.alone:
        return config
    examples = trainer.batch_parts(config)
    most = range(config.accumulation, examples + 1)
    even = next(parts for parts in most if examples % parts == 0 and parts % group.count == 0)
    return dataclasses.replace(config, accumulation=even)


def fitted_to_device(trainer: Trainer, config: Any, device: str, group: Group = ALONE) -> Any:
    """The configuration as its trainer carries it out with what is free on a GPU. Raises TrainerError if it cannot."""
    import torch

    free = min(group.all_said(torch.cuda.mem_get_info(device)[0]))
    buffers = 0 if group.alone else BUFFER_BYTES
    if (made := trainer.fitted(config, int(free / HEADROOM) - buffers)) is None:
        raise TrainerError(
            f"no part of a batch fits into the {free / 2**30:.1f} GiB that are free on {device}: use a device with "
            "more memory, or a smaller model"
        )
    return made
