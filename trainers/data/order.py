"""The order in which a finite training set is read."""

from __future__ import annotations

import numpy as np


class EpochOrder:
    """Every epoch is a fresh permutation, and any stretch of the endless sequence can be asked for directly.

    Two orders with equal seed and size agree everywhere, whatever was asked of them before.
    """

    def __init__(self, *, seed: int, size: int):
        self._seed, self._size = seed, size
        self._epoch, self._permutation = -1, np.empty(0, np.int64)

    def take(self, start: int, count: int) -> np.ndarray:
        """Indices of the `count` examples from position `start` of the sequence on; shape (count,), int64."""
        position, parts = start, []
        while position < start + count:
            epoch, offset = divmod(position, self._size)
            if epoch != self._epoch:
                self._epoch = epoch
                self._permutation = np.random.default_rng((self._seed, epoch)).permutation(self._size)
            parts.append(self._permutation[offset : offset + start + count - position])
            position += len(parts[-1])
        return np.concatenate(parts)
