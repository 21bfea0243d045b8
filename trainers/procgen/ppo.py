"""Proximal policy optimisation of Procgen's agents: play an iteration, scale its rewards, learn from it.

Follows Schulman et al. (arXiv 1707.06347) with what OpenAI's baselines add and Cobbe et al. (arXiv 1912.01588) used on
Procgen: rewards divided by the running deviation of the discounted return, advantages normalised in every minibatch,
clipped values, gradients shortened to one norm.

`check_stop` is called before every step in the environments and every group of rows: what it raises ends the work,
which then counts for nothing.

A CPU's time goes into convolutions, which run at the rate of a large matrix product or close to it, and nine tenths of
them into learning: `benchmarks/procgen_speed.py` prints what is left to gain. Measured on one core with AVX-512 and
kept: rows in groups, channels last in memory, frames kept as bytes and gathered by `index_select` (1.5 instead of 9 us
of about 200 for a row of the Nature network). Measured and not kept:

- channels first: convolutions of the first layers take up to six times as long, others 10 to 60 % more
- the first layer's stride folded into channels (43.7 instead of 45.2 us a row, and 10 to fold), or as a matrix product
- the second layer's stride folded into channels: 9 of 71 us saved, which the folding costs
- 16, 32, 128 or 256 rows at once instead of 64: within 5 %
- acting through `torch.jit.freeze` and `optimize_for_inference`: IMPALA's forward pass 15 % faster, 1.5 % of the whole
  before the compilation of every iteration's weights; the Nature network's 25 % slower
- `torch.inference_mode`, and an allocator that returns no memory: nothing

Convolutions in bfloat16 (`precision`), on a core with AMX: IMPALA's rows take half the time, Nature's .55 to .65, with
128 rows at once; with 64 a tenth more. With memory that is never returned: nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainers.procgen.agent import Agent
from trainers.procgen.config import ProcgenConfig
from trainers.procgen.environments import ACTIONS, SIDE, Games

CPU_ROWS = 64
"""Rows that go forward and back at once on a CPU: their activations stay in its cache, which makes a minibatch of 2,048
up to twice as fast as at once (measured). Twice as many in bfloat16, in the same memory."""
REWARD_LIMIT = 10.0
"""Normalised rewards are cut at this size, as in OpenAI's baselines."""
REWARD_DISCOUNT = 0.99
"""Discount of the returns whose deviation normalises rewards: the default of OpenAI's baselines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Experience:
    """What one iteration saw and did: tensors with a row an environment step, in the order (step, environment)."""

    frames: Any
    """(rows, 64, 64, 3), uint8."""
    actions: Any
    log_probabilities: Any
    """Logarithm of the probability with which each action was chosen."""
    values: Any
    advantages: Any
    targets: Any
    """What the values should have been."""
    episodes: int
    """How many ended meanwhile."""


class RewardScale:
    """Divides rewards by the deviation of the running discounted returns, so that one learning rate fits all games."""

    STATE = ("mean", "variance", "count", "returns")

    def __init__(self, environments: int, mean=0.0, variance=1.0, count=1e-4, returns=None):
        self.mean, self.variance, self.count = float(mean), float(variance), float(count)
        self.returns = np.zeros(environments) if returns is None else np.array(returns)

    def __call__(self, rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Scaled rewards of one step; both arguments and the result have the shape (environments,)."""
        self.returns = REWARD_DISCOUNT * self.returns + rewards
        # Mean and variance of everything seen so far, joined with this step's (Chan, Golub & LeVeque).
        size, away = len(rewards), self.returns.mean() - self.mean
        total = self.count + size
        squares = self.variance * self.count + self.returns.var() * size + away**2 * self.count * size / total
        self.mean, self.variance, self.count = self.mean + away * size / total, squares / total, total
        self.returns[ended] = 0
        return np.clip(rewards / math.sqrt(self.variance + 1e-8), -REWARD_LIMIT, REWARD_LIMIT)


def play(
    agent: Agent,
    games: Games,
    reward_scale: RewardScale,
    config: ProcgenConfig,
    generator,
    check_stop: Callable[[], None],
) -> Experience:
    """Play `config.batch_size` environment steps with the policy as it is. `generator` is torch's."""
    import torch

    device, shape = agent.device, (config.batch_size // config.environments, config.environments)
    frames = torch.empty((*shape, SIDE, SIDE, 3), dtype=torch.uint8, device=device)
    logits, values = torch.empty((*shape, ACTIONS), device=device), torch.empty(shape, device=device)
    actions = torch.empty(shape, dtype=torch.int64, device=device)
    rewards, ended = np.empty(shape), np.empty(shape, bool)
    # The action of the largest of logit plus Gumbel noise is drawn with the policy's probability.
    noise = torch.rand((*shape, ACTIONS), generator=generator).log_().neg_().log_().neg_().to(device)
    with torch.no_grad():
        for t in range(shape[0]):
            check_stop()
            frames[t].copy_(torch.from_numpy(games.frames))
            logits[t], values[t] = agent(frames[t])
            actions[t] = (logits[t] + noise[t]).argmax(1)
            raw, ended[t] = games.step(actions[t].cpu().numpy())
            rewards[t] = reward_scale(raw, ended[t])
        _, last = agent(torch.from_numpy(games.frames).to(device))
        log_probabilities = logits.log_softmax(-1).gather(-1, actions[..., None])[..., 0]
    estimated = values.cpu().double().numpy()
    advantage = advantages(
        rewards, ended, estimated, last.cpu().double().numpy(), discount=config.discount, decay=config.gae_lambda
    )
    return Experience(
        frames=frames.flatten(0, 1),
        actions=actions.flatten(),
        log_probabilities=log_probabilities.flatten(),
        values=values.flatten(),
        advantages=torch.from_numpy(advantage).float().to(device).flatten(),
        targets=torch.from_numpy(advantage + estimated).float().to(device).flatten(),
        episodes=int(ended.sum()),
    )


def advantages(
    rewards: np.ndarray, ended: np.ndarray, values: np.ndarray, last: np.ndarray, *, discount: float, decay: float
) -> np.ndarray:
    """Generalised advantage estimates (Schulman et al., arXiv 1506.02438); shape (steps, environments).

    `rewards`, `ended` and `values` have that shape too; `last`, shape (environments,), are the values after the last
    step. Nothing is counted beyond the end of an episode.
    """
    estimates, later = np.empty_like(rewards), np.zeros_like(last)
    for t in reversed(range(len(rewards))):
        goes_on = ~ended[t]
        error = rewards[t] + discount * goes_on * last - values[t]
        estimates[t] = later = error + discount * decay * goes_on * later
        last = values[t]
    return estimates


def learn(
    agent: Agent,
    experience: Experience,
    config: ProcgenConfig,
    generator,
    check_stop: Callable[[], None],
    *,
    updates: int,
) -> None:
    """Several passes over an iteration's data, of an optimiser step a minibatch; `updates` were made before."""
    import torch

    size = config.batch_size // config.minibatches
    rows = CPU_ROWS * (4 // agent.precision.itemsize) if agent.device.type == "cpu" else size
    for _ in range(config.epochs):
        order = torch.randperm(config.batch_size, generator=generator).to(agent.device)
        for minibatch in order.split(size):
            chosen = experience.advantages[minibatch]
            deviation, mean = torch.std_mean(chosen)
            agent.gradient.zero_()
            for part in minibatch.split(rows):
                check_stop()
                normalised = (experience.advantages[part] - mean) / (deviation + 1e-8)
                (losses(agent, experience, part, normalised, config).sum() / size).backward()
            agent.update(updates, learning_rate=config.learning_rate, max_norm=config.gradient_norm)
            updates += 1


def losses(agent: Agent, experience: Experience, part, normalised, config: ProcgenConfig):
    """The loss of each row that `part` names, shape (rows,): clipped policy and value losses and the entropy bonus.

    `normalised`, shape (rows,), are their advantages, normalised in their minibatch.
    """
    import torch

    # Gathering whole rows of bytes is six times as fast by `index_select` as by indexing.
    logits, values = agent(experience.frames.index_select(0, part))
    log_probabilities = logits.log_softmax(-1)
    ratio = (
        log_probabilities.gather(1, experience.actions[part, None])[:, 0] - experience.log_probabilities[part]
    ).exp()
    policy = torch.maximum(-normalised * ratio, -normalised * ratio.clamp(1 - config.clip, 1 + config.clip))
    before, targets = experience.values[part], experience.targets[part]
    clipped = before + (values - before).clamp(-config.clip, config.clip)
    value = 0.5 * torch.maximum((values - targets).square(), (clipped - targets).square())
    entropy = -(log_probabilities.exp() * log_probabilities).sum(1)
    return policy + config.value_weight * value - config.entropy * entropy
