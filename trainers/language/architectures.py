"""The language models that can be trained: transformers configurations, and their size by arithmetic.

    gpt2      learned positions, LayerNorm, GELU              llama     rotary positions, RMSNorm, gated SiLU
    mamba2    a recurrent state-space model (Dao & Gu, arXiv 2405.21060) in its chunked form

All have their input and output embeddings tied and no dropout. `config` is a `LanguageConfig`
everywhere; nothing but `build_model` imports a framework.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

ARCHITECTURES = ("gpt2", "llama", "mamba2")
INITIAL_DEVIATION = 0.5
"""Standard deviation of initial weights times the root of the width: GPT-2's 0.02 at its smallest width, 768."""
GATED_EXPANSION = 8 / 3
"""Hidden width of a gated perceptron over the model's: as many weights as an ungated one of four widths."""
CONVOLUTION = 4
"""Tokens that a state-space block's convolution sees."""
CHUNK = 64
"""Positions that the chunked form of a state-space model handles as one square."""


def parameters(config) -> tuple[int, int]:
    """Trainable scalars: all of them, and those outside embeddings of tokens and positions."""
    embeddings = config.vocabulary * config.width
    norm = config.width
    if config.architecture == "gpt2":
        embeddings += config.context_length * config.width
        norm += config.width  # LayerNorm has a bias
    without = config.depth * _block_parameters(config) + norm
    return embeddings + without, without


def forward_products(config) -> int:
    """Multiply-adds of a forward pass over one sequence."""
    logits = config.context_length * config.vocabulary * config.width
    return config.depth * _block_products(config) + logits


def width_for(config) -> int:
    """The multiple of head_size whose model comes nearest to target_parameters on a logarithmic scale."""

    def size(heads: int) -> int:
        # The copy has no target, so that its width is the one given here.
        copy = dataclasses.replace(config, target_parameters=0, width=heads * config.head_size)
        return parameters(copy)[0]

    heads = 1
    while size(2 * heads) < config.target_parameters:
        heads *= 2
    nearest = min(
        range(max(1, heads // 2), 4 * heads + 1),
        key=lambda heads: abs(math.log(size(heads) / config.target_parameters)),
    )
    return nearest * config.head_size


def build_model(config):
    """The model with its initial weights, made on the CPU: a seed gives the same weights for every device."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(config.seed)
        model = transformers.AutoModelForCausalLM.from_config(_model_config(config, transformers))
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                parameter.mul_(config.init_scale)
            if config.widening != 1 and is_embedding(name):
                parameter.mul_(math.sqrt(config.widening))
    return model.train()


def is_embedding(name: str) -> bool:
    """Whether a weight is one of tokens or positions, by its name in transformers."""
    return any(part in name for part in ("wte", "wpe", "embed"))


def rate_factors(config, weights: Mapping[str, Any]) -> dict[str, float]:
    """The share of the learning rate of every weight that has not the whole: matrices whose inputs are of the width."""
    if config.widening == 1:
        return {}
    return {
        name: 1 / config.widening for name, weight in weights.items() if weight.dim() == 2 and not is_embedding(name)
    }


def checkpoint_blocks(model) -> None:
    """Let every block be computed again in the backward pass."""
    # The older name warns where transformers has the newer one.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False, "preserve_rng_state": False})


def _model_config(config, transformers):
    shared = {
        "vocab_size": config.vocabulary,
        "initializer_range": INITIAL_DEVIATION / math.sqrt(config.width),
        "tie_word_embeddings": True,
        "use_cache": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    heads = config.width // config.head_size
    if config.architecture == "gpt2":
        return transformers.GPT2Config(
            n_embd=config.width,
            n_layer=config.depth,
            n_head=heads,
            n_positions=config.context_length,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            attn_implementation="sdpa",
            **shared,
        )
    if config.architecture == "llama":
        return transformers.LlamaConfig(
            hidden_size=config.width,
            intermediate_size=gated_width(config),
            num_hidden_layers=config.depth,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=config.context_length,
            attn_implementation="sdpa",
            **shared,
        )
    return transformers.Mamba2Config(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_heads=2 * heads,
        head_dim=config.head_size,
        state_size=config.state_size,
        n_groups=1,
        expand=2,
        conv_kernel=CONVOLUTION,
        chunk_size=min(CHUNK, config.context_length),
        **shared,
    )


def gated_width(config) -> int:
    """Hidden width of a gated perceptron, in multiples of 8, as matrix units like them."""
    return 8 * max(1, round(GATED_EXPANSION * config.width / 8))


def block_weights(config) -> int:
    """Weights of a block's products and convolutions."""
    width = config.width
    if config.architecture == "gpt2":
        return 12 * width**2
    if config.architecture == "llama":
        return 4 * width**2 + 3 * width * gated_width(config)
    inner, convolved = 2 * width, 2 * width + 2 * config.state_size
    return width * (inner + convolved + inner // config.head_size) + convolved * CONVOLUTION + inner * width


def _block_parameters(config) -> int:
    """With biases and norms."""
    weights, width = block_weights(config), config.width
    if config.architecture == "gpt2":
        return weights + 13 * width
    if config.architecture == "llama":
        return weights + 2 * width
    inner, heads = 2 * width, 2 * width // config.head_size
    convolved = inner + 2 * config.state_size
    return weights + width + convolved + 3 * heads + inner


def _block_products(config) -> int:
    """Multiply-adds of one block's forward pass over one sequence."""
    width, length = config.width, config.context_length
    attention = 4 * length * width**2 + 2 * length**2 * width
    if config.architecture == "gpt2":
        return attention + 8 * length * width**2
    if config.architecture == "llama":
        return attention + 3 * length * width * gated_width(config)
    inner, heads, state = 2 * width, 2 * width // config.head_size, config.state_size
    convolved = inner + 2 * state
    chunk = min(CHUNK, length)
    chunks = math.ceil(length / chunk)
    projections = length * width * (inner + convolved + heads + inner)
    convolution = (length + CONVOLUTION - 1) * convolved * CONVOLUTION
    within = chunks * chunk**2 * (heads * state + inner)
    states = 2 * chunks * chunk * inner * state
    between = (chunks + 1) ** 2 * inner * state
    return projections + convolution + within + states + between
