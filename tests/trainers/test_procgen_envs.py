"""Procgen's games through EnvPool: all of them, their levels, replayed actions, whole episodes."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from trainers import TrainerError
from trainers.procgen import (
    ACTIONS,
    FIRST_TEST_LEVEL,
    MODES,
    SCORES,
    TEST_LEVELS,
    Games,
    ProcgenConfig,
    engine_seeds,
    play_once,
    random_returns,
)
from trainers.procgen import test_games as open_test_games
from trainers.procgen.environments import normalised


def open_games(environments: int = 4, **settings) -> Games:
    defaults = {"game": "bossfight", "mode": "easy", "first_level": 0, "levels": 20, "threads": 1}
    return Games(**(defaults | {"seeds": engine_seeds(environments, 1)} | settings))


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
    """Their table once more, a column at a time: games from bigfish to starpilot."""
    games = (
        "bigfish bossfight caveflyer chaser climber coinrun dodgeball fruitbot heist jumper leaper maze miner ninja "
        "plunder starpilot"
    )
    columns = {
        ("easy", 0): (1, 0.5, 3.5, 0.5, 2, 5, 1.5, -1.5, 3.5, 3, 3, 5, 1.5, 3.5, 4.5, 2.5),
        ("easy", 1): (40, 13, 12, 13, 12.6, 10, 19, 32.4, 10, 10, 10, 10, 13, 10, 30, 64),
        ("hard", 0): (0, 0.5, 2, 0.5, 1, 5, 1.5, -0.5, 2, 1, 1.5, 4, 1.5, 2, 3, 1.5),
        ("hard", 1): (40, 13, 13.4, 14.2, 12.6, 10, 19, 27.2, 10, 10, 10, 10, 20, 10, 30, 35),
    }
    for (mode, end), scores in columns.items():
        assert {game: SCORES[game][mode][end] for game in SCORES} == dict(zip(games.split(), scores, strict=True))
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


def test_random_play_is_where_published_scores_put_blind_play():
    returns = random_returns(game="starpilot", mode="easy", episodes=64, seed=0)
    assert len(returns) == 64 and 0.5 < returns.mean() < 3
    assert SCORES["starpilot"]["easy"][0] == 2.5
