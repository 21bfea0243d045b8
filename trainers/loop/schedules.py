"""When a run is measured, and how its learning rate moves.

Every schedule is a factor on the peak learning rate, so that cells with different rates and schedules can train side by
side. A model whose rate has decayed is better than one of equal length whose rate has not, so that a law must not be
fitted to both as if they differed in length alone. The points of one run are therefore all of one kind, and the column
`schedule` says of which:

    constant    measured on the way, since every point is what a run of that length gives: no rate has decayed
    cosine      measured at the end alone: before it the rate has decayed to the plan of a longer run
    wsd         warm-up, stable, decay: measured at the end alone, for the same reason
    anneal      a trunk at a constant rate, and for every length that is measured a branch of it that decays as `wsd`
                of that length does: every point is that of a whole `wsd` run (branches.py)

A point of a branch has the step, the examples and the FLOPs of the `wsd` run that it stands for: those from the
beginning of the trunk along its own branch. What the other branches cost is in the cost of the whole run alone.
"""

from __future__ import annotations

import math

SCHEDULES = ("constant", "cosine", "wsd", "anneal")
FINAL_SHARE = 0.1
"""Where a cosine ends, as a share of the peak: the usual choice since Chinchilla."""
STATE_BYTES = 16
"""Bytes that a trainable scalar takes: itself, its gradient and two moments of Adam in single precision."""
TRUNK_BYTES = 12
"""Bytes that a trainable scalar takes again while a branch is away from its trunk, which keeps no gradient."""


def log_spaced_steps(steps: int, *, first: int, per_doubling: int) -> tuple[int, ...]:
    """Steps from `first` to `steps`, evenly spaced in log2 with `per_doubling` a doubling; the last is always `steps`.

    The points lie on a grid anchored at `first`, so that two runs of different length share their early points.
    """
    first = min(first, steps)
    doublings = math.log2(steps / first)
    grid = (round(first * 2 ** (i / per_doubling)) for i in range(math.floor(doublings * per_doubling + 1e-9) + 1))
    return tuple(sorted({*grid, steps}))


def measured_steps(config, *, first: int, per_doubling: int = 2) -> tuple[int, ...]:
    """The steps at which a run with a schedule is measured: log-spaced ones where each is an honest length, or the end.

    Branches begin when the warm-up is over: a shorter run would not have been warmed up as long.
    """
    if config.schedule in ("cosine", "wsd"):
        return (config.steps,)
    grid = log_spaced_steps(config.steps, first=first, per_doubling=per_doubling)
    if config.schedule == "constant":
        return grid
    return tuple(n for n in grid if n == config.steps or branch_start(config, n) >= config.warmup_steps)


def branch_start(config, length: int) -> int:
    """The step of the trunk at which the branch to a length begins to decay, as `wsd` of that length does."""
    return length - max(1, round(config.decay_share * length))


def branch_steps(config, lengths: tuple[int, ...]) -> int:
    """Optimiser steps that branches to some lengths take beside those of the longest run; 0 without branches."""
    if config.schedule != "anneal":
        return 0
    return sum(length - branch_start(config, length) for length in lengths[:-1])


def state_bytes(config) -> int:
    """Bytes that a trainable scalar takes with all that training keeps of it."""
    return STATE_BYTES + TRUNK_BYTES * (config.schedule == "anneal")


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


def learning_rate_factor(config, step: int, *, branch: int | None = None) -> float:
    """The share of the peak learning rate that the step after `step` finished steps is taken with.

    `config` has `schedule`, `steps`, `warmup_steps` and `decay_share`; `branch` is the length of the branch that an
    annealing run is on. The last step of `wsd` and of a branch is just above zero.
    """
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        done = max(0, step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
        return warm * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2)
    if config.schedule == "wsd":
        decaying = round(config.decay_share * config.steps)
        return min(warm, (config.steps - step) / (decaying + 1))
    if branch is not None:
        return min(warm, (branch - step) / (branch - branch_start(config, branch) + 1))
    return warm
