"""MLP-Mixer (Tolstikhin et al., arXiv 2105.01601), with the published ratios of its hidden widths."""

from __future__ import annotations

from trainers.vision.layers import (
    EXPANSION,
    norm_layout,
    normalised,
    patch_layout,
    patches,
    patches_a_side,
    perceptron,
    perceptron_layout,
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


def features(config, weights: dict, pictures):
    stream = patches(config, weights, pictures)
    for block in range(config.depth):
        inputs = normalised(weights, f"{block}.token_norm", stream).transpose(1, 2)
        stream = stream + perceptron(weights, f"{block}.token", inputs).transpose(1, 2)
        inputs = normalised(weights, f"{block}.channel_norm", stream)
        stream = stream + perceptron(weights, f"{block}.channel", inputs)
    return normalised(weights, "norm", stream).mean(1)
