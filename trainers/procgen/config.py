"""What a training run on Procgen is: the game, the network and the settings of proximal policy optimisation.

Unless a field says otherwise its default is that of Cobbe et al. (arXiv 1912.01588, appendix D).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from trainers.contract import check_config
from trainers.procgen.agent import NETWORKS, PRECISIONS
from trainers.procgen.environments import FIRST_TEST_LEVEL, MODES, SCORES


@dataclass(frozen=True, kw_only=True)
class ProcgenConfig:
    """One agent and its training run."""

    game: str = "starpilot"
    """One of the sixteen games."""
    mode: str = "easy"
    """Difficulty: `easy` or `hard`."""
    dataset_size: int = 200
    """Training levels. Cobbe et al. use 200 in easy and 500 in hard mode; 2^30 is as good as no limit."""
    network: str = "nature"
    """`nature` (Mnih et al. 2015), fast on a CPU, or `impala` (Espeholt et al., arXiv 1802.01561), a residual network
    that learns more from a step and costs eight times as much."""
    width: float = 1.0
    """Factor on the channels and hidden units of the network."""
    precision: str = field(default="float32", metadata={"added": True})
    """Of convolutions and the hidden layer: `float32`, or `bfloat16`, which takes about half the time on a CPU with
    instructions for it (AVX512-BF16 or AMX) and is emulated, slowly and with a warning, on others (agent.py). Play
    amplifies whatever is rounded, so an agent is named by its precision and not by where it was trained."""
    steps: int = 1_526
    """Iterations; with the default batch 25 million environment steps, the published budget of easy mode."""
    batch_size: int = 16_384
    """Environment steps of an iteration, over all environments."""
    environments: int = 64
    """Environments that are played at once; each plays `batch_size / environments` steps an iteration."""
    minibatches: int = 8
    """Optimiser steps of a pass over an iteration's data."""
    epochs: int = 3
    """Passes over an iteration's data."""
    learning_rate: float = 5e-4
    """Learning rate of Adam, constant."""
    discount: float = 0.999
    """Discount of future rewards, a step."""
    gae_lambda: float = 0.95
    """Decay of generalised advantage estimation (Schulman et al., arXiv 1506.02438)."""
    clip: float = 0.2
    """How far the ratio of probabilities, and a value, may move from those acted on."""
    entropy: float = 0.01
    """Weight of the policy's entropy in the objective."""
    value_weight: float = 0.5
    """Weight of the value loss."""
    gradient_norm: float = 0.5
    """Longer gradients are shortened to this norm."""
    test_episodes: int = 64
    """Episodes a measurement plays on test levels, and again on training levels."""
    seed: int = 0
    """Seed of the weights, the environments, the actions and the order of learning."""

    def __post_init__(self) -> None:
        rollout = self.batch_size % max(self.environments, 1) == 0
        equal_parts = self.batch_size % max(self.minibatches, 1) == 0
        check_config(
            self,
            game=(self.game in SCORES, f"one of {', '.join(SCORES)}"),
            mode=(self.mode in MODES, f"one of {', '.join(MODES)}"),
            dataset_size=(1 <= self.dataset_size <= FIRST_TEST_LEVEL, "between 1 and 2^30"),
            network=(self.network in NETWORKS, f"one of {', '.join(NETWORKS)}"),
            width=(self.width > 0, "above 0"),
            precision=(self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            steps=(self.steps >= 1, "at least 1"),
            batch_size=(self.batch_size >= 2 and rollout and equal_parts, "a multiple of environments and minibatches"),
            environments=(self.environments >= 1, "at least 1"),
            minibatches=(1 <= self.minibatches <= self.batch_size // 2, "between 1 and half of batch_size"),
            epochs=(self.epochs >= 1, "at least 1"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            discount=(0 <= self.discount <= 1, "between 0 and 1"),
            gae_lambda=(0 <= self.gae_lambda <= 1, "between 0 and 1"),
            clip=(self.clip > 0, "above 0"),
            entropy=(self.entropy >= 0, "at least 0"),
            value_weight=(self.value_weight >= 0, "at least 0"),
            gradient_norm=(self.gradient_norm > 0, "above 0"),
            test_episodes=(self.test_episodes >= 2, "at least 2"),
            seed=(self.seed >= 0, "at least 0"),
        )
