"""Procgen: the games, the networks against plain PyTorch, the arithmetic, and agents that learn and resume."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import torch
from recording import Recorder, run
from torch.utils.flop_counter import FlopCounterMode

from experiments.hilton import intrinsic_performance
from trainers import Ending, TrainerError, procgen, procgen_envs
from trainers.procgen import PROCGEN, ProcgenConfig, _advantages, _RewardScale, _Run, acting_flops, learning_flops
from trainers.procgen_agent import Agent, network
from trainers.procgen_envs import (
    ACTIONS,
    FIRST_TEST_LEVEL,
    MODES,
    SCORES,
    TEST_LEVELS,
    Games,
    engine_seeds,
    normalised,
    play_once,
    random_returns,
)
from trainers.procgen_envs import test_games as open_test_games

SMALL = ProcgenConfig(
    game="bossfight",
    width=0.1,
    steps=20,
    batch_size=32,
    environments=4,
    minibatches=2,
    epochs=1,
    test_episodes=2,
)


def open_games(environments: int = 4, **settings) -> Games:
    defaults = {"game": "bossfight", "mode": "easy", "first_level": 0, "levels": 20, "threads": 1}
    return Games(**(defaults | {"seeds": engine_seeds(environments, 1)} | settings))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


# The games


@pytest.mark.parametrize("mode", MODES)
def test_all_sixteen_games_play(mode):
    assert len(SCORES) == 16
    for game in SCORES:
        with open_games(2, game=game, mode=mode) as games:
            before = games.frames.copy()
            assert before.shape == (2, 64, 64, 3) and before.dtype == np.uint8 and before.std() > 5
            for action in range(ACTIONS):
                rewards, ended = games.step(np.full(2, action))
            assert rewards.shape == ended.shape == (2,)
            assert (games.frames != before).any(axis=(1, 2, 3)).all(), game


def test_published_scores_normalise_to_zero_and_one():
    assert all(best > worst for modes in SCORES.values() for worst, best in modes.values())
    assert normalised(2.5, "starpilot", "easy") == 0 and normalised(35.0, "starpilot", "hard") == 1


def test_test_levels_never_overlap_training_levels():
    assert ProcgenConfig(dataset_size=FIRST_TEST_LEVEL).dataset_size == FIRST_TEST_LEVEL
    with pytest.raises(TrainerError, match="dataset_size"):
        ProcgenConfig(dataset_size=FIRST_TEST_LEVEL + 1)
    assert FIRST_TEST_LEVEL + TEST_LEVELS <= 2**31 - 1, "the engine's level numbers are 31 bits"
    random = np.random.default_rng(0)
    for dataset_size in (5, FIRST_TEST_LEVEL):
        trained, tested = set(), set()
        with (
            open_games(16, levels=dataset_size) as training,
            open_test_games(game="bossfight", mode="easy", seeds=engine_seeds(16, 2), threads=1) as testing,
        ):
            for _ in range(100):
                trained |= set(training.levels.tolist())
                tested |= set(testing.levels.tolist())
                for games in (training, testing):
                    games.step(random.integers(0, ACTIONS, 16))
        assert len(tested) > 16 and len(trained) >= 5
        assert max(trained) < dataset_size <= FIRST_TEST_LEVEL <= min(tested)


def test_an_ended_episode_is_followed_at_once_by_the_next():
    random, seen = np.random.default_rng(0), 0
    with open_games() as games:
        for _ in range(200):
            frames, levels = games.frames.copy(), games.levels.copy()
            _, ended = games.step(random.integers(0, ACTIONS, 4))
            seen += ended.sum()
            assert (games.levels == levels)[~ended].all()
            # A first frame differs from the last one wherever the game drew anything new.
            assert all((games.frames[i] != frames[i]).any() for i in np.flatnonzero(ended))
        assert seen > 3


@pytest.mark.parametrize("game", ["bossfight", "starpilot", "fruitbot"])
def test_replayed_actions_lead_to_the_same_state(game):
    random = np.random.default_rng(0)
    with open_games(game=game) as first, open_games(game=game) as second:
        for _ in range(150):
            first.step(random.integers(0, ACTIONS, 4))
        second.replay(np.stack(first.actions))
        for _ in range(100):
            actions = random.integers(0, ACTIONS, 4)
            one, two = first.step(actions), second.step(actions)
            assert np.array_equal(one, two) and np.array_equal(first.levels, second.levels)
            assert np.array_equal(first.frames, second.frames)


def test_every_first_episode_is_played_to_its_end_once():
    games = types.SimpleNamespace(
        frames=np.zeros((3, 1), np.uint8), lengths=np.array([1, 4, 2]), acted=np.zeros(3, int)
    )

    def step_some(which, actions):
        assert len(which) == len(actions)
        games.acted[which] += 1
        return np.ones(len(which)), games.acted[which] == games.lengths[which]

    games.step_some = step_some
    assert play_once(lambda playing, frames: np.zeros(len(frames)), games).tolist() == [1, 4, 2]


def test_a_missing_system_library_is_named_in_one_line(monkeypatch):
    def fails(name, **_):
        raise ImportError("EnvPool Procgen requires the system Qt 5 runtime on Linux. Install ...")

    monkeypatch.setitem(sys.modules, "envpool", types.SimpleNamespace(make_gymnasium=fails))
    with pytest.raises(TrainerError, match="^procgen needs .* apt-get install libqt5gui5$"):
        open_games()
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(TrainerError, match="^procgen needs .* pip install"):
        open_games()


def test_counting_imports_neither_torch_nor_the_engine():
    program = (
        "import sys; from trainers import load_trainer; t = load_trainer('procgen'); c = t.Config(); t.count(c); "
        "t.evaluation_steps(c); t.cohort_key(c); sys.exit(bool({'torch', 'envpool', 'gymnasium'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# Networks and arithmetic


def reference(kind: str, width: float) -> torch.nn.Module:
    """The same network as plain PyTorch modules, channels first."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.first = nn.Conv2d(channels, channels, 3, padding=1)
            self.second = nn.Conv2d(channels, channels, 3, padding=1)

        def forward(self, x):
            return x + self.second(torch.relu(self.first(torch.relu(x))))

    def scaled(n):
        return max(1, round(n * width))

    class ChannelsLast(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    if kind == "nature":
        a, b, hidden = scaled(32), scaled(64), scaled(512)
        body = [nn.Conv2d(3, a, 8, 4), nn.ReLU(), nn.Conv2d(a, b, 4, 2), nn.ReLU(), nn.Conv2d(b, b, 3)]
        size = b * 16
    else:
        body, inputs, hidden = [], 3, scaled(256)
        for outputs in (scaled(16), scaled(32), scaled(32)):
            body += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.MaxPool2d(3, 2, 1), Block(outputs), Block(outputs)]
            inputs = outputs
        size = inputs * 64
    head = [nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, ACTIONS + 1)]
    return nn.Sequential(*body, ChannelsLast(), nn.ReLU(), *head)


@pytest.mark.parametrize("kind", ["nature", "impala"])
@pytest.mark.parametrize("width", [0.2, 1.0])
def test_networks_and_gradients_equal_plain_pytorch(kind, width):
    agent, plain = Agent(kind, width, seed=3, device="cpu"), reference(kind, width)
    with torch.no_grad():
        for mine, theirs in zip(agent.layers, plain.parameters(), strict=True):
            theirs.copy_(mine.reshape(theirs.shape))
    frames = torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    logits, values = agent(frames)
    expected = plain(frames.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(torch.cat([logits, values[:, None]], 1), expected, rtol=1e-4, atol=1e-5)
    (logits.square().sum() + values.sum()).backward()
    (expected[:, :ACTIONS].square().sum() + expected[:, ACTIONS].sum()).backward()
    for mine, theirs in zip(agent.layers, plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad.reshape(theirs.shape), theirs.grad, rtol=1e-3, atol=1e-4)
    assert agent.gradient.abs().sum() > 0, "gradients land in the flat tensor"

    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-3, eps=1e-5)
    torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
    optimiser.step()
    agent.descend(1, learning_rate=1e-3, longest=0.5)
    for mine, theirs in zip(agent.layers, plain.parameters(), strict=True):
        torch.testing.assert_close(mine.reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["nature", "impala"])
@pytest.mark.parametrize("width", [0.1, 1.0])
def test_counts_agree_with_what_runs(kind, width):
    config = dataclasses.replace(SMALL, network=kind, width=width, epochs=2)
    counts = PROCGEN.count(config)
    with _Run(0, config, "cpu") as one:
        assert counts.parameters == one.agent.weights.numel()
        random = torch.Generator().manual_seed(0)
        with FlopCounterMode(display=False) as counter:
            seen = one.play(random)
        assert counter.get_total_flops() == acting_flops(config)
        with FlopCounterMode(display=False) as counter:
            one.learn(seen, random)
        assert counter.get_total_flops() == learning_flops(config)
    assert counts.flops_per_step == acting_flops(config) + learning_flops(config)


@pytest.mark.parametrize("kind", ["nature", "impala"])
def test_an_agent_starts_without_preferences(kind):
    with open_games(16, game="coinrun") as games, torch.no_grad():
        logits, values = Agent(kind, 1.0, seed=0, device="cpu")(torch.from_numpy(games.frames))
    assert logits.softmax(1).max() < 1.2 / ACTIONS and values.abs().max() < 0.1


def test_published_sizes():
    """IMPALA at width 1 has 0.6 million parameters, as in Cobbe et al.; the Nature network is known from Atari."""
    assert sum(layer.weights + layer.outputs for layer in network("impala", 1.0)) == 626_256
    assert sum(layer.weights + layer.outputs for layer in network("nature", 1.0)) == 608_944


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
            got = _advantages(rewards, ended, values, last, discount, decay)[t, i]
            assert got == pytest.approx(expected)


def test_rewards_are_divided_by_the_deviation_of_returns():
    random, scale = np.random.default_rng(0), _RewardScale(8)
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
        monkeypatch.setattr(procgen, "CPU_ROWS", rows)
        with _Run(0, SMALL, "cpu") as one:
            random = torch.Generator().manual_seed(0)
            one.learn(one.play(random), random)
            weights.append(one.agent.weights.clone())
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)


# Runs


class LoadGames:
    """A game that shows what to do: a frame's brightness names the action that is rewarded. Episodes take 16 steps."""

    def __init__(self, *, seeds, **_):
        self.random = np.random.default_rng(seeds)
        self.clock, self.actions = 0, []
        self.wanted = np.zeros(len(seeds), int)
        self._show()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        pass

    def _show(self):
        self.wanted = self.random.integers(0, 4, len(self.wanted))
        self.frames = np.zeros((len(self.wanted), 64, 64, 3), np.uint8)
        self.frames[:] = 60 * self.wanted[:, None, None, None]

    def step(self, actions):
        return self.step_some(np.arange(len(self.wanted)), actions)

    def step_some(self, which, actions):
        rewards = (actions == self.wanted[which]).astype(np.float32)
        self.clock += 1
        self._show()
        return rewards, np.full(len(which), self.clock % 16 == 0)


@pytest.mark.parametrize("kind, width, steps, goal", [("nature", 0.25, 24, 9.0), ("impala", 0.05, 12, 2.5)])
def test_an_agent_learns_a_game_that_shows_what_to_do(monkeypatch, kind, width, steps, goal):
    """Drawing one of 15 actions is rewarded about once in an episode, always acting well 16 times."""
    monkeypatch.setattr(procgen, "Games", LoadGames)
    monkeypatch.setattr(procgen, "test_games", LoadGames)
    config = ProcgenConfig(
        network=kind,
        width=width,
        steps=steps,
        batch_size=256,
        environments=16,
        minibatches=4,
        learning_rate=3e-3,
        discount=0.5,
        test_episodes=16,
    )
    points, _ = run(PROCGEN, [config])
    assert points[0, steps, 1].metrics["test_return"] > goal


def test_resumption_is_exact_where_environments_are_opened_anew(monkeypatch):
    monkeypatch.setattr(procgen, "REOPEN_AFTER", 24)
    whole, _ = run(PROCGEN, [SMALL])
    for stop_after in (1, 2):
        first = Recorder(stop_after_points=stop_after)
        before, _ = run(PROCGEN, [SMALL], first)
        assert len(first.saved[0].arrays["actions"]) <= 24
        after, _ = run(PROCGEN, [SMALL], Recorder(saved=first.saved))
        assert {**before, **after} == whole


def test_an_interruption_right_before_a_new_opening_is_exact_too(monkeypatch):
    # 8 steps an environment and iteration: after iteration 8 the next one opens environments anew.
    monkeypatch.setattr(procgen, "REOPEN_AFTER", 64)
    whole, _ = run(PROCGEN, [SMALL])
    first = Recorder(stop_after_points=1)
    before, _ = run(PROCGEN, [SMALL], first)
    assert first.saved[0].step == 8
    after, _ = run(PROCGEN, [SMALL], Recorder(saved=first.saved))
    assert {**before, **after} == whole


def test_measuring_does_not_touch_training(monkeypatch):
    weights = []
    for measured in ({20}, set(range(1, 21))):
        monkeypatch.setattr(type(PROCGEN), "evaluation_steps", lambda self, config, at=measured: sorted(at))
        first = Recorder()
        first.checkpoint_due = lambda: True
        run(PROCGEN, [SMALL], first)
        weights.append(first.saved[0].arrays)
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_no_environment_outlives_a_run():
    run(PROCGEN, [SMALL])
    before = threads()

    class Failing(Recorder):
        def checkpoint_due(self):
            raise RuntimeError("the cell fails")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="the cell fails"):
            run(PROCGEN, [SMALL], Failing())
        abandoned = PROCGEN.train([SMALL], Recorder())
        next(abandoned)
        abandoned.close()
        random_returns(game="bossfight", mode="easy", episodes=2, seed=0)
    assert threads() <= before


def test_points_say_what_was_spent_and_played():
    points, ends = run(PROCGEN, [SMALL])
    assert ends[0].ending is Ending.DONE
    last = points[0, SMALL.steps, 1]
    assert last.metrics["acting_flops"] + last.metrics["learning_flops"] == last.flops
    assert last.metrics["optimiser_steps"] == SMALL.steps * SMALL.epochs * SMALL.minibatches
    assert last.metrics["episodes"] >= 1
    assert all(point.metrics["shortfall"] >= procgen.LEAST_SHORTFALL for point in points.values())


def test_test_returns_are_comparable_between_cells(monkeypatch):
    """Every cell and every point is measured on the same test levels."""
    seen = []
    monkeypatch.setattr(procgen, "test_games", lambda **kw: seen.append(tuple(kw["seeds"])) or open_test_games(**kw))
    run(PROCGEN, [SMALL, dataclasses.replace(SMALL, seed=5, dataset_size=7)])
    assert len(seen) == 6 and len(set(seen)) == 1


def test_random_play_is_where_published_scores_put_blind_play():
    returns = random_returns(game="starpilot", mode="easy", episodes=64, seed=0)
    assert len(returns) == 64 and 0.5 < returns.mean() < 3
    assert procgen_envs.SCORES["starpilot"]["easy"][0] == 2.5


def test_intrinsic_performance_is_the_least_compute_that_plays_as_well():
    flops, shortfall = np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.9, 1.2, 0.5, 0.9])
    assert intrinsic_performance(flops, shortfall).tolist() == [1.0, 1.0, 4.0, 1.0]
