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

A run stops and is saved between two iterations. The engine cannot save its state, so a checkpoint holds the actions
since the environments were opened (at most `REOPEN_AFTER` steps an environment, which are then opened with new seeds),
and a resumed run plays them again: it is bitwise equal to an uninterrupted one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
from trainers.schedule import log_spaced_steps

TEST_SEED = 0x7E57
"""Seed of the environments that measure, the same for every cell and point."""
LEAST_SHORTFALL = 0.01
"""Shortfalls are kept above this: the published best scores are no exact maxima, and laws are fitted to logarithms."""
REOPEN_AFTER = 8_192
"""Steps of an environment before it is opened anew: bounds the replay of a resumed run to minutes at the most, and cuts
short about one episode in forty."""
CPU_ROWS = 64
"""Rows that go forward and back at once on a CPU: their activations stay in its cache, which makes a minibatch of 2,048
up to twice as fast as at once (measured)."""
REWARD_LIMIT = 10.0
"""Normalised rewards are cut at this size, as in OpenAI's baselines."""
REWARD_DISCOUNT = 0.99
"""Discount of the returns whose deviation normalises rewards: the default of OpenAI's baselines."""


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
    version = 1
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
            with _Run(cell, configs[cell], context.device) as run:
                run.restore(context.load(cell))
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


class _Run:
    """One cell from its start or its checkpoint on. A context manager: leaving it frees the environments."""

    STATE = ("weights", "first_moment", "second_moment")

    def __init__(self, cell: int, config: ProcgenConfig, device: str):
        self.cell, self.config = cell, config
        self.agent = Agent(config.network, config.width, seed=config.seed, device=device)
        # Results do not depend on the engine's threads; a CPU cell has one core, a GPU's cell the whole machine.
        self.threads = 1 if self.agent.device.type == "cpu" else min(config.environments, os.cpu_count() or 1)
        self.rollout = config.batch_size // config.environments
        self.step, self.seconds, self.episodes = 0, 0.0, 0
        self.scale = _RewardScale(config.environments)
        self.games: Games | None = None
        self.opened, self.frames = -1, None

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.games is not None:
            self.games.close()
            self.games = None

    def restore(self, checkpoint: Checkpoint | None) -> None:
        import torch

        if checkpoint is None:
            return
        self.step, self.seconds = checkpoint.step, checkpoint.seconds
        for name in self.STATE:
            with torch.no_grad():
                getattr(self.agent, name).copy_(torch.from_numpy(checkpoint.arrays[name]))
        self.scale = _RewardScale(self.config.environments, **{n: checkpoint.arrays[n] for n in _RewardScale.STATE})
        self.episodes = int(checkpoint.arrays["episodes"])
        opening = self._opening(self.step - 1)
        if opening == self._opening(self.step):
            self._open(opening)
            self.games.replay(checkpoint.arrays["actions"])

    def save(self, context: Context) -> None:
        arrays = {name: getattr(self.agent, name).detach().cpu().numpy() for name in self.STATE}
        arrays |= {name: np.asarray(getattr(self.scale, name)) for name in _RewardScale.STATE}
        arrays |= {"episodes": np.asarray(self.episodes), "actions": np.stack(self.games.actions)}
        context.save(self.cell, Checkpoint(step=self.step, seconds=self.seconds, arrays=arrays))

    def run(self, context: Context) -> Iterator[Point | End]:
        import torch

        evaluations = set(PROCGEN.evaluation_steps(self.config))
        began = time.perf_counter()
        while self.step < self.config.steps:
            random = torch.Generator().manual_seed(int(engine_seeds(1, self.config.seed, 2, self.step)[0]))
            self.learn(self.play(random), random)
            self.step += 1
            if not torch.isfinite(self.agent.weights).all():
                yield End(cell=self.cell, step=self.step, ending=Ending.DIVERGED)
                return
            metrics = self.measure() if self.step in evaluations else None
            now = time.perf_counter()
            self.seconds, began = self.seconds + now - began, now
            if metrics:
                yield self.point(metrics)
            stopping = self.step < self.config.steps and context.should_stop()
            if stopping or context.checkpoint_due():
                self.save(context)
            if stopping:
                return
            began = time.perf_counter()
        yield End(cell=self.cell, step=self.step)

    def point(self, metrics: dict[str, float]) -> Point:
        acting, learning = acting_flops(self.config) * self.step, learning_flops(self.config) * self.step
        counted = {
            "episodes": float(self.episodes),
            "optimiser_steps": float(self.step * self.config.epochs * self.config.minibatches),
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

    def play(self, random) -> _Experience:
        """Play one iteration with the policy as it is."""
        import torch

        if (opening := self._opening(self.step)) != self.opened:
            self._open(opening)
            self.scale.returns[:] = 0
        of, device = self.config, self.agent.device
        shape = (self.rollout, of.environments)
        if self.frames is None:
            self.frames = torch.empty((*shape, SIDE, SIDE, 3), dtype=torch.uint8, device=device)
        logits, values = torch.empty((*shape, ACTIONS), device=device), torch.empty(shape, device=device)
        actions = torch.empty(shape, dtype=torch.int64, device=device)
        rewards, ended = np.empty(shape), np.empty(shape, bool)
        # The action of the largest of logit plus Gumbel noise is drawn with the policy's probability.
        noise = torch.rand((*shape, ACTIONS), generator=random).log_().neg_().log_().neg_().to(device)
        with torch.no_grad():
            for t in range(self.rollout):
                self.frames[t].copy_(torch.from_numpy(self.games.frames))
                logits[t], values[t] = self.agent(self.frames[t])
                actions[t] = (logits[t] + noise[t]).argmax(1)
                raw, ended[t] = self.games.step(actions[t].cpu().numpy())
                rewards[t] = self.scale(raw, ended[t])
            _, last = self.agent(torch.from_numpy(self.games.frames).to(device))
            chances = logits.log_softmax(-1).gather(-1, actions[..., None])[..., 0]
        self.episodes += int(ended.sum())
        known = values.cpu().double().numpy()
        advantages = _advantages(rewards, ended, known, last.cpu().double().numpy(), of.discount, of.gae_lambda)
        return _Experience(
            frames=self.frames.flatten(0, 1),
            actions=actions.flatten(),
            log_chances=chances.flatten(),
            values=values.flatten(),
            advantages=torch.from_numpy(advantages).float().to(device).flatten(),
            targets=torch.from_numpy(advantages + known).float().to(device).flatten(),
        )

    def learn(self, seen: _Experience, random) -> None:
        """Several passes of optimiser steps over an iteration's data."""
        import torch

        of, agent = self.config, self.agent
        size = of.batch_size // of.minibatches
        rows = CPU_ROWS if agent.device.type == "cpu" else size
        updates = self.step * of.epochs * of.minibatches
        for _ in range(of.epochs):
            order = torch.randperm(of.batch_size, generator=random).to(agent.device)
            for minibatch in order.split(size):
                chosen = seen.advantages[minibatch]
                deviation, mean = torch.std_mean(chosen)
                agent.gradient.zero_()
                for part in minibatch.split(rows):
                    advantages = (seen.advantages[part] - mean) / (deviation + 1e-8)
                    (self.losses(seen, part, advantages).sum() / size).backward()
                updates += 1
                agent.descend(updates, learning_rate=of.learning_rate, longest=of.gradient_norm)

    def losses(self, seen: _Experience, part, advantages):
        """The loss of each chosen row: clipped policy and value losses and the entropy bonus."""
        import torch

        of, (logits, values) = self.config, self.agent(seen.frames[part])
        log_chances = logits.log_softmax(-1)
        ratio = (log_chances.gather(1, seen.actions[part, None])[:, 0] - seen.log_chances[part]).exp()
        policy = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - of.clip, 1 + of.clip))
        before, targets = seen.values[part], seen.targets[part]
        clipped = before + (values - before).clamp(-of.clip, of.clip)
        value = 0.5 * torch.maximum((values - targets).square(), (clipped - targets).square())
        entropy = -(log_chances.exp() * log_chances).sum(1)
        return policy + of.value_weight * value - of.entropy * entropy

    def measure(self) -> dict[str, float]:
        """Play on test and on training levels with the policy as it is. Training state is not touched."""
        import torch

        of = self.config
        random = np.random.default_rng((of.seed, 3, self.step))

        def choose(playing: np.ndarray, frames: np.ndarray) -> np.ndarray:
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Experience:
    """What one iteration saw and did: tensors with a row an environment step."""

    frames: Any
    actions: Any
    log_chances: Any
    """Logarithm of the probability with which each action was chosen."""
    values: Any
    advantages: Any
    targets: Any
    """What the values should have been."""


class _RewardScale:
    """Divides rewards by the deviation of the running discounted returns, so that one learning rate fits all games."""

    STATE = ("mean", "variance", "count", "returns")

    def __init__(self, environments: int, mean=0.0, variance=1.0, count=1e-4, returns=None):
        self.mean, self.variance, self.count = float(mean), float(variance), float(count)
        self.returns = np.zeros(environments) if returns is None else np.array(returns)

    def __call__(self, rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
        self.returns = REWARD_DISCOUNT * self.returns + rewards
        # Mean and variance of everything seen so far, joined with this step's (Chan, Golub & LeVeque).
        size, away = len(rewards), self.returns.mean() - self.mean
        total = self.count + size
        squares = self.variance * self.count + self.returns.var() * size + away**2 * self.count * size / total
        self.mean, self.variance, self.count = self.mean + away * size / total, squares / total, total
        self.returns[ended] = 0
        return np.clip(rewards / math.sqrt(self.variance + 1e-8), -REWARD_LIMIT, REWARD_LIMIT)


def _advantages(rewards, ended, values, last, discount: float, decay: float) -> np.ndarray:
    """Generalised advantage estimates (steps, environments); `last` are the values after the last step."""
    advantages, later = np.empty_like(rewards), np.zeros_like(last)
    for t in reversed(range(len(rewards))):
        goes_on = ~ended[t]
        error = rewards[t] + discount * goes_on * last - values[t]
        advantages[t] = later = error + discount * decay * goes_on * later
        last = values[t]
    return advantages


PROCGEN = Procgen()
