"""Environment steps a second of the whole training loop, beside the usual loop, on this machine.

The usual loop is PPO as CleanRL's ppo_procgen writes it, over the same engine: modules and an optimiser of PyTorch,
float32 frames kept for the whole rollout, minibatches of 2,048 rows at once, wrappers of numpy around the engine. Both
train the same network with the published settings (64 environments, minibatches of 2,048 steps, 3 passes) in one
process and with one thread, in turn, in float32 and in bfloat16: the usual loop by autocast. An iteration is one
minibatch of play: its cost a step is that of a published iteration of eight. On a CPU the process's own CPU seconds are
counted, since a busy machine's clock measures its other users; on a GPU the clock is. A ratio is the median over
iterations of what both took in the same turn.

    python benchmarks/procgen_speed.py [--network impala|nature] [--width 1] [--device cpu|cuda] [--iterations 5]

The bound is that of any loop that makes the same FLOPs in float32 on this core: the engine, and all FLOPs at the rate
of one large matrix product. `procgen_learning.py` asks whether the loops learn alike.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import statistics
import time

import numpy as np
import torch
from torch import nn

from trainers.procgen import (
    ACTIONS,
    PROCGEN,
    Games,
    ProcgenConfig,
    ProcgenRun,
    acting_flops,
    engine_seeds,
    learning_flops,
)

GOAL = 3.0
"""On a CPU with instructions for bfloat16, of its rows beside the usual loop in float32."""


class Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.second(torch.relu(self.first(torch.relu(x))))


class UsualAgent(nn.Module):
    """The networks of `trainers.procgen` as modules, initialised by PyTorch's defaults and small logits."""

    def __init__(self, kind: str, width: float, autocast: bool = False):
        super().__init__()
        self.autocast = autocast

        def scaled(channels: int) -> int:
            return max(1, round(channels * width))

        if kind == "nature":
            a, b, hidden = scaled(32), scaled(64), scaled(512)
            body = [nn.Conv2d(3, a, 8, 4), nn.ReLU(), nn.Conv2d(a, b, 4, 2), nn.ReLU(), nn.Conv2d(b, b, 3)]
            flat = b * 16
        else:
            body, channels, hidden = [], 3, scaled(256)
            for out in (scaled(16), scaled(32), scaled(32)):
                body += [nn.Conv2d(channels, out, 3, padding=1), nn.MaxPool2d(3, 2, 1), Residual(out), Residual(out)]
                channels = out
            flat = channels * 64
        self.network = nn.Sequential(*body, nn.Flatten(), nn.ReLU(), nn.Linear(flat, hidden), nn.ReLU())
        self.actor, self.critic = nn.Linear(hidden, ACTIONS), nn.Linear(hidden, 1)
        for head, gain in ((self.actor, 0.01), (self.critic, 1.0)):
            nn.init.orthogonal_(head.weight, gain)
            nn.init.zeros_(head.bias)

    def forward(self, frames):
        with torch.autocast(frames.device.type, torch.bfloat16, enabled=self.autocast):
            hidden = self.network(frames.permute(0, 3, 1, 2) / 255.0).float()
        return torch.distributions.Categorical(logits=self.actor(hidden)), self.critic(hidden).flatten()


class UsualLoop:
    """PPO in the usual way, written from the algorithm's description and CleanRL's settings."""

    def __init__(self, config: ProcgenConfig, device: str, games: Games):
        torch.manual_seed(config.seed)
        self.random = np.random.default_rng(config.seed)
        self.config, self.device, self.games = config, torch.device(device), games
        self.agent = UsualAgent(config.network, config.width, config.precision == "bfloat16").to(self.device)
        self.optimiser = torch.optim.Adam(self.agent.parameters(), lr=config.learning_rate, eps=1e-5)
        steps, self.envs = config.batch_size // config.environments, config.environments
        self.frames = torch.zeros((steps, self.envs, 64, 64, 3), device=self.device)
        self.actions, self.log_chances, self.rewards, self.ended, self.values = (
            torch.zeros((steps, self.envs), device=self.device) for _ in range(5)
        )
        self.next_frames, self.next_ended = self._tensor(games.frames), torch.zeros(self.envs, device=self.device)
        self.returns, self.moments = np.zeros(self.envs), [0.0, 1.0, 1e-4]

    def _tensor(self, array):
        return torch.as_tensor(np.asarray(array, np.float32), device=self.device)

    def _scale(self, rewards, ended):
        self.returns = self.returns * 0.99 + rewards
        (mean, variance, count), size = self.moments, self.envs
        away, total = self.returns.mean() - mean, count + size
        squares = variance * count + self.returns.var() * size + away**2 * count * size / total
        self.moments = [mean + away * size / total, squares / total, total]
        self.returns[ended] = 0
        return np.clip(rewards / np.sqrt(self.moments[1] + 1e-8), -10, 10)

    def iterate(self) -> tuple[float, float]:
        """One iteration; seconds of playing and of learning."""
        began = now(self.device)
        advantages, targets = self.play()
        played = now(self.device)
        self.learn(advantages, targets)
        return played - began, now(self.device) - played

    def play(self):
        of = self.config
        for t in range(len(self.frames)):
            self.frames[t], self.ended[t] = self.next_frames, self.next_ended
            with torch.no_grad():
                policy, value = self.agent(self.next_frames)
                action = policy.sample()
            self.values[t], self.actions[t], self.log_chances[t] = value, action, policy.log_prob(action)
            rewards, ended = self.games.step(action.cpu().numpy())
            self.rewards[t] = self._tensor(self._scale(rewards, ended))
            self.next_frames, self.next_ended = self._tensor(self.games.frames), self._tensor(ended)
        with torch.no_grad():
            _, following = self.agent(self.next_frames)
            advantages, later, goes_on = torch.zeros_like(self.rewards), 0.0, 1 - self.next_ended
            for t in reversed(range(len(self.frames))):
                error = self.rewards[t] + of.discount * goes_on * following - self.values[t]
                advantages[t] = later = error + of.discount * of.gae_lambda * goes_on * later
                following, goes_on = self.values[t], 1 - self.ended[t]
        return advantages, advantages + self.values

    def learn(self, advantages, targets) -> None:
        of = self.config
        frames, actions, before = self.frames.flatten(0, 1), self.actions.flatten(), self.log_chances.flatten()
        values, advantages, targets = self.values.flatten(), advantages.flatten(), targets.flatten()
        order, size = np.arange(of.batch_size), of.batch_size // of.minibatches
        for _ in range(of.epochs):
            self.random.shuffle(order)
            for start in range(0, of.batch_size, size):
                rows = order[start : start + size]
                policy, value = self.agent(frames[rows])
                ratio = (policy.log_prob(actions[rows]) - before[rows]).exp()
                chosen = advantages[rows]
                chosen = (chosen - chosen.mean()) / (chosen.std() + 1e-8)
                surrogate = torch.max(-chosen * ratio, -chosen * ratio.clamp(1 - of.clip, 1 + of.clip)).mean()
                clipped = values[rows] + (value - values[rows]).clamp(-of.clip, of.clip)
                missed = torch.max((value - targets[rows]) ** 2, (clipped - targets[rows]) ** 2)
                loss = surrogate + of.value_weight * 0.5 * missed.mean() - of.entropy * policy.entropy().mean()
                self.optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.agent.parameters(), of.gradient_norm)
                self.optimiser.step()


def iterate(run: ProcgenRun) -> tuple[float, float]:
    """One iteration of the trainer; seconds of playing and of learning."""
    random, device = run.generator(), run.agent.device
    began = now(device)
    seen = run.play(random)
    played = now(device)
    run.learn(seen, random)
    run.step += 1
    return played - began, now(device) - played


def now(device: torch.device) -> float:
    """Seconds: of this process on a CPU, of the clock on a GPU once it has done all it was given."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def engine_seconds(config: ProcgenConfig, run: ProcgenRun) -> float:
    """Seconds that the engine alone takes for an iteration of random play."""
    random = np.random.default_rng(0)
    steps = config.batch_size // config.environments
    with open_games(config, run.threads) as games:
        began = now(run.agent.device)
        for _ in range(steps):
            games.step(random.integers(0, ACTIONS, config.environments))
        return now(run.agent.device) - began


def product_seconds(config: ProcgenConfig, device: torch.device) -> float:
    """Seconds of an iteration's FLOPs at the rate of a product of two matrices of 2,048 rows and columns."""
    left, right = (torch.randn(2048, 2048, device=device) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        began = now(device)
        left @ right
        best = min(best, now(device) - began)
    return best * (acting_flops(config) + learning_flops(config)) / (2 * 2048**3)


def open_games(config: ProcgenConfig, threads: int) -> Games:
    seeds = engine_seeds(config.environments, config.seed, 1, 0)  # As the trainer opens them at first.
    return Games(
        game=config.game, mode=config.mode, first_level=0, levels=config.dataset_size, seeds=seeds, threads=threads
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--network", default="impala", choices=("impala", "nature"))
    options.add_argument("--width", type=float, default=1.0)
    options.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options.add_argument("--iterations", type=int, default=5)
    options.add_argument("--minibatches", type=int, default=1, help="of 2,048 steps each, in an iteration")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    exact = ProcgenConfig(
        network=chosen.network,
        width=chosen.width,
        batch_size=2048 * chosen.minibatches,
        minibatches=chosen.minibatches,
    )
    rounded = dataclasses.replace(exact, precision="bfloat16")
    with contextlib.ExitStack() as opened:
        loops, turns = {}, []
        for precision, config in (("", exact), (" bfloat16", rounded)):
            run = opened.enter_context(ProcgenRun(PROCGEN, [config], [0], chosen.device))
            usual = UsualLoop(config, chosen.device, opened.enter_context(open_games(config, run.threads)))
            loops["usual loop" + precision] = usual.iterate
            loops["unsl" + precision] = functools.partial(iterate, run)
        for number in range(1, chosen.iterations + 1):
            turns.append({name: loop() for name, loop in loops.items()})
            took = ", ".join(f"{name} {sum(parts):.1f} s" for name, parts in turns[-1].items())
            print(f"  iteration {number} of {chosen.iterations}: {took}", flush=True)
        engine, product = engine_seconds(exact, run), product_seconds(exact, run.agent.device)
    print(f"\n{exact.network} width {exact.width:g}, {exact.batch_size} steps an iteration, {chosen.device}")
    print(f"{'':20}{'steps/s':>10}{'play s':>10}{'learn s':>10}{'engine':>9}{'network and rest':>18}{'ratio':>8}")
    ratios = {}
    for name in loops:
        play, learn = (statistics.median(turn[name][part] for turn in turns) for part in (0, 1))
        ratios[name] = statistics.median(sum(turn["usual loop"]) / sum(turn[name]) for turn in turns)
        share, rate = min(engine / (play + learn), 1.0), exact.batch_size / (play + learn)
        print(f"{name:20}{rate:10.0f}{play:10.2f}{learn:10.2f}{share:9.0%}{1 - share:18.0%}{ratios[name]:8.2f}")
    bound, whole = engine + product, statistics.median(sum(turn["usual loop"]) for turn in turns)
    print(
        f"{'bound in float32':20}{exact.batch_size / bound:10.0f}{'':20}{engine / bound:9.0%}{product / bound:18.0%}"
        f"{whole / bound:8.2f}"
    )
    beside = ratios["unsl bfloat16"] / ratios["usual loop bfloat16"]
    print(f"\nboth in float32 {ratios['unsl']:.2f}, both in bfloat16 {beside:.2f}")
    print(f"procgen_speed: {ratios['unsl bfloat16']:.2f} (goal {GOAL:g})")


if __name__ == "__main__":
    main()
