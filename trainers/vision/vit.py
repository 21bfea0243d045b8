"""Vision transformer (Dosovitskiy et al., arXiv 2010.11929): the computation of transformers' ViT, weight for weight,
with one product for query, key and value.
"""

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
    width = config.width
    weights = patch_layout(config) | {"class_token": (width,), "positions": (patches_a_side(config) ** 2 + 1, width)}
    for block in range(config.depth):
        weights |= norm_layout(f"{block}.attention_norm", width)
        weights |= {f"{block}.query_key_value": (3 * width, width), f"{block}.query_key_value_bias": (3 * width,)}
        weights |= {f"{block}.attention_out": (width, width), f"{block}.attention_out_bias": (width,)}
        weights |= norm_layout(f"{block}.perceptron_norm", width)
        weights |= perceptron_layout(f"{block}", width, EXPANSION * width)
    return weights | norm_layout("norm", width)


def products(config) -> tuple[int, int]:
    width, tokens = config.width, patches_a_side(config) ** 2 + 1
    block = tokens * (4 + 2 * EXPANSION) * width**2 + 2 * tokens**2 * width
    return 3 * config.resolution**2 * width, config.depth * block


def kept(config) -> Kept:
    width, tokens, heads = config.width, patches_a_side(config) ** 2 + 1, config.width // config.head_size
    norms = 2 * 4 * (width + 2)
    attention = 2 * (width + 3 * width + width) + 4 * heads
    hidden = 2 * (width + 2 * EXPANSION * width)
    return Kept(
        blocks=(tokens * (norms + attention + hidden),) * config.depth,
        inputs=(4 * tokens * width,) * config.depth,
        rest=patch_bytes(config),
    )


def features(config, weights: dict, pictures):
    import torch

    tokens = patches(config, weights, pictures)
    first = weights["class_token"].to(tokens.dtype).expand(len(tokens), 1, config.width)
    stream = torch.cat([first, tokens], 1) + weights["positions"]
    for number in range(config.depth):
        stream = run_block(config, _block, config, weights, number, stream)
    return normalised(weights, "norm", stream[:, 0])


def _block(config, weights: dict, number: int, stream):
    from torch.nn.functional import linear, scaled_dot_product_attention

    inputs = normalised(weights, f"{number}.attention_norm", stream)
    mixed = linear(inputs, weights[f"{number}.query_key_value"], weights[f"{number}.query_key_value_bias"])
    mixed = mixed.view(*mixed.shape[:2], 3, config.width // config.head_size, config.head_size)
    query, key, value = mixed.permute(2, 0, 3, 1, 4)
    read = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    stream = stream + linear(read, weights[f"{number}.attention_out"], weights[f"{number}.attention_out_bias"])
    inputs = normalised(weights, f"{number}.perceptron_norm", stream)
    return stream + perceptron(weights, f"{number}", inputs)
