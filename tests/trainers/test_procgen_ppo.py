"""Proximal policy optimisation against its definition."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_procgen import SMALL

from trainers.procgen import PROCGEN, Agent, ProcgenRun, ppo
from trainers.procgen.ppo import RewardScale, advantages


def test_advantages_follow_their_definition():
    random, discount, decay = np.random.default_rng(0), 0.9, 0.8
    rewards, values, last = random.normal(size=(6, 3)), random.normal(size=(6, 3)), random.normal(size=3)
    ended = random.random((6, 3)) < 0.3
    following = np.vstack([values[1:], last])
    errors = rewards + discount * following * ~ended - values
    for i in range(3):
        for t in range(6):
            expected, weight = 0.0, 1.0
            for k in range(t, 6):
                expected += weight * errors[k, i]
                weight *= discount * decay * (not ended[k, i])
            got = advantages(rewards, ended, values, last, discount=discount, decay=decay)[t, i]
            assert got == pytest.approx(expected)


def test_rewards_are_divided_by_the_deviation_of_returns():
    random, scale = np.random.default_rng(0), RewardScale(8)
    returns, seen = np.zeros(8), []
    for _ in range(200):
        rewards, ended = random.normal(2, 3, 8), random.random(8) < 0.1
        returns = 0.99 * returns + rewards
        seen.append(returns.copy())
        returns[ended] = 0
        scaled = scale(rewards, ended)
    assert scale.variance == pytest.approx(np.var(seen), rel=1e-3)
    assert scaled == pytest.approx(np.clip(rewards / np.std(seen), -10, 10), rel=1e-3)


def test_learning_does_not_depend_on_how_rows_are_grouped(monkeypatch):
    weights = []
    for rows in (1, 64):
        monkeypatch.setattr(ppo, "CPU_ROWS", rows)
        with ProcgenRun(PROCGEN, [SMALL], [0], "cpu") as one:
            random = torch.Generator().manual_seed(0)
            one.learn(one.play(random), random)
            weights.append(one.agent.weights.clone())
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)


def test_an_iteration_teaches_what_plain_ppo_does(monkeypatch):
    """Beside PyTorch's distributions and optimiser; several passes, so that ratios and values are clipped.

    Every update's gradient is compared at the weights that the update began with, and every update of the weights by
    the same gradient: what two ways of rounding make of a dozen updates in a row is not asked.
    """
    config = dataclasses.replace(SMALL, batch_size=64, epochs=6, learning_rate=5e-3, entropy=0.05, clip=0.05)
    updates, update = [], Agent.update

    def recorded(self, number, **settings):
        updates.append((self.weights.detach().clone(), self.gradient.clone()))
        update(self, number, **settings)

    monkeypatch.setattr(Agent, "update", recorded)
    order = torch.Generator()
    with ProcgenRun(PROCGEN, [config], [0], "cpu") as one:
        random = torch.Generator().manual_seed(0)
        seen = one.play(random)
        order.set_state(random.get_state())
        one.learn(seen, random)
        reached = [weights for weights, _ in updates[1:]] + [one.agent.weights.detach()]
    minibatches = [rows for _ in range(config.epochs) for rows in torch.randperm(64, generator=order).split(32)]

    plain, clipped = Agent(config.network, config.width, seed=config.seed, device="cpu"), 0
    for rows, (weights, gradient) in zip(minibatches, updates, strict=True):
        with torch.no_grad():
            plain.weights.copy_(weights)
        logits, values = plain(seen.frames[rows])
        policy = torch.distributions.Categorical(logits=logits)
        ratio = torch.exp(policy.log_prob(seen.actions[rows]) - seen.log_probabilities[rows])
        gain = seen.advantages[rows]
        gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        surrogate = torch.min(gain * ratio, gain * ratio.clamp(0.95, 1.05)).mean()
        near = seen.values[rows] + (values - seen.values[rows]).clamp(-0.05, 0.05)
        clipped += int((ratio - 1).abs().gt(0.05).sum() > 0) + int((near != values).sum() > 0)
        missed = torch.max((values - seen.targets[rows]) ** 2, (near - seen.targets[rows]) ** 2).mean()
        plain.gradient.zero_()
        (-surrogate + 0.5 * 0.5 * missed - 0.05 * policy.entropy().mean()).backward()
        assert (plain.gradient - gradient).norm() < 1e-3 * gradient.norm()
    assert clipped > 2, "both kinds of clipping were at work"

    weights = updates[0][0].clone().requires_grad_()
    start = weights.detach().clone()
    optimiser = torch.optim.Adam([weights], lr=config.learning_rate, eps=1e-5)
    for (_, gradient), after in zip(updates, reached, strict=True):
        weights.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_([weights], 0.5)
        optimiser.step()
        torch.testing.assert_close(after, weights.detach(), rtol=1e-4, atol=1e-5)
    assert (weights.detach() - start).abs().max() > 1e-2
