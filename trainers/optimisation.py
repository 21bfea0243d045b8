"""The optimiser that the trainers share: AdamW, and learning rates that warm up and then follow a schedule.

Every schedule is a factor on the peak learning rate, so that cells with different rates and schedules can train side by
side. `wsd` (warm-up, stable, decay) keeps its peak until the last part of the run: any point before that part is a
point of every longer run too, so one run gives honest measurements at many lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SCHEDULES = ("constant", "cosine", "wsd")
BETAS = (0.9, 0.95)
"""As for most published language models: a second moment over 20 steps follows short runs better than over 1,000."""
EPSILON = 1e-8
FINAL_SHARE = 0.1
"""Where a cosine ends, as a share of the peak: the usual choice since Chinchilla."""


def schedule_rules(config) -> dict[str, tuple[bool, str]]:
    """Rules for `check_config` about the fields that every trainer with a schedule has."""
    return {
        "learning_rate": (config.learning_rate > 0, "above 0"),
        "schedule": (config.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
        "warmup_steps": (0 <= config.warmup_steps <= config.steps, f"between 0 and steps = {config.steps}"),
        "decay_share": (0 <= config.decay_share <= 1, "between 0 and 1"),
        "weight_decay": (config.weight_decay >= 0, "at least 0"),
        "init_scale": (config.init_scale > 0, "above 0"),
    }


def learning_rate_factor(config, step: int) -> float:
    """The share of the peak learning rate that the step after `step` finished steps is taken with.

    `config` has `schedule`, `steps`, `warmup_steps` and `decay_share`. The last step of `wsd` is just above zero.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        done = max(0, step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
        return warm * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2)
    if config.schedule == "wsd":
        decaying = round(config.decay_share * config.steps)
        return min(warm, (config.steps - step) / (decaying + 1))
    return warm


class StackedAdamW:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) on the flat weights of several models, shape (models, weights).

    A row is a model with its own learning rate and weight decay; nothing passes between rows. `decayed` marks the
    weights that decay, shape (weights,).
    """

    def __init__(self, weights, configs: Sequence, decayed):
        import torch

        self.weights, self.configs, self.decayed = weights, list(configs), decayed
        self.first_moment, self.second_moment = torch.zeros_like(weights), torch.zeros_like(weights)
        self.gradient = torch.zeros_like(weights)

    def update(self, step: int) -> None:
        """One update of every row from `gradient`, after `step` finished steps."""
        import torch

        rates = [config.learning_rate * learning_rate_factor(config, step) for config in self.configs]
        decays = [rate * config.weight_decay for rate, config in zip(rates, self.configs, strict=True)]
        column = {"dtype": self.weights.dtype, "device": self.weights.device}
        rate, decay = (torch.tensor(values, **column)[:, None] for values in (rates, decays))
        count, (first, second) = step + 1, BETAS
        with torch.no_grad():
            self.first_moment.lerp_(self.gradient, 1 - first)
            self.second_moment.mul_(second).addcmul_(self.gradient, self.gradient, value=1 - second)
            scale = (self.second_moment / (1 - second**count)).sqrt_().add_(EPSILON)
            if any(decays):
                self.weights.mul_(1 - decay * self.decayed)
            self.weights.sub_(self.first_moment.div(scale).mul_(rate / (1 - first**count)))


def fused_adamw(parameters, config):
    """torch's AdamW with all its arithmetic in one kernel; norms, biases and other vectors do not decay.

    Its moments are there from the start, so that a checkpoint has them to be written to.
    """
    import torch

    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, eps=EPSILON, fused=True)
    for parameter in parameters:
        optimiser.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimiser
