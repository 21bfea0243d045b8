"""The sixteen Procgen games, played through EnvPool's engine: published score ranges, levels, environments, evaluation.

A level is an integer. Training levels are 0 to `dataset_size - 1`; test levels lie at 2^30 and above, so the two never
overlap, not even for an agent that trains on every level below 2^30.

The engine's state cannot be read out, but play is a function of the environments' seeds and of the actions. `Games`
therefore remembers its actions: playing them again (`replay`) leads to the same state bit by bit, several times faster
than training went there.

Needs `pip install envpool gymnasium` and the Debian package libqt5gui5, which draws the frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trainers.contract import TrainerError

SCORES = {
    "bigfish": {"easy": (1.0, 40.0), "hard": (0.0, 40.0)},
    "bossfight": {"easy": (0.5, 13.0), "hard": (0.5, 13.0)},
    "caveflyer": {"easy": (3.5, 12.0), "hard": (2.0, 13.4)},
    "chaser": {"easy": (0.5, 13.0), "hard": (0.5, 14.2)},
    "climber": {"easy": (2.0, 12.6), "hard": (1.0, 12.6)},
    "coinrun": {"easy": (5.0, 10.0), "hard": (5.0, 10.0)},
    "dodgeball": {"easy": (1.5, 19.0), "hard": (1.5, 19.0)},
    "fruitbot": {"easy": (-1.5, 32.4), "hard": (-0.5, 27.2)},
    "heist": {"easy": (3.5, 10.0), "hard": (2.0, 10.0)},
    "jumper": {"easy": (3.0, 10.0), "hard": (1.0, 10.0)},
    "leaper": {"easy": (3.0, 10.0), "hard": (1.5, 10.0)},
    "maze": {"easy": (5.0, 10.0), "hard": (4.0, 10.0)},
    "miner": {"easy": (1.5, 13.0), "hard": (1.5, 20.0)},
    "ninja": {"easy": (3.5, 10.0), "hard": (2.0, 10.0)},
    "plunder": {"easy": (4.5, 30.0), "hard": (3.0, 30.0)},
    "starpilot": {"easy": (2.5, 64.0), "hard": (1.5, 35.0)},
}
"""The return of an agent that sees nothing and the best return, a game and mode: Cobbe, Hesse, Hilton & Schulman,
"Leveraging Procedural Generation to Benchmark Reinforcement Learning" (arXiv 1912.01588), appendix C."""
MODES = ("easy", "hard")
SIDE = 64
"""Height and width of a frame, in pixels of three colours."""
ACTIONS = 15
"""Actions of every game, whether it uses them or not."""
FIRST_TEST_LEVEL = 2**30
"""Training levels lie below, test levels from here on."""
TEST_LEVELS = 2**30 - 1
"""As many test levels as the engine's 31-bit level numbers leave."""


def normalised(score: float, game: str, mode: str) -> float:
    """0 for an agent that sees nothing, 1 for the best: the published ranges."""
    worst, best = SCORES[game][mode]
    return (score - worst) / (best - worst)


class Games:
    """Environments of one game, stepped together. An ended episode is followed at once by the next one's first frame.

    Running out of time ends an episode like any other end, as in the original engine. Use as a context manager: leaving
    it frees the environments and their threads.
    """

    def __init__(self, *, game: str, mode: str, first_level: int, levels: int, seeds: Sequence[int], threads: int):
        self._engine = _open_engine(
            f"{game.capitalize()}{mode.capitalize()}-v0",
            num_envs=len(seeds),
            num_threads=threads,
            env_seed=[int(seed) for seed in seeds],
            start_level=first_level,
            num_levels=levels,
            channel_first=False,
        )
        frames, info = self._engine.reset()
        self.frames: np.ndarray = np.array(frames)
        """What each environment shows now: (environments, 64, 64, 3), uint8."""
        self.levels: np.ndarray = np.array(info["level_seed"])
        """The level that each environment plays now."""
        self.actions: list[np.ndarray] = []
        """Every action since the environments were opened, a uint8 array of shape (environments,) a step."""

    def __enter__(self) -> Games:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine. Its threads end when the last reference goes, so none is kept."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Act in every environment: rewards, float32, and which episodes ended, bool; both (environments,)."""
        self.actions.append(np.asarray(actions, np.uint8))
        rewards, ended = self.step_some(np.arange(len(self.frames)), actions)
        if ended.any():
            # The engine would spend its next step on the reset and ignore the action: reset now instead.
            which = np.flatnonzero(ended).astype(np.int32)
            frames, info = self._engine.reset(which)
            self.frames[which], self.levels[which] = frames, info["level_seed"]
        return rewards, ended

    def step_some(self, which: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Act in some environments, and do not go on to a next episode where one ended."""
        frames, rewards, terminated, truncated, _ = self._engine.step(actions.astype(np.int32), which.astype(np.int32))
        self.frames[which] = frames
        return rewards, terminated | truncated

    def replay(self, actions: np.ndarray, check_stop: Callable[[], None] = lambda: None) -> None:
        """Play recorded actions, uint8 of shape (steps, environments), to arrive where they led before.

        `check_stop` is called before each step: what it raises ends the replay.
        """
        for row in actions:
            check_stop()
            self.step(row)


def play_once(choose: Callable[[np.ndarray, np.ndarray], np.ndarray], games: Games) -> np.ndarray:
    """The return of each environment's first episode; shape (environments,).

    `choose` maps the environments still playing (indices) and their frames to actions. Every first episode is played to
    its end: a mean over the first episodes to end would favour short ones.
    """
    returns = np.zeros(len(games.frames))
    playing = np.arange(len(returns))
    while len(playing):
        rewards, ended = games.step_some(playing, choose(playing, games.frames[playing]))
        returns[playing] += rewards
        playing = playing[~ended]
    return returns


def random_returns(*, game: str, mode: str, episodes: int, seed: int) -> np.ndarray:
    """Returns on test levels of a policy that draws every action uniformly; shape (episodes,)."""
    random = np.random.default_rng((seed, 0))
    seeds = engine_seeds(episodes, seed, 1)
    with test_games(game=game, mode=mode, seeds=seeds, threads=1) as games:
        return play_once(lambda playing, _: random.integers(0, ACTIONS, len(playing)), games)


def test_games(*, game: str, mode: str, seeds: Sequence[int], threads: int) -> Games:
    """Environments on test levels, which the seeds choose."""
    return Games(game=game, mode=mode, first_level=FIRST_TEST_LEVEL, levels=TEST_LEVELS, seeds=seeds, threads=threads)


def engine_seeds(count: int, *entropy: int) -> np.ndarray:
    """Independent seeds for `count` environments, in the engine's range of 31 bits."""
    return np.random.SeedSequence(entropy).generate_state(count) >> 1


def _open_engine(name: str, **settings):
    """EnvPool's environments, or one line that says what to install."""
    try:
        import envpool
    except ImportError as error:
        raise TrainerError(f"procgen needs EnvPool: pip install 'envpool>=1.2' gymnasium ({error})") from error
    try:
        return envpool.make_gymnasium(name, **settings)
    except ImportError as error:
        if "Qt" not in str(error):
            raise
        raise TrainerError("procgen needs the system library libQt5Gui: apt-get install libqt5gui5") from error
