"""Exams of reinforcement learning: steps to a threshold, and what is missing to the best return of a task."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fitting import Metric

from . import sources
from .definition import Exam

# The best return of each game in easy mode (Cobbe et al. 2019, arXiv 1912.01588, appendix C). Agents surpass that of
# miner, so that nothing is missing to it.
_BEST = {
    "bigfish": 40.0,
    "bossfight": 13.0,
    "caveflyer": 12.0,
    "chaser": 13.0,
    "climber": 12.6,
    "coinrun": 10.0,
    "dodgeball": 19.0,
    "fruitbot": 32.4,
    "heist": 10.0,
    "jumper": 10.0,
    "leaper": 10.0,
    "maze": 10.0,
    "ninja": 10.0,
    "plunder": 30.0,
    "starpilot": 64.0,
}
_HYPERPARAMETERS = {
    "e_pi": "e_aux == 6 and n_pi == 32",
    "e_aux": "e_pi == 1 and n_pi == 32",
    "n_pi": "e_pi == 1 and e_aux == 6",
}
_CONTROL = ("dog_run", "dog_stand", "dog_trot", "dog_walk", "humanoid_run", "humanoid_stand", "humanoid_walk")


def _missing(best: float) -> Metric:
    return Metric(name="missing return", direction="higher", best=best)


def _thresholds() -> Iterator[Exam]:
    for short, suite in (("medium", "dmc_medium"), ("dog-humanoid", "dmc_dog_humanoid")):
        yield Exam(
            name=f"value-rl-{short}",
            domain="reinforcement",
            source=sources.VALUE_RL,
            file="time_to_threshold.csv",
            column="env_steps_to_threshold",
            inputs={"updates": "utd", "N": "critic_params"},
            rows=f"suite == '{suite}'",
            held_out="critic_params > 2e7",
            metric=Metric(name="environment steps to threshold", ceiling=math.inf),
        )


def _games() -> Iterator[Exam]:
    """A hyperparameter a game, in turn, and the last 60% of the steps held out."""
    for k, (game, best) in enumerate(_BEST.items()):
        name = list(_HYPERPARAMETERS)[k % 3]
        yield Exam(
            name=f"ppg-{name.replace('_', '-')}-{game}",
            domain="reinforcement",
            source=sources.PPG,
            file="returns.csv",
            column="return",
            inputs={"steps": "env_steps"},
            hyperparameters={name: name},
            rows=f"algorithm == 'ppg' and game == '{game}' and {_HYPERPARAMETERS[name]}",
            held_out="steps > 4e7",
            metric=_missing(best),
        )


def _control() -> Iterator[Exam]:
    for task in _CONTROL:
        for name, column, held_out in (("width", "critic_width", "critic_width > 800"), ("updates", "utd", "utd > 6")):
            sweep = "width" if name == "width" else "utd"
            yield Exam(
                name=f"simba-by-{name}-{task.replace('_', '-')}",
                domain="reinforcement",
                source=sources.SIMBA,
                file="returns_by_seed_mean.csv",
                column="mean",
                inputs={name: column, "steps": "env_step"},
                rows=f"sweep == '{sweep}' and agent == 'simba' and reset == 'False' and metric == 'avg_return' "
                f"and env_name == '{task}'",
                held_out=held_out,
                metric=_missing(1000.0),
            )


def exams() -> Iterator[Exam]:
    yield from _thresholds()
    yield from _games()
    yield from _control()


def curves() -> Iterator[Exam]:
    for game, best in _BEST.items():
        yield Exam(
            name=f"curve-ppo-{game}",
            domain="reinforcement",
            source=sources.PPO,
            file="returns.csv",
            column="return",
            inputs={"steps": "env_steps"},
            rows=f"mode == 'easy' and num_levels == '200' and eval_split == 'test' and game == '{game}'",
            held_out="steps > 2e7",
            metric=_missing(best),
        )
