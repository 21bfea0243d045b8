"""Procgen: agents that learn to play sixteen games, and are measured on levels they have never seen.

    what is trained      a convolutional policy and value (`nature` or `impala`) by proximal policy optimisation
    on what              `dataset_size` levels of one game, played through EnvPool's engine as they are learned from
    how it is measured   mean return on unseen and on training levels, normalised by published ranges; laws are
                         fitted to the shortfall, 1 - normalised test return

Where to look, in the order of reading:

    trainer.py         what a run costs, an iteration, its measurement, stopping within it and resuming it exactly
    config.py          every setting, with its unit
    ppo.py             the algorithm: play an iteration, advantages, the loss
    agent.py           the networks: size and FLOPs by arithmetic, policy and value as one program
    environments.py    the games: levels, score ranges, replay, evaluation by whole episodes
    ../loop            the loop around an iteration (cohort.py) and Adam (adam.py)
"""

from __future__ import annotations

from trainers.procgen.agent import Agent, network
from trainers.procgen.config import ProcgenConfig
from trainers.procgen.environments import (
    ACTIONS,
    FIRST_TEST_LEVEL,
    MODES,
    SCORES,
    TEST_LEVELS,
    Games,
    engine_seeds,
    play_once,
    random_returns,
    test_games,
)
from trainers.procgen.trainer import PROCGEN, TEST_SEED, ProcgenRun, acting_flops, learning_flops

__all__ = [
    "ACTIONS",
    "FIRST_TEST_LEVEL",
    "MODES",
    "PROCGEN",
    "SCORES",
    "TEST_LEVELS",
    "TEST_SEED",
    "Agent",
    "Games",
    "ProcgenConfig",
    "ProcgenRun",
    "acting_flops",
    "engine_seeds",
    "learning_flops",
    "network",
    "play_once",
    "random_returns",
    "test_games",
]
