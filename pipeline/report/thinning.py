"""Fewer points that look the same: thinned by their shape, never at random."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

FINEST = 4096
"""Parts of an axis beyond which no screen tells two points apart."""


def by_shape(columns: Sequence[np.ndarray], most: int) -> np.ndarray:
    """Rows that cover what all rows cover: the first of each box of the finest grid with at most `most` boxes filled.

    columns: arrays of one length on linear scales (take logarithms first). A rare point is as likely to stay as one in
    a crowd, so outline, outliers and gaps stay as they are; the ends of every column always do. Returns rising row
    numbers, at least one a column's end.
    """
    rows = len(columns[0])
    if rows <= most:
        return np.arange(rows)
    scaled = [one for one in map(_scaled, columns) if one is not None]
    if not scaled:
        return np.arange(1)
    ends = np.unique([extreme(values) for values in scaled for extreme in (np.argmin, np.argmax)])
    coarse, fine = 1, FINEST
    kept = ends
    while coarse <= fine:
        parts = (coarse + fine) // 2
        chosen = np.union1d(_first_of_each_box(scaled, parts), ends)
        if chosen.size <= most:
            kept, coarse = chosen, parts + 1
        else:
            fine = parts - 1
    return kept


def _scaled(values: np.ndarray) -> np.ndarray | None:
    """From 0 to 1, what is no number apart; None where the column does not vary."""
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return None
    low, high = finite.min(), finite.max()
    return np.nan_to_num((values - low) / (high - low), nan=-0.5, posinf=1.5, neginf=-1.5)


def _first_of_each_box(scaled: Sequence[np.ndarray], parts: int) -> np.ndarray:
    box = np.zeros(scaled[0].size, np.uint64)
    for values in scaled:
        # One number a box, by a multiplier so large and odd that two boxes hardly ever share theirs.
        box = box * np.uint64(0x9E3779B97F4A7C15) + np.floor(values * parts + 2 * parts).astype(np.uint64)
    return np.unique(box, return_index=True)[1]


def curve(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """The rows of a curve, x rising, that carry its shape: again and again the point is dropped whose triangle with its
    neighbours is smallest (Visvalingam and Whyatt 1993). Both ends stay."""
    size = x.size
    if size <= most:
        return np.arange(size)
    width, height = np.ptp(x) or 1.0, np.ptp(y) or 1.0
    before, after = np.arange(-1, size - 1), np.arange(1, size + 1)
    alive = np.ones(size, bool)

    def area(k: int) -> float:
        a, b = before[k], after[k]
        return abs((x[a] - x[k]) * (y[b] - y[k]) - (x[b] - x[k]) * (y[a] - y[k])) / (width * height)

    heap = [(area(k), k) for k in range(1, size - 1)]
    heapq.heapify(heap)
    current = dict((k, one) for one, k in heap)
    left = size
    while left > max(most, 2):
        one, k = heapq.heappop(heap)
        if not alive[k] or current[k] != one:
            continue
        alive[k], left = False, left - 1
        after[before[k]], before[after[k]] = after[k], before[k]
        for neighbour in (before[k], after[k]):
            if 0 < neighbour < size - 1:
                # Never below what was dropped: else a flat run would be eaten from one end.
                current[neighbour] = max(area(neighbour), one)
                heapq.heappush(heap, (current[neighbour], neighbour))
    return np.flatnonzero(alive)
