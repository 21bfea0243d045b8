"""When a run is measured, and how its learning rate moves.

Every schedule is a factor on the peak learning rate, so that cells with different rates and schedules can train side by
side. `wsd` (warm-up, stable, decay) keeps its peak until the last part of the run: any point before that part is a
point of every longer run too, so one run gives honest measurements at many lengths.
"""

from __future__ import annotations

import math

SCHEDULES = ("constant", "cosine", "wsd")
FINAL_SHARE = 0.1
"""Where a cosine ends, as a share of the peak: the usual choice since Chinchilla."""


def log_spaced_steps(steps: int, *, first: int, per_doubling: int) -> tuple[int, ...]:
    """Steps from `first` to `steps`, evenly spaced in log2 with `per_doubling` a doubling; the last is always `steps`.

    The points lie on a grid anchored at `first`, so that two runs of different length share their early points.
    """
    first = min(first, steps)
    doublings = math.log2(steps / first)
    grid = (round(first * 2 ** (i / per_doubling)) for i in range(math.floor(doublings * per_doubling + 1e-9) + 1))
    return tuple(sorted({*grid, steps}))


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
