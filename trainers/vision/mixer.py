"""MLP-Mixer (Tolstikhin et al., arXiv 2105.01601), with the published ratios of its hidden widths."""

from __future__ import annotations

from trainers.loop import Kept
from trainers.vision.layers import (
    EXPANSION,
    norm_layout,
    normalised,
    patch_bytes,
    patch_layout,
    patches,
    patches_a_side,
    perceptron,
    perceptron_layout,
    run_block,
)


def layout(config) -> dict:
    width, weights = config.width, patch_layout(config)
    for block in range(config.depth):
        weights |= norm_layout(f"{block}.token_norm", width)
        weights |= perceptron_layout(f"{block}.token", patches_a_side(config) ** 2, max(1, width // 2))
        weights |= norm_layout(f"{block}.channel_norm", width)
        weights |= perceptron_layout(f"{block}.channel", width, EXPANSION * width)
    return weights | norm_layout("norm", width)


def products(config) -> tuple[int, int]:
    width, tokens = config.width, patches_a_side(config) ** 2
    block = 2 * tokens * width * max(1, width // 2) + 2 * EXPANSION * tokens * width**2
    return 3 * config.resolution**2 * width, config.depth * block


def kept(config) -> Kept:
    width, tokens = config.width, patches_a_side(config) ** 2
    norms = 2 * 4 * (width + 2)
    mixed = 2 * (width + 2 * max(1, width // 2) * width // tokens)
    hidden = 2 * (width + 2 * EXPANSION * width)
    return Kept(
        blocks=(tokens * (norms + mixed + hidden),) * config.depth,
        inputs=(2 * tokens * width,) * config.depth,
        rest=patch_bytes(config),
    )


def features(config, weights: dict, pictures):
    stream = patches(config, weights, pictures)
    for number in range(config.depth):
        stream = run_block(config, _block, weights, number, stream)
    return normalised(weights, "norm", stream).mean(1)


def _block(weights: dict, number: int, stream):
    inputs = normalised(weights, f"{number}.token_norm", stream).transpose(1, 2)
    stream = stream + perceptron(weights, f"{number}.token", inputs).transpose(1, 2)
    inputs = normalised(weights, f"{number}.channel_norm", stream)
    return stream + perceptron(weights, f"{number}.channel", inputs)
