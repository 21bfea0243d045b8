"""Layers that several networks of pictures are made of, as functions of plain tensors; `weights` holds them by name."""

from __future__ import annotations

from collections.abc import Callable

EPSILON = 1e-6
EXPANSION = 4
"""Hidden width of a perceptron over the model's, and output of a bottleneck over its inner channels."""


def patches_a_side(config) -> int:
    """Patches along a side of a picture."""
    return config.resolution // config.patch_size


def patch_layout(config) -> dict:
    return {"patches": (config.width, 3 * config.patch_size**2), "patches_bias": (config.width,)}


def patches(config, weights: dict, pictures):
    """Every patch through one linear map: (pictures, patches, width). Equal to a convolution, and faster."""
    from torch.nn.functional import linear

    side, patch = patches_a_side(config), config.patch_size
    cut = pictures.view(-1, side, patch, side, patch, 3).transpose(2, 3).reshape(-1, side**2, 3 * patch**2)
    return linear(cut, weights["patches"], weights["patches_bias"])


def perceptron(weights: dict, name: str, inputs):
    from torch.nn.functional import gelu, linear

    hidden = gelu(linear(inputs, weights[f"{name}.up"], weights[f"{name}.up_bias"]))
    return linear(hidden, weights[f"{name}.down"], weights[f"{name}.down_bias"])


def normalised(weights: dict, name: str, inputs):
    from torch.nn.functional import layer_norm

    return layer_norm(inputs, inputs.shape[-1:], weights[name], weights[f"{name}_bias"], EPSILON)


def perceptron_layout(name: str, width: int, hidden: int) -> dict:
    up = {f"{name}.up": (hidden, width), f"{name}.up_bias": (hidden,)}
    return up | {f"{name}.down": (width, hidden), f"{name}.down_bias": (width,)}


def norm_layout(name: str, width: int) -> dict:
    return {name: (width,), f"{name}_bias": (width,)}


def run_block(config, compute: Callable, *inputs):
    """What a block computes; with checkpointing nothing inside is kept, and the backward pass computes it again."""
    if not config.checkpointing:
        return compute(*inputs)
    from torch.utils.checkpoint import checkpoint

    return checkpoint(compute, *inputs, use_reentrant=False, preserve_rng_state=False)


def patch_bytes(config) -> int:
    """What a picture keeps before and behind the blocks of a network of patches, in bytes with products in bfloat16:
    its patches, and the last block's output in single precision with its norm."""
    tokens = patches_a_side(config) ** 2
    return 2 * 3 * config.resolution**2 + 4 * tokens * (config.width + 2) + (4 + 2) * config.width
