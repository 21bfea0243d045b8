"""Frames of the Procgen games as a set of pictures: endless, and the same on every machine.

A class is a game in one of its two modes, a picture is a level of its own after a few random actions. Training pictures
are of levels below 2^30, the others of levels above.
"""

from __future__ import annotations

import numpy as np

from trainers.contract import TrainerError
from trainers.procgen import ACTIONS, FIRST_TEST_LEVEL, MODES, SCORES, TEST_LEVELS, Games, engine_seeds
from trainers.vision.records import ORDER_SEED, PARTS, middle_square, record

SHARDS_OF_A_SEED = 2**20
"""Files of game frames between the pictures of two seeds: more than any run reaches."""
LEVELS = 128
"""Levels of each class in one file of game frames."""
MOST_ACTIONS = 12
"""Random actions before a frame is taken, at most: enough that the frame is no start, few enough to be fast."""


class GameFrames:
    """See the module's docstring."""

    def __init__(self, classes: int, few_shot_classes: int):
        import importlib.metadata

        named = [(game, mode) for game in sorted(SCORES) for mode in MODES]
        # Classes of the probe mostly have a sibling that is trained on, as in a set of natural pictures: of games that
        # are wholly unknown hardly anything is learned from the others (measured).
        named = [named[place] for place in np.random.default_rng(ORDER_SEED).permutation(len(named))]
        if classes + few_shot_classes > len(named):
            raise TrainerError(
                f"classes = {classes} and few_shot_classes = {few_shot_classes} must together be at most {len(named)}: "
                "sixteen games in two modes"
            )
        self._classes = {"train": named[:classes], "few_shot": named[classes : classes + few_shot_classes]}
        self._classes["test"] = self._classes["train"]
        try:
            version = importlib.metadata.version("envpool")
        except importlib.metadata.PackageNotFoundError as error:
            raise TrainerError("pictures 'procgen' need EnvPool: pip install 'envpool>=1.2' gymnasium") from error
        self.identity = ["procgen", version]

    def shard_rows(self, part: str) -> int:
        return LEVELS * len(self._classes[part])

    def rows_of(self, part: str, number: int) -> int:
        return self.shard_rows(part)

    def size(self, part: str) -> int:
        return TEST_LEVELS if self._classes[part] else 0

    def drawn(self, part: str, count: int, seed: int) -> np.ndarray:
        """A stretch of the endless order that no other seed reaches."""
        return seed * SHARDS_OF_A_SEED * self.shard_rows(part) + np.arange(count)

    def shard(self, part: str, number: int, resolution: int) -> np.ndarray:
        """Classes take turns, so that every prefix is balanced."""
        classes = self._classes[part]
        records = np.zeros((LEVELS, len(classes)), record(resolution))
        for label, (game, mode) in enumerate(classes):
            entropy = (ORDER_SEED, PARTS.index(part), sorted(SCORES).index(game), MODES.index(mode), number)
            frames = self._frames(game, mode, part, entropy)
            records["label"][:, label] = label
            records["picture"][:, label] = [middle_square(frame, resolution) for frame in frames]
        return records.reshape(-1)

    @staticmethod
    def _frames(game: str, mode: str, part: str, entropy: tuple[int, ...]) -> np.ndarray:
        random = np.random.default_rng(entropy)
        taken_at = random.integers(1, MOST_ACTIONS + 1, LEVELS)
        first, levels = (0, FIRST_TEST_LEVEL) if part == "train" else (FIRST_TEST_LEVEL, TEST_LEVELS)
        seeds = engine_seeds(LEVELS, *entropy)
        with Games(game=game, mode=mode, first_level=first, levels=levels, seeds=seeds, threads=1) as games:
            taken = np.zeros_like(games.frames)
            for step in range(1, MOST_ACTIONS + 1):
                games.step(random.integers(0, ACTIONS, LEVELS))
                taken[taken_at == step] = games.frames[taken_at == step]
        return taken
