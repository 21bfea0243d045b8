"""Which examples of a population a run trains on."""

from __future__ import annotations

import numpy as np

STREAM = 5
"""Beside the seed: what else is drawn from it is independent of the subset."""


def nested_subset(*, seed: int, size: int, population: int) -> np.ndarray:
    """A uniform sample without replacement of `size` of the numbers below `population`; shape (size,), int64.

    A larger sample of the same seed begins with the smaller one, so that along the size of a data set one is added to;
    other seeds draw other samples, so that what differs between seeds holds the variance of the data.
    """
    return np.random.default_rng((seed, STREAM)).permutation(population)[:size]
