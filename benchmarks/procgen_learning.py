"""What agents return on levels they never saw, beside the usual loop or in bfloat16: do both learn alike?

The usual loop is that of `procgen_speed.py`. Each seed trains one agent with either loop: the same network, settings,
number of environment steps and seeds of the environments; each starts its weights in its own way. With `--precision`
each seed trains an agent of the trainer in float32 and one in bfloat16, from the same weights. Both are measured on the
same test levels, with drawn actions and whole episodes. Two questions:

in step   From the same weights and with the same draws, do both choose the same actions, and how far apart are their
          weights after each iteration? The two round differently, and play amplifies what differs.
returns   Means over seeds, standard errors, and the difference of each pair. The ratio is that of the means over the
          three measurements, at 1/4, 1/2 and all of the budget. Play that draws every action uniformly says from where.

    python benchmarks/procgen_learning.py [--game coinrun] [--network nature] [--width 0.5] [--seeds 8]
                                          [--first-seed 0] [--iterations 32] [--test-episodes 128] [--precision]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from unittest import mock

import numpy as np
import torch
from procgen_speed import UsualAgent, UsualLoop, open_games

from trainers.procgen import (
    ACTIONS,
    PROCGEN,
    TEST_SEED,
    ProcgenConfig,
    ProcgenRun,
    engine_seeds,
    play_once,
    random_returns,
    test_games,
)


def flat_weights(agent: UsualAgent) -> torch.Tensor:
    """A module's weights in the order of `trainers.procgen`: channels last, policy and value as one layer."""
    pieces, channels = [], 3
    for layer in agent.network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            channels = layer.out_channels
            pieces += [layer.weight.movedim(1, 3), layer.bias]
        elif isinstance(layer, torch.nn.Linear):
            pieces += [layer.weight.view(layer.out_features, channels, -1).movedim(1, 2), layer.bias]
    pieces += [agent.actor.weight, agent.critic.weight, agent.actor.bias, agent.critic.bias]
    return torch.cat([piece.detach().flatten() for piece in pieces])


class _Order:
    """Shuffles as the trainer does."""

    def __init__(self, random: torch.Generator):
        self.random = random

    def shuffle(self, order: np.ndarray) -> None:
        order[:] = torch.randperm(len(order), generator=self.random).numpy()


def in_step(config: ProcgenConfig, iterations: int) -> None:
    """Let both begin with the usual loop's weights and use the trainer's random numbers; print how far they part."""
    steps, envs = config.batch_size // config.environments, config.environments
    with ProcgenRun(PROCGEN, [config], [0], "cpu") as run, open_games(config, run.threads) as games:
        usual = UsualLoop(config, "cpu", games)
        start = flat_weights(usual.agent)
        with torch.no_grad():
            run.agent.weights.copy_(start)
        for iteration in range(1, iterations + 1):
            random, same = run.generator(), run.generator()
            noise = iter(-(-torch.rand((steps, envs, ACTIONS), generator=random).log()).log())

            def sample(policy, noise=noise):
                return (policy.logits + next(noise)).argmax(1)

            usual.random = _Order(random)
            with mock.patch.object(torch.distributions.Categorical, "sample", sample):
                usual.iterate()
            seen = run.play(same)
            run.learn(seen, same)
            run.step += 1
            equal = (seen.actions == usual.actions.flatten()).float().mean()
            weights, other = run.agent.weights.detach(), flat_weights(usual.agent)
            print(
                f"in step, iteration {iteration}: {equal:.2%} of the actions equal; "
                f"weights {(weights - other).norm():.2g} apart, {(other - start).norm():.2g} from the start",
                flush=True,
            )


def test_return(forward, config: ProcgenConfig, step: int) -> float:
    """Mean return of the policy whose logits `forward` gives, on test levels."""
    random = np.random.default_rng((config.seed, 3, step))

    def choose(playing: np.ndarray, frames: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            logits = forward(torch.from_numpy(frames)).numpy()
        return (logits + random.gumbel(size=(config.test_episodes, ACTIONS))[playing]).argmax(1)

    seeds = engine_seeds(config.test_episodes, TEST_SEED)
    with test_games(game=config.game, mode=config.mode, seeds=seeds, threads=1) as games:
        return float(play_once(choose, games).mean())


def in_both_precisions(config: ProcgenConfig, iterations: int) -> None:
    """Let agents of both precisions begin with the same weights and random numbers; print how far they part."""
    rounded = dataclasses.replace(config, precision="bfloat16")
    with ProcgenRun(PROCGEN, [config], [0], "cpu") as one, ProcgenRun(PROCGEN, [rounded], [0], "cpu") as other:
        start = one.agent.weights.detach().clone()
        for iteration in range(1, iterations + 1):
            actions = []
            for run in (one, other):
                random = run.generator()
                seen = run.play(random)
                run.learn(seen, random)
                run.step += 1
                actions.append(seen.actions)
            equal = (actions[0] == actions[1]).float().mean()
            weights, others = one.agent.weights.detach(), other.agent.weights.detach()
            print(
                f"in step, iteration {iteration}: {equal:.2%} of the actions equal; "
                f"weights {(weights - others).norm():.2g} apart, {(weights - start).norm():.2g} from the start",
                flush=True,
            )


def usual_returns(config: ProcgenConfig, measured: list[int]) -> list[float]:
    """What the usual loop reaches, a number a measurement."""
    reached = []
    with open_games(config, 1) as games:
        usual = UsualLoop(config, "cpu", games)
        for step in range(1, config.steps + 1):
            usual.iterate()
            if step in measured:
                reached.append(test_return(lambda frames: usual.agent(frames)[0].logits, config, step))
    return reached


def returns(config: ProcgenConfig, measured: list[int]) -> list[float]:
    """What the trainer reaches, a number a measurement."""
    reached = []
    with ProcgenRun(PROCGEN, [config], [0], "cpu") as run:
        for step in range(1, config.steps + 1):
            run.update()
            run.step += 1
            if step in measured:
                reached.append(test_return(lambda frames: run.agent(frames)[0], config, step))
    return reached


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--game", default="coinrun")
    options.add_argument("--network", default="nature", choices=("nature", "impala"))
    options.add_argument("--width", type=float, default=0.5)
    options.add_argument("--seeds", type=int, default=8)
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--iterations", type=int, default=32, help="of 2,048 environment steps")
    options.add_argument("--test-episodes", type=int, default=128)
    options.add_argument("--precision", action="store_true", help="float32 and bfloat16, not the usual loop")
    chosen = options.parse_args()
    if chosen.seeds < 2 or chosen.iterations < 4:
        options.error("standard errors need --seeds 2 or more, three measurements --iterations 4 or more")
    torch.set_num_threads(1)

    def config(seed: int) -> ProcgenConfig:
        return ProcgenConfig(
            game=chosen.game,
            network=chosen.network,
            width=chosen.width,
            steps=chosen.iterations,
            seed=seed,
            # The settings of the studies that fit a CPU: a short run wants many small iterations.
            batch_size=2048,
            environments=32,
            learning_rate=1e-3,
            discount=0.99,
            test_episodes=chosen.test_episodes,
        )

    if chosen.precision:
        first, second = "float32", "bfloat16"
        in_both_precisions(config(chosen.first_seed), min(3, chosen.iterations))
    else:
        first, second = "usual loop", "unsl"
        in_step(config(chosen.first_seed), min(3, chosen.iterations))
    measured = [chosen.iterations // 4, chosen.iterations // 2, chosen.iterations]
    rows = []
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.seeds):
        one = config(seed)
        if chosen.precision:
            rows.append([returns(dataclasses.replace(one, precision=kind), measured) for kind in (first, second)])
        else:
            rows.append([usual_returns(one, measured), returns(one, measured)])
        before, after = (" ".join(f"{value:6.2f}" for value in row) for row in rows[-1])
        print(f"seed {seed}: {first} {before}, {second} {after}", flush=True)
    reached = np.array(rows)

    def described(values: np.ndarray) -> str:
        return f"{values.mean():8.2f} +- {values.std(ddof=1) / math.sqrt(len(values)):.2f}"

    print(
        f"\n{chosen.game}, {chosen.network} width {chosen.width:g}, {chosen.seeds} seeds: returns and standard errors"
    )
    print(f"{'steps':>10}{first:>16}{second:>16}{'difference':>16}")
    for i, step in enumerate(measured):
        before, after = reached[:, 0, i], reached[:, 1, i]
        print(f"{2048 * step:10}{described(before):>16}{described(after):>16}{described(after - before):>16}")
    before, after = reached.mean(2).T
    print(f"{'mean':>10}{described(before):>16}{described(after):>16}{described(after - before):>16}")
    random = random_returns(game=chosen.game, mode="easy", episodes=512, seed=0)
    print(f"{'random':>10}{described(random):>16}")
    print(f"\nprocgen_learning: {after.mean() / before.mean():.2f} (goal 1)")


if __name__ == "__main__":
    main()
