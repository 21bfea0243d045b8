"""BiT (Kolesnikov et al., arXiv 1912.11370): pre-activation bottlenecks, group norm, standardised weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trainers.vision.layers import EPSILON, EXPANSION, norm_layout, patches_a_side

STAGES = {16: (3, 4, 6, 3), 33: (3, 4, 23, 3), 50: (3, 8, 36, 3)}
"""Blocks of the four stages of ResNet-50, -101 and -152, by their sum."""
GROUPS = 32
"""Groups of a group norm, where the channels can be divided so."""


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
    channels, side = config.width, patches_a_side(config)
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


def layout(config) -> dict:
    kernel = _stem_kernel(config)
    weights = {"stem": (config.width, 3, kernel, kernel)}
    for block in _bottlenecks(config):
        name, inner = block.name, block.inner
        weights |= norm_layout(f"{name}.1.norm", block.channels) | {f"{name}.1": (inner, block.channels, 1, 1)}
        weights |= norm_layout(f"{name}.2.norm", inner) | {f"{name}.2": (inner, inner, 3, 3)}
        weights |= norm_layout(f"{name}.3.norm", inner) | {f"{name}.3": (block.outputs, inner, 1, 1)}
        if block.projected:
            weights[f"{name}.shortcut"] = (block.outputs, block.channels, 1, 1)
    return weights | norm_layout("norm", feature_count(config))


def feature_count(config) -> int:
    return EXPANSION * config.width * 8


def products(config) -> tuple[int, int]:
    stem_side = math.ceil(config.resolution / (1 if config.patch_size == 1 else 2))
    stem = stem_side**2 * 3 * _stem_kernel(config) ** 2 * config.width
    rest = 0
    for block in _bottlenecks(config):
        before, after = block.side**2, block.side_after**2
        rest += before * block.channels * block.inner + after * block.inner * (9 * block.inner + block.outputs)
        rest += after * block.channels * block.outputs * block.projected
    return stem, rest


def activations(config) -> int:
    blocks = list(_bottlenecks(config))
    inside = sum(
        2 * b.side**2 * (b.channels + b.inner) + b.side_after**2 * (2 * b.inner + 2 * b.outputs) for b in blocks
    )
    return inside + config.resolution**2 * config.width


def features(config, weights: dict, pictures):
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
