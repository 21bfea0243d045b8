"""BiT (Kolesnikov et al., arXiv 1912.11370): pre-activation bottlenecks, group norm, standardised weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trainers.loop import Kept
from trainers.vision.layers import EPSILON, EXPANSION, norm_layout, patches_a_side, run_block

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


def kept(config) -> Kept:
    def active(channels: int, side: int) -> int:
        """A norm's input and output in single precision, and the copy that the convolution behind it is made of."""
        return (4 + 4 + 2) * channels * side**2

    blocks, inputs = list(_bottlenecks(config)), []
    by_block = [
        active(b.channels, b.side)
        + 2 * b.channels * b.side**2 * b.projected
        + active(b.inner, b.side)
        + active(b.inner, b.side_after)
        for b in blocks
    ]
    inputs = [2 * b.channels * b.side**2 for b in blocks]
    stem = 2 * 3 * config.resolution**2
    if config.patch_size == 4:  # The pool keeps its input and where each maximum was.
        stem += 2 * config.width * math.ceil(config.resolution / 2) ** 2 + 8 * config.width * blocks[0].side ** 2
    last = (4 + 4) * feature_count(config) * blocks[-1].side_after ** 2 + 2 * feature_count(config)
    return Kept(blocks=by_block, inputs=inputs, rest=stem + last)


def features(config, weights: dict, pictures):
    from torch.nn.functional import max_pool2d

    # The pictures' own order of memory is the one that convolutions like best.
    stream = _convolved(pictures.permute(0, 3, 1, 2), weights["stem"], 1 if config.patch_size == 1 else 2)
    if config.patch_size == 4:
        stream = max_pool2d(stream, 3, stride=2, padding=1)
    for one in _bottlenecks(config):
        stream = run_block(config, _block, one, weights, stream)
    return _active(weights, "norm", stream).mean((2, 3))


def _block(one: _Bottleneck, weights: dict, stream):
    name = one.name
    inputs = _active(weights, f"{name}.1.norm", stream)
    if one.projected:
        stream = _convolved(inputs, weights[f"{name}.shortcut"], one.stride)
    inner = _active(weights, f"{name}.2.norm", _convolved(inputs, weights[f"{name}.1"], 1))
    inner = _active(weights, f"{name}.3.norm", _convolved(inner, weights[f"{name}.2"], one.stride))
    return stream + _convolved(inner, weights[f"{name}.3"], 1)


def _active(weights: dict, name: str, inputs):
    from torch.nn.functional import group_norm, relu

    groups = math.gcd(GROUPS, inputs.shape[1])
    return relu(group_norm(inputs, groups, weights[name], weights[f"{name}_bias"], EPSILON))


def _convolved(inputs, weight, stride: int):
    """A convolution whose weights are standardised for each output (Qiao et al., arXiv 1903.10520)."""
    import torch
    from torch.nn.functional import conv2d

    variance, mean = torch.var_mean(weight, (1, 2, 3), correction=0, keepdim=True)
    standard = (weight - mean) * (variance + 1e-10).rsqrt()
    return conv2d(inputs, standard, stride=stride, padding=weight.shape[-1] // 2)
