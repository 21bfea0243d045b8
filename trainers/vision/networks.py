"""Networks that classify pictures: their weights, what they cost and what they compute, as functions of plain tensors.

    vit      vision transformer, vit.py             mixer    MLP-Mixer, mixer.py
    resnet   BiT's residual network, resnet.py      linear   logistic regression on the pixels, to compare with

A configuration has `architecture`, `width`, `depth`, `head_size`, `patch_size`, `resolution` and `classes`. Pictures
are (pictures, resolution, resolution, 3), from -1 to 1; features are what the last layer, `head`, reads.

FLOPs are those of matrix products and convolutions, two for a multiply-add: once forward and twice backward, without
the gradient of the pictures themselves. Recomputation inside an attention kernel is not counted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainers import loop
from trainers.loop import COPY_BYTES, Kept
from trainers.vision import mixer, resnet, vit
from trainers.vision.augmentation import working_bytes

EMBEDDINGS = ("patches", "class_token", "positions", "stem", "head")
"""Weights that touch pictures, positions or classes."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One kind of network; every function takes the configuration first."""

    layout: Callable[..., dict[str, tuple[int, ...]]]
    """Every weight but those of the head, by name."""
    feature_count: Callable[..., int]
    """How many numbers the head reads."""
    products: Callable[..., tuple[int, int]]
    """Multiply-adds of one picture forward: of the layer that reads the pictures, and of all other layers."""
    kept: Callable[..., Kept]
    """What the forward pass of one picture keeps up to its features, with products in bfloat16."""
    features: Callable
    """Features (pictures, features) from (configuration, weights, pictures)."""
    patch_sizes: Callable[..., bool]
    """Whether the configuration's patch size will do."""


def _pixels(config) -> int:
    return 3 * config.resolution**2


def _patches_fit(config) -> bool:
    return config.resolution % config.patch_size == 0


ARCHITECTURES = {
    "vit": Architecture(
        layout=vit.layout,
        feature_count=lambda config: config.width,
        products=vit.products,
        kept=vit.kept,
        features=vit.features,
        patch_sizes=_patches_fit,
    ),
    "mixer": Architecture(
        layout=mixer.layout,
        feature_count=lambda config: config.width,
        products=mixer.products,
        kept=mixer.kept,
        features=mixer.features,
        patch_sizes=_patches_fit,
    ),
    "resnet": Architecture(
        layout=resnet.layout,
        feature_count=resnet.feature_count,
        products=resnet.products,
        kept=resnet.kept,
        features=resnet.features,
        patch_sizes=lambda config: config.patch_size in (1, 2, 4) and _patches_fit(config),
    ),
    "linear": Architecture(
        layout=lambda config: {},
        feature_count=_pixels,
        products=lambda config: (0, 0),
        kept=lambda config: Kept(blocks=(), inputs=(), rest=2 * _pixels(config)),
        features=lambda config, weights, pictures: pictures.flatten(1),
        patch_sizes=lambda config: True,
    ),
}


def layout(config) -> dict[str, tuple[int, ...]]:
    """Every weight and its shape; what maps a to b has shape (b, a, ...)."""
    network = ARCHITECTURES[config.architecture]
    return network.layout(config) | {
        "head": (config.classes, network.feature_count(config)),
        "head_bias": (config.classes,),
    }


def parameters(config) -> tuple[int, int]:
    """Trainable scalars: all, and without embeddings. A linear model has none of the latter, all of it counts."""
    sizes = {name: math.prod(shape) for name, shape in layout(config).items()}
    inner = sum(size for name, size in sizes.items() if not name.startswith(EMBEDDINGS))
    return sum(sizes.values()), inner or sum(sizes.values())


def training_flops(config) -> float:
    """FLOPs of one picture, forward and backward."""
    network = ARCHITECTURES[config.architecture]
    first, rest = network.products(config)
    head = config.classes * network.feature_count(config)
    if config.architecture == "linear":
        return 4.0 * head
    return 4.0 * first + 6.0 * (rest + head)


def kept(config) -> Kept:
    """What the forward pass of one picture keeps for the backward pass, in bytes, with products in bfloat16."""
    network = ARCHITECTURES[config.architecture].kept(config)
    return dataclasses.replace(network, rest=network.rest + 4 * config.classes)


def copy_bytes(config) -> int:
    """What the weights of products take again: a copy in bfloat16, and of a resnet's its standardised form in single
    precision. The layer that reads the pictures needs none, since they have no gradient."""
    sizes = {
        name: math.prod(shape)
        for name, shape in layout(config).items()
        if len(shape) > 1 and (name == "head" or not name.startswith(EMBEDDINGS))
    }
    if config.architecture == "linear":
        return 0
    standardised = sum(sizes.values()) - sizes["head"] if config.architecture == "resnet" else 0
    return COPY_BYTES * sum(sizes.values()) + 4 * standardised


def part_bytes(config) -> int:
    """What one part of a batch takes beside the model: what it keeps, and its pictures as bytes and as numbers."""
    pictures = config.batch_size * _pixels(config)
    if config.random_crop:
        side = config.stored_resolution or config.resolution
        pictures += 3 * side**2 * config.batch_size + working_bytes(side, config.resolution, config.batch_size)
    part = config.batch_size // config.accumulation
    return pictures + part * (kept(config).most(checkpointing=config.checkpointing) + 4 * _pixels(config))


def initial_weights(config) -> dict[str, np.ndarray]:
    """Normal with deviation init_scale / sqrt(inputs), smaller where blocks add up; biases and head 0, gains 1."""
    random, weights = np.random.default_rng((config.seed, 3)), {}
    for name, shape in layout(config).items():
        if len(shape) == 1 or name == "head":
            weights[name] = np.full(shape, name.endswith("norm"), np.float32)
            continue
        deviation = config.init_scale / math.sqrt(math.prod(shape[1:]))
        if name == "positions" and config.base_width:
            deviation *= math.sqrt(config.width / config.base_width)
        if name.endswith(("attention_out", "down")):
            deviation /= math.sqrt(2 * config.depth)
        weights[name] = random.normal(0, deviation, shape).astype(np.float32)
    return weights


def rate_factors(config) -> dict[str, float]:
    """The share of the learning rate of every weight that has not the whole, by name."""
    if config.base_width in (0, config.width):
        return {}
    products = {name: shape for name, shape in layout(config).items() if len(shape) > 1 and name != "positions"}
    return loop.rate_factors(
        products, layout(dataclasses.replace(config, width=config.base_width)), inputs=slice(1, None)
    )


def features(config, weights: dict, pictures):
    """What the head reads, (pictures, features)."""
    return ARCHITECTURES[config.architecture].features(config, weights, pictures)


def logits(config, weights: dict, pictures):
    """(pictures, classes), single precision."""
    from torch.nn.functional import linear

    return linear(features(config, weights, pictures), weights["head"], weights["head_bias"]).float()
