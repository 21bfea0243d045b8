"""procgen: agents that learn to play Procgen's games, and are measured on levels they have never seen.

Proximal policy optimisation (Schulman et al., arXiv 1707.06347) as is usual on Procgen; unless a field says otherwise
its default is that of Cobbe et al. (arXiv 1912.01588, appendix D). A step is an iteration: `batch_size` environment
steps are played by one policy, then learned from in `epochs` passes of `minibatches` optimiser steps each. So a point's
`examples` are environment steps, and `metrics["optimiser_steps"]` counts updates. The learning rate is constant: every
point of a run is the end of a shorter run, and one run measures the whole axis of environment steps.

Each measurement plays `test_episodes` episodes on training levels and as many on test levels, in environments of their
own with the same seeds every time. Metrics: `test_return`, its standard error `test_return_error` over episodes,
`train_return`, both normalised by the published ranges of each game, `shortfall` = 1 - normalised test return, the
finished training `episodes`, `optimiser_steps`, `acting_flops` and `learning_flops`. The shortfall is what laws are
fitted to: about 1 for a policy that learned nothing (more where it plays worse than one that sees nothing), towards 0
for the best; it is kept above `LEAST_SHORTFALL`.

FLOPs are those of convolutions and matrix products, two for a multiply-add. Acting: one forward pass an environment
step and one more an environment and iteration, to value the frame that comes next. Learning: `epochs` times the forward
pass, the gradient of every weight and the gradient of every layer's input but the first's. Measurements do not count.

A run is saved between two iterations. Asked to stop, it does so within the milliseconds of a step in the environments
or of a group of rows, and gives up the iteration under way. The engine cannot save its state, so a checkpoint holds the
actions since the environments were opened (at most `REOPEN_AFTER` steps an environment, which are then opened with new
seeds), and a resumed run plays them again: it is bitwise equal to an uninterrupted one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainers.contract import Checkpoint, Context, Counts, End, Ending, Point, check_config
from trainers.procgen_agent import NETWORKS, Agent, Layer, network
from trainers.procgen_envs import (
    ACTIONS,
    FIRST_TEST_LEVEL,
    MODES,
    SCORES,
    SIDE,
    Games,
    engine_seeds,
    normalised,
    play_once,
    test_games,
)
from trainers.procgen_ppo import Experience, RewardScale, learn, play
from trainers.schedule import log_spaced_steps

TEST_SEED = 0x7E57
"""Seed of the environments that measure, the same for every cell and point."""
LEAST_SHORTFALL = 0.01
"""Shortfalls are kept above this: the published best scores are no exact maxima, and laws are fitted to logarithms."""
REOPEN_AFTER = 8_192
"""Steps of an environment before it is opened anew: bounds the replay of a resumed run to minutes at the most, and cuts
short about one episode in forty."""


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


class Procgen:
    """See the module's docstring."""

    name = "procgen"
    version = 2
    Config = ProcgenConfig
    units = {"dataset_size": "levels", "examples": "environment steps", "batch_size": "environment steps"}

    def count(self, config: ProcgenConfig) -> Counts:
        layers = _layers(config)
        parameters = sum(layer.weights + layer.outputs for layer in layers)
        # Frames and what is kept of a step; then the activations of a minibatch and their gradients.
        rollout = config.batch_size * (3 * SIDE**2 + 4 * (ACTIONS + 8))
        activations = config.batch_size // config.minibatches * sum(layer.outputs * layer.side**2 for layer in layers)
        return Counts(
            parameters=parameters,
            parameters_without_embeddings=parameters,
            flops_per_step=acting_flops(config) + learning_flops(config),
            steps=config.steps,
            bytes=4 * (4 * parameters + 2 * activations) + rollout,
        )

    def evaluation_steps(self, config: ProcgenConfig) -> tuple[int, ...]:
        return log_spaced_steps(config.steps, first=8, per_doubling=1)

    def cohort_key(self, config: ProcgenConfig) -> tuple:
        # Agents of a cohort are trained one after another: the engine and convolutions fill a core by themselves.
        return (config.game, config.mode, config.network, config.width, config.steps, config.batch_size)

    def train(self, configs: Sequence[ProcgenConfig], context: Context) -> Iterator[Point | End]:
        for cell in range(len(configs)):
            if context.should_stop():
                return
            with _Run(cell, configs[cell], context.device, context.should_stop) as run:
                yield from run.run(context)


def acting_flops(config: ProcgenConfig) -> float:
    """FLOPs of playing one iteration."""
    return (config.batch_size + config.environments) * sum(layer.flops for layer in _layers(config))


def learning_flops(config: ProcgenConfig) -> float:
    """FLOPs of learning from one iteration."""
    layers = _layers(config)
    return config.epochs * config.batch_size * (3 * sum(layer.flops for layer in layers) - layers[0].flops)


def _layers(config: ProcgenConfig) -> tuple[Layer, ...]:
    return network(config.network, config.width)


class _Stopped(Exception):
    """The run was asked to end within an iteration."""


class _Run:
    """One cell from its start or its checkpoint on. A context manager: leaving it frees the environments."""

    STATE = ("weights", "first_moment", "second_moment")

    def __init__(self, cell: int, config: ProcgenConfig, device: str, should_stop: Callable[[], bool] = lambda: False):
        self.cell, self.config, self.should_stop = cell, config, should_stop
        self.agent = Agent(config.network, config.width, seed=config.seed, device=device)
        # Results do not depend on the engine's threads; a CPU cell has one core, a GPU's cell the whole machine.
        self.threads = 1 if self.agent.device.type == "cpu" else min(config.environments, os.cpu_count() or 1)
        self.rollout = config.batch_size // config.environments
        self.step, self.seconds, self.episodes = 0, 0.0, 0
        self.scale = RewardScale(config.environments)
        self.games: Games | None = None
        self.opened = -1

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.games is not None:
            self.games.close()
            self.games = None

    def restore(self, checkpoint: Checkpoint) -> None:
        import torch

        self.step = checkpoint.step
        for name in self.STATE:
            with torch.no_grad():
                getattr(self.agent, name).copy_(torch.from_numpy(checkpoint.arrays[name]))
        self.scale = RewardScale(self.config.environments, **{n: checkpoint.arrays[n] for n in RewardScale.STATE})
        self.episodes = int(checkpoint.arrays["episodes"])
        opening = self._opening(self.step - 1)
        if opening == self._opening(self.step):
            self._open(opening)
            self.games.replay(checkpoint.arrays["actions"], self.look)

    def checkpoint(self) -> Checkpoint:
        """The state between two iterations; shares no memory with the run."""
        arrays = {name: getattr(self.agent, name).detach().cpu().numpy().copy() for name in self.STATE}
        arrays |= {name: np.array(getattr(self.scale, name)) for name in RewardScale.STATE}
        arrays |= {"episodes": np.asarray(self.episodes), "actions": np.stack(self.games.actions)}
        return Checkpoint(step=self.step, seconds=self.seconds, arrays=arrays)

    def look(self) -> None:
        """Raise where the run must end: an iteration that is under way is given up."""
        if self.should_stop():
            raise _Stopped

    def run(self, context: Context) -> Iterator[Point | End]:
        kept = context.load(self.cell)
        self.seconds = kept.seconds if kept else 0.0
        began = time.perf_counter()
        try:
            if kept:
                self.restore(kept)
            evaluations = set(PROCGEN.evaluation_steps(self.config))
            while self.step < self.config.steps:
                self.iterate()
                if not self.agent.is_finite():
                    yield End(cell=self.cell, step=self.step, ending=Ending.DIVERGED)
                    return
                metrics = self.measure() if self.step in evaluations else None
                self.seconds += time.perf_counter() - began
                if metrics:
                    yield self.point(metrics)
                began = time.perf_counter()
                kept = self.checkpoint()
                if context.checkpoint_due():
                    context.save(self.cell, kept)
            yield End(cell=self.cell, step=self.step)
        except _Stopped:
            if kept:
                context.save(self.cell, replace(kept, seconds=self.seconds + time.perf_counter() - began))

    def iterate(self) -> None:
        """Play and learn from one iteration."""
        random = self.random()
        self.learn(self.play(random), random)

    def random(self):
        """The torch generator of the iteration that comes next."""
        import torch

        return torch.Generator().manual_seed(int(engine_seeds(1, self.config.seed, 2, self.step)[0]))

    def point(self, metrics: dict[str, float]) -> Point:
        acting, learning = acting_flops(self.config) * self.step, learning_flops(self.config) * self.step
        counted = {
            "episodes": float(self.episodes),
            "optimiser_steps": float(self._updates()),
            "acting_flops": acting,
            "learning_flops": learning,
        }
        return Point(
            cell=self.cell,
            step=self.step,
            metrics=metrics | counted,
            examples=self.step * self.config.batch_size,
            flops=acting + learning,
            seconds=self.seconds,
        )

    def play(self, random) -> Experience:
        """Play one iteration with the policy as it is."""
        if (opening := self._opening(self.step)) != self.opened:
            self._open(opening)
            self.scale.returns[:] = 0
        seen = play(self.agent, self.games, self.scale, self.config, random, self.look)
        self.episodes += seen.episodes
        return seen

    def learn(self, seen: Experience, random) -> None:
        """Learn from an iteration, which ends with it."""
        learn(
            self.agent,
            seen,
            self.config,
            random,
            self.look,
            updates=self.step * self.config.epochs * self.config.minibatches,
        )
        self.step += 1

    def measure(self) -> dict[str, float]:
        """Play on test and on training levels with the policy as it is. Training state is not touched."""
        import torch

        of = self.config
        random = np.random.default_rng((of.seed, 3, self.step))

        def choose(playing: np.ndarray, frames: np.ndarray) -> np.ndarray:
            self.look()
            with torch.no_grad():
                logits, _ = self.agent(torch.from_numpy(frames).to(self.agent.device))
            # Noise for every environment, ended or not: what one sees does not depend on when others end.
            noise = random.gumbel(size=(of.test_episodes, ACTIONS))
            return (logits.cpu().numpy() + noise[playing]).argmax(1)

        seeds = engine_seeds(of.test_episodes, TEST_SEED)
        with test_games(game=of.game, mode=of.mode, seeds=seeds, threads=self.threads) as games:
            test = play_once(choose, games)
        with self._training_games(seeds) as games:
            train = play_once(choose, games)
        test_normalised = normalised(float(test.mean()), of.game, of.mode)
        return {
            "test_return": float(test.mean()),
            "test_return_error": float(test.std(ddof=1) / math.sqrt(len(test))),
            "train_return": float(train.mean()),
            "test_normalised": test_normalised,
            "train_normalised": normalised(float(train.mean()), of.game, of.mode),
            "shortfall": max(1 - test_normalised, LEAST_SHORTFALL),
        }

    def _updates(self) -> int:
        """Optimiser steps so far."""
        return self.step * self.config.epochs * self.config.minibatches

    def _opening(self, step: int) -> int:
        """How often the environments have been opened anew when iteration `step` is played."""
        return step * self.rollout // REOPEN_AFTER

    def _open(self, opening: int) -> None:
        if self.games is not None:
            self.games.close()
        self.opened = opening
        self.games = self._training_games(engine_seeds(self.config.environments, self.config.seed, 1, opening))

    def _training_games(self, seeds: np.ndarray) -> Games:
        of = self.config
        return Games(
            game=of.game, mode=of.mode, first_level=0, levels=of.dataset_size, seeds=seeds, threads=self.threads
        )


PROCGEN = Procgen()
