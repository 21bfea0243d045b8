"""procgen: agents that learn to play Procgen's games, and are measured on levels they have never seen.

Proximal policy optimisation (Schulman et al., arXiv 1707.06347) as is usual on Procgen, with the defaults of
Cobbe et al. (config.py). A step is an iteration: `batch_size` environment steps are played by one policy, then learned
from in `epochs` passes of `minibatches` optimiser steps each. So a point's `examples` are environment steps, and
`metrics["optimiser_steps"]` counts updates. The learning rate is constant: every point of a run is the end of a shorter
run, and one run measures the whole axis of environment steps.

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
seeds), and a resumed run plays them again: it is bitwise equal to an uninterrupted one, in either precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from trainers.contract import Checkpoint, Context, Counts, End, Point, reserved_threads
from trainers.loop import Adam, Cohort, Interrupted, log_spaced_steps, train_cohorts
from trainers.procgen.agent import Agent, Layer, kept_bytes, network
from trainers.procgen.config import ProcgenConfig
from trainers.procgen.environments import ACTIONS, SIDE, Games, engine_seeds, normalised, play_once, test_games
from trainers.procgen.ppo import Experience, RewardScale, learn, play

TEST_SEED = 0x7E57
"""Seed of the environments that measure, the same for every cell and point."""
LEAST_SHORTFALL = 0.01
"""Shortfalls are kept above this: the published best scores are no exact maxima, and laws are fitted to logarithms."""
REOPEN_AFTER = 8_192
"""Steps of an environment before it is opened anew: bounds the replay of a resumed run to minutes at the most, and cuts
short about one episode in forty."""


class Procgen:
    """See the module's docstring."""

    name = "procgen"
    version = 2
    Config = ProcgenConfig
    units = {"dataset_size": "levels", "examples": "environment steps", "batch_size": "environment steps"}

    def count(self, config: ProcgenConfig) -> Counts:
        layers = _layers(config)
        parameters = sum(layer.weights + layer.outputs for layer in layers)
        # Frames and what is kept of a step; what a minibatch keeps, and the gradients around its largest layer; and in
        # bfloat16 a copy of the weights.
        rollout = config.batch_size * (3 * SIDE**2 + 4 * (ACTIONS + 8))
        size, copies = (2, 2 * parameters) if config.precision == "bfloat16" else (4, 0)
        gradients = 2 * size * max(layer.outputs * layer.side**2 for layer in layers)
        kept = kept_bytes(config.network, config.width, config.precision)
        minibatch = config.batch_size // config.minibatches * (kept + gradients)
        return Counts(
            parameters=parameters,
            parameters_without_embeddings=parameters,
            flops_per_step=acting_flops(config) + learning_flops(config),
            steps=config.steps,
            bytes=4 * 4 * parameters + copies + minibatch + rollout,
        )

    def threads(self, config: ProcgenConfig) -> int:
        """One an environment: the engine's frames are what a GPU waits for."""
        return config.environments

    def evaluation_steps(self, config: ProcgenConfig) -> tuple[int, ...]:
        return log_spaced_steps(config.steps, first=8, per_doubling=1)

    def cohort_key(self, config: ProcgenConfig) -> tuple:
        # Agents of a cohort are trained one after another: the engine and convolutions fill a core by themselves.
        return (
            config.game,
            config.mode,
            config.network,
            config.width,
            config.precision,
            config.steps,
            config.batch_size,
        )

    def train(self, configs: Sequence[ProcgenConfig], context: Context) -> Iterator[Point | End]:
        return train_cohorts(ProcgenRun, self, configs, context, together=False)


def acting_flops(config: ProcgenConfig) -> float:
    """FLOPs of playing one iteration."""
    return (config.batch_size + config.environments) * sum(layer.flops for layer in _layers(config))


def learning_flops(config: ProcgenConfig) -> float:
    """FLOPs of learning from one iteration."""
    layers = _layers(config)
    return config.epochs * config.batch_size * (3 * sum(layer.flops for layer in layers) - layers[0].flops)


def _layers(config: ProcgenConfig) -> tuple[Layer, ...]:
    return network(config.network, config.width)


class ProcgenRun(Cohort):
    """One agent and its environments, from its start or its checkpoint on. A context manager: leaving it frees them."""

    def __init__(self, trainer: Procgen, configs: Sequence[ProcgenConfig], cells: Sequence[int], device: str):
        super().__init__(trainer, configs, cells, device)
        config = self.config
        self.agent = Agent(config.network, config.width, seed=config.seed, device=device, precision=config.precision)
        # Results do not depend on the engine's threads; a CPU cell has one core, a GPU's cell those reserved for it.
        self.threads = min(config.environments, reserved_threads()) if self.on_gpu else 1
        self.rollout = config.batch_size // config.environments
        self.episodes = 0
        self.reward_scale = RewardScale(config.environments)
        self.games: Games | None = None
        self.opening = -1
        """Which opening of the environments is played, counted from 0."""
        self.to_replay: np.ndarray | None = None
        """Actions that lead a resumed run's environments to where they were."""
        self.last_checkpoint: Checkpoint | None = None
        """The state before the iteration under way; None before the first one, which has nothing worth keeping."""

    def __enter__(self) -> ProcgenRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the environments."""
        if self.games is not None:
            self.games.close()
            self.games = None

    def update(self) -> None:
        """Play and learn from one iteration."""
        if self.games is not None:
            self.last_checkpoint = self.checkpoint(0)
        generator = self.generator()
        self.learn(self.play(generator), generator)

    def has_diverged(self, row: int) -> bool:
        return not self.agent.is_finite()

    def check_stop(self) -> None:
        """Give up the iteration or the measurement under way where the run must end."""
        if self.should_stop():
            raise Interrupted({0: self.last_checkpoint} if self.last_checkpoint else {})

    def generator(self):
        """The torch generator of the iteration that comes next."""
        import torch

        return torch.Generator().manual_seed(int(engine_seeds(1, self.config.seed, 2, self.step)[0]))

    def play(self, generator) -> Experience:
        """Play one iteration with the policy as it is."""
        self._open_games()
        experience = play(self.agent, self.games, self.reward_scale, self.config, generator, self.check_stop)
        self.episodes += experience.episodes
        return experience

    def learn(self, experience: Experience, generator) -> None:
        """Learn from an iteration."""
        updates = self.step * self.config.epochs * self.config.minibatches
        learn(self.agent, experience, self.config, generator, self.check_stop, updates=updates)

    def measure(self) -> dict[int, dict[str, list[float]]]:
        """Play on test and on training levels with the policy as it is."""
        import torch

        config = self.config
        random = np.random.default_rng((config.seed, 3, self.step))

        def choose(playing: np.ndarray, frames: np.ndarray) -> np.ndarray:
            self.check_stop()
            with torch.no_grad():
                logits, _ = self.agent(torch.from_numpy(frames).to(self.agent.device))
            # Noise for every environment, ended or not: what one sees does not depend on when others end.
            noise = random.gumbel(size=(config.test_episodes, ACTIONS))
            return (logits.cpu().numpy() + noise[playing]).argmax(1)

        seeds = engine_seeds(config.test_episodes, TEST_SEED)
        with test_games(game=config.game, mode=config.mode, seeds=seeds, threads=self.threads) as games:
            test = play_once(choose, games)
        with self._training_games(seeds) as games:
            train = play_once(choose, games)
        test_normalised = normalised(float(test.mean()), config.game, config.mode)
        metrics = {
            "test_return": float(test.mean()),
            "test_return_error": float(test.std(ddof=1) / math.sqrt(len(test))),
            "train_return": float(train.mean()),
            "test_normalised": test_normalised,
            "train_normalised": normalised(float(train.mean()), config.game, config.mode),
            "shortfall": max(1 - test_normalised, LEAST_SHORTFALL),
            "episodes": float(self.episodes),
            "optimiser_steps": float(self.step * config.epochs * config.minibatches),
            "acting_flops": acting_flops(config) * self.step,
            "learning_flops": learning_flops(config) * self.step,
        }
        return {1: {name: [value] for name, value in metrics.items()}}

    def state(self, row: int) -> dict[str, Any]:
        return {name: getattr(self.agent.optimiser, name) for name in Adam.STATE}

    def arrays(self, row: int) -> dict[str, np.ndarray]:
        arrays = super().arrays(row) | {name: np.array(getattr(self.reward_scale, name)) for name in RewardScale.STATE}
        return arrays | {"episodes": np.asarray(self.episodes), "actions": np.stack(self.games.actions)}

    def restore(self, checkpoints: Sequence[Checkpoint | None]) -> None:
        super().restore(checkpoints)
        if (checkpoint := checkpoints[self.cells[0]]) is not None:
            arrays = checkpoint.arrays
            self.reward_scale = RewardScale(self.config.environments, **{n: arrays[n] for n in RewardScale.STATE})
            self.episodes, self.to_replay = int(arrays["episodes"]), arrays["actions"]
            self.last_checkpoint = checkpoint

    def _open_games(self) -> None:
        """Have environments for the next iteration: those that are open, new ones, or a resumed run's replayed ones."""
        if (opening := self._opening(self.step)) == self.opening:
            return
        self.close()
        self.games = self._training_games(engine_seeds(self.config.environments, self.config.seed, 1, opening))
        if self.to_replay is not None and opening == self._opening(self.step - 1):
            self.games.replay(self.to_replay, self.check_stop)
        else:
            self.reward_scale.returns[:] = 0
        self.opening, self.to_replay = opening, None

    def _opening(self, step: int) -> int:
        """How often the environments have been opened anew when iteration `step` is played."""
        return step * self.rollout // REOPEN_AFTER

    def _training_games(self, seeds: np.ndarray) -> Games:
        config = self.config
        return Games(
            game=config.game,
            mode=config.mode,
            first_level=0,
            levels=config.dataset_size,
            seeds=seeds,
            threads=self.threads,
        )


PROCGEN = Procgen()
