"""Networks that classify pictures: their weights, what they cost and what they compute, as functions of plain tensors.

    vit      vision transformer (Dosovitskiy et al., arXiv 2010.11929): the computation of transformers' ViT, weight for
             weight, with one product for query, key and value
    mixer    MLP-Mixer (Tolstikhin et al., arXiv 2105.01601), with the published ratios of its hidden widths
    resnet   BiT (Kolesnikov et al., arXiv 1912.11370): pre-activation bottlenecks, group norm, standardised weights
    linear   logistic regression on the pixels, to compare with

A configuration has `architecture`, `width`, `depth`, `head_size`, `patch_size`, `resolution` and `classes`. Pictures
are (pictures, resolution, resolution, 3), from -1 to 1; features are what the last layer, `head`, reads.

FLOPs are those of matrix products and convolutions, two for a multiply-add: once forward and twice backward, without
the gradient of the pictures themselves. Recomputation inside an attention kernel is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

EPSILON = 1e-6
EXPANSION = 4
"""Hidden width of a perceptron over the model's, and output of a bottleneck over its inner channels."""
STAGES = {16: (3, 4, 6, 3), 33: (3, 4, 23, 3), 50: (3, 8, 36, 3)}
"""Blocks of the four stages of ResNet-50, -101 and -152, by their sum."""
GROUPS = 32
"""Groups of a group norm, where the channels can be divided so."""
EMBEDDINGS = ("patches", "class_token", "positions", "stem", "head")
"""Weights that touch pictures, positions or classes."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One kind of network; every function takes the configuration first."""

    layout: Callable[..., dict[str, tuple[int, ...]]]
    """Every weight but those of the head, by name."""
    features: Callable[..., int]
    """How many numbers the head reads."""
    products: Callable[..., tuple[int, int]]
    """Multiply-adds of one picture forward: of the layer that reads the pictures, and of all other layers."""
    kept: Callable[..., int]
    """About how many numbers a picture the backward pass needs."""
    compute: Callable
    """Features (pictures, features) from (configuration, weights, pictures)."""
    patch_sizes: Callable[..., bool]
    """Whether the configuration's patch size will do."""


def layout(config) -> dict[str, tuple[int, ...]]:
    """Every weight and its shape; what maps a to b has shape (b, a, ...)."""
    of = ARCHITECTURES[config.architecture]
    return of.layout(config) | {"head": (config.classes, of.features(config)), "head_bias": (config.classes,)}


def parameters(config) -> tuple[int, int]:
    """Trainable scalars: all, and without embeddings. A linear model has none of the latter, all of it counts."""
    sizes = {name: math.prod(shape) for name, shape in layout(config).items()}
    inner = sum(size for name, size in sizes.items() if not name.startswith(EMBEDDINGS))
    return sum(sizes.values()), inner or sum(sizes.values())


def training_flops(config) -> float:
    """FLOPs of one picture, forward and backward."""
    of = ARCHITECTURES[config.architecture]
    first, rest = of.products(config)
    head = config.classes * of.features(config)
    if config.architecture == "linear":
        return 4.0 * head
    return 4.0 * first + 6.0 * (rest + head)


def activation_bytes(config) -> int:
    """What the backward pass of one picture keeps, in single precision."""
    return 4 * ARCHITECTURES[config.architecture].kept(config)


def initial_weights(config) -> dict[str, np.ndarray]:
    """Normal with deviation init_scale / sqrt(inputs), smaller where blocks add up; biases and head 0, gains 1."""
    random, weights = np.random.default_rng((config.seed, 3)), {}
    for name, shape in layout(config).items():
        if len(shape) == 1 or name == "head":
            weights[name] = np.full(shape, name.endswith("norm"), np.float32)
            continue
        deviation = config.init_scale / math.sqrt(math.prod(shape[1:]))
        if name.endswith(("attention_out", "down")):
            deviation /= math.sqrt(2 * config.depth)
        weights[name] = random.normal(0, deviation, shape).astype(np.float32)
    return weights


def features(config, weights: dict, pictures):
    """What the head reads, (pictures, features)."""
    return ARCHITECTURES[config.architecture].compute(config, weights, pictures)


def logits(config, weights: dict, pictures):
    """(pictures, classes), single precision."""
    from torch.nn.functional import linear

    return linear(features(config, weights, pictures), weights["head"], weights["head_bias"]).float()


def _side(config) -> int:
    """Patches along a side of a picture."""
    return config.resolution // config.patch_size


def _patch_layout(config) -> dict:
    return {"patches": (config.width, 3 * config.patch_size**2), "patches_bias": (config.width,)}


def _patches(config, weights: dict, pictures):
    """Every patch through one linear map: (pictures, patches, width). Equal to a convolution, and faster."""
    from torch.nn.functional import linear

    side, patch = _side(config), config.patch_size
    cut = pictures.view(-1, side, patch, side, patch, 3).transpose(2, 3).reshape(-1, side**2, 3 * patch**2)
    return linear(cut, weights["patches"], weights["patches_bias"])


def _perceptron(weights: dict, name: str, inputs):
    from torch.nn.functional import gelu, linear

    hidden = gelu(linear(inputs, weights[f"{name}.up"], weights[f"{name}.up_bias"]))
    return linear(hidden, weights[f"{name}.down"], weights[f"{name}.down_bias"])


def _normalised(weights: dict, name: str, inputs):
    from torch.nn.functional import layer_norm

    return layer_norm(inputs, inputs.shape[-1:], weights[name], weights[f"{name}_bias"], EPSILON)


def _perceptron_layout(name: str, width: int, hidden: int) -> dict:
    up = {f"{name}.up": (hidden, width), f"{name}.up_bias": (hidden,)}
    return up | {f"{name}.down": (width, hidden), f"{name}.down_bias": (width,)}


def _norm_layout(name: str, width: int) -> dict:
    return {name: (width,), f"{name}_bias": (width,)}


def _vit_layout(config) -> dict:
    width = config.width
    weights = _patch_layout(config) | {"class_token": (width,), "positions": (_side(config) ** 2 + 1, width)}
    for block in range(config.depth):
        weights |= _norm_layout(f"{block}.attention_norm", width)
        weights |= {f"{block}.query_key_value": (3 * width, width), f"{block}.query_key_value_bias": (3 * width,)}
        weights |= {f"{block}.attention_out": (width, width), f"{block}.attention_out_bias": (width,)}
        weights |= _norm_layout(f"{block}.perceptron_norm", width)
        weights |= _perceptron_layout(f"{block}", width, EXPANSION * width)
    return weights | _norm_layout("norm", width)


def _vit_products(config) -> tuple[int, int]:
    width, tokens = config.width, _side(config) ** 2 + 1
    block = tokens * (4 + 2 * EXPANSION) * width**2 + 2 * tokens**2 * width
    return 3 * config.resolution**2 * width, config.depth * block


def _vit(config, weights: dict, pictures):
    import torch
    from torch.nn.functional import linear, scaled_dot_product_attention

    width = config.width
    patches = _patches(config, weights, pictures)
    first = weights["class_token"].to(patches.dtype).expand(len(patches), 1, width)
    stream = torch.cat([first, patches], 1) + weights["positions"]
    for block in range(config.depth):
        inputs = _normalised(weights, f"{block}.attention_norm", stream)
        mixed = linear(inputs, weights[f"{block}.query_key_value"], weights[f"{block}.query_key_value_bias"])
        mixed = mixed.view(*mixed.shape[:2], 3, width // config.head_size, config.head_size)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        read = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        stream = stream + linear(read, weights[f"{block}.attention_out"], weights[f"{block}.attention_out_bias"])
        inputs = _normalised(weights, f"{block}.perceptron_norm", stream)
        stream = stream + _perceptron(weights, f"{block}", inputs)
    return _normalised(weights, "norm", stream[:, 0])


def _mixer_layout(config) -> dict:
    width, weights = config.width, _patch_layout(config)
    for block in range(config.depth):
        weights |= _norm_layout(f"{block}.token_norm", width)
        weights |= _perceptron_layout(f"{block}.token", _side(config) ** 2, max(1, width // 2))
        weights |= _norm_layout(f"{block}.channel_norm", width)
        weights |= _perceptron_layout(f"{block}.channel", width, EXPANSION * width)
    return weights | _norm_layout("norm", width)


def _mixer_products(config) -> tuple[int, int]:
    width, tokens = config.width, _side(config) ** 2
    block = 2 * tokens * width * max(1, width // 2) + 2 * EXPANSION * tokens * width**2
    return 3 * config.resolution**2 * width, config.depth * block


def _mixer(config, weights: dict, pictures):
    stream = _patches(config, weights, pictures)
    for block in range(config.depth):
        inputs = _normalised(weights, f"{block}.token_norm", stream).transpose(1, 2)
        stream = stream + _perceptron(weights, f"{block}.token", inputs).transpose(1, 2)
        inputs = _normalised(weights, f"{block}.channel_norm", stream)
        stream = stream + _perceptron(weights, f"{block}.channel", inputs)
    return _normalised(weights, "norm", stream).mean(1)


@dataclass(frozen=True, kw_only=True)
class _Bottleneck:
    """One block of a residual network."""

    name: str
    channels: int
    """Of its input."""
    inner: int
    stride: int
    side: int
    """Of its input, in pixels."""

    @property
    def outputs(self) -> int:
        return EXPANSION * self.inner

    @property
    def projected(self) -> bool:
        """Whether its shortcut needs a convolution."""
        return self.stride > 1 or self.channels != self.outputs

    @property
    def side_after(self) -> int:
        return math.ceil(self.side / self.stride)


def _bottlenecks(config) -> Iterator[_Bottleneck]:
    # What does not divide by four goes to the last stages, where a block costs the same and holds more weights.
    even = tuple((config.depth + stage) // 4 for stage in range(4))
    channels, side = config.width, _side(config)
    for stage, blocks in enumerate(STAGES.get(config.depth, even)):
        for number in range(blocks):
            block = _Bottleneck(
                name=f"{stage}.{number}",
                channels=channels,
                inner=config.width * 2**stage,
                stride=2 if stage and not number else 1,
                side=side,
            )
            yield block
            channels, side = block.outputs, block.side_after


def _stem_kernel(config) -> int:
    """3 pixels where the stem keeps the resolution, as is usual for small pictures, else the published 7."""
    return 3 if config.patch_size == 1 else 7


def _resnet_layout(config) -> dict:
    kernel = _stem_kernel(config)
    weights = {"stem": (config.width, 3, kernel, kernel)}
    for block in _bottlenecks(config):
        name, inner = block.name, block.inner
        weights |= _norm_layout(f"{name}.1.norm", block.channels) | {f"{name}.1": (inner, block.channels, 1, 1)}
        weights |= _norm_layout(f"{name}.2.norm", inner) | {f"{name}.2": (inner, inner, 3, 3)}
        weights |= _norm_layout(f"{name}.3.norm", inner) | {f"{name}.3": (block.outputs, inner, 1, 1)}
        if block.projected:
            weights[f"{name}.shortcut"] = (block.outputs, block.channels, 1, 1)
    return weights | _norm_layout("norm", _resnet_features(config))


def _resnet_features(config) -> int:
    return EXPANSION * config.width * 8


def _resnet_products(config) -> tuple[int, int]:
    stem_side = math.ceil(config.resolution / (1 if config.patch_size == 1 else 2))
    stem = stem_side**2 * 3 * _stem_kernel(config) ** 2 * config.width
    rest = 0
    for block in _bottlenecks(config):
        before, after = block.side**2, block.side_after**2
        rest += before * block.channels * block.inner + after * block.inner * (9 * block.inner + block.outputs)
        rest += after * block.channels * block.outputs * block.projected
    return stem, rest


def _resnet_kept(config) -> int:
    blocks = list(_bottlenecks(config))
    inside = sum(
        2 * b.side**2 * (b.channels + b.inner) + b.side_after**2 * (2 * b.inner + 2 * b.outputs) for b in blocks
    )
    return inside + config.resolution**2 * config.width


def _resnet(config, weights: dict, pictures):
    from torch.nn.functional import group_norm, max_pool2d, relu

    def active(inputs, name: str):
        channels = inputs.shape[1]
        groups = math.gcd(GROUPS, channels)
        return relu(group_norm(inputs, groups, weights[name], weights[f"{name}_bias"], EPSILON))

    # The pictures' own order of memory is the one that convolutions like best.
    stream = _convolved(pictures.permute(0, 3, 1, 2), weights["stem"], 1 if config.patch_size == 1 else 2)
    if config.patch_size == 4:
        stream = max_pool2d(stream, 3, stride=2, padding=1)
    for block in _bottlenecks(config):
        name = block.name
        inputs = active(stream, f"{name}.1.norm")
        if block.projected:
            stream = _convolved(inputs, weights[f"{name}.shortcut"], block.stride)
        inner = active(_convolved(inputs, weights[f"{name}.1"], 1), f"{name}.2.norm")
        inner = active(_convolved(inner, weights[f"{name}.2"], block.stride), f"{name}.3.norm")
        stream = stream + _convolved(inner, weights[f"{name}.3"], 1)
    return active(stream, "norm").mean((2, 3))


def _convolved(inputs, weight, stride: int):
    """A convolution whose weights are standardised for each output (Qiao et al., arXiv 1903.10520)."""
    import torch
    from torch.nn.functional import conv2d

    variance, mean = torch.var_mean(weight, (1, 2, 3), correction=0, keepdim=True)
    standard = (weight - mean) * (variance + 1e-10).rsqrt()
    return conv2d(inputs, standard, stride=stride, padding=weight.shape[-1] // 2)


def _pixels(config) -> int:
    return 3 * config.resolution**2


def _tokens_kept(config) -> int:
    return _side(config) ** 2 * config.depth * (8 + 2 * EXPANSION) * config.width


ARCHITECTURES = {
    "vit": Architecture(
        layout=_vit_layout,
        features=lambda config: config.width,
        products=_vit_products,
        kept=_tokens_kept,
        compute=_vit,
        patch_sizes=lambda config: config.resolution % config.patch_size == 0,
    ),
    "mixer": Architecture(
        layout=_mixer_layout,
        features=lambda config: config.width,
        products=_mixer_products,
        kept=_tokens_kept,
        compute=_mixer,
        patch_sizes=lambda config: config.resolution % config.patch_size == 0,
    ),
    "resnet": Architecture(
        layout=_resnet_layout,
        features=_resnet_features,
        products=_resnet_products,
        kept=_resnet_kept,
        compute=_resnet,
        patch_sizes=lambda config: config.patch_size in (1, 2, 4) and config.resolution % config.patch_size == 0,
    ),
    "linear": Architecture(
        layout=lambda config: {},
        features=_pixels,
        products=lambda config: (0, 0),
        kept=_pixels,
        compute=lambda config, weights, pictures: pictures.flatten(1),
        patch_sizes=lambda config: True,
    ),
}
