"""Fewer points of the same shape."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.thinning import by_shape, curve


def test_few_points_stay_all():
    assert by_shape([np.arange(10.0)], 10).tolist() == list(range(10))
    assert curve(np.arange(5.0), np.arange(5.0), 9).tolist() == list(range(5))


def test_rare_points_stay_and_crowds_are_thinned():
    random = np.random.default_rng(0)
    x, y = np.r_[random.normal(0, 0.01, 100_000), 5.0, -4.0], np.r_[random.normal(0, 0.01, 100_000), 1.0, 7.0]
    kept = by_shape([x, y], 500)
    assert 50 < kept.size <= 500
    assert {100_000, 100_001} <= set(kept)
    for values in (x, y):
        assert values[kept].min() == values.min() and values[kept].max() == values.max()
    assert np.array_equal(kept, by_shape([x, y], 500)), "chance plays no part"


def test_every_level_of_a_grid_stays():
    levels = np.repeat(np.arange(30.0), 4000)
    noise = np.random.default_rng(1).normal(size=levels.size)
    kept = by_shape([levels, noise], 2000)
    assert set(levels[kept]) == set(levels)


@pytest.mark.parametrize("rows", [1, 2, 5001])
def test_columns_without_range_and_without_numbers(rows):
    kept = by_shape([np.ones(rows), np.full(rows, 2.0)], 100)
    assert 1 <= kept.size <= 100
    x = np.r_[np.nan, np.arange(float(rows))]
    assert by_shape([x], 100).size <= 100


def test_a_curve_keeps_its_ends_and_its_corners():
    x = np.linspace(0, 1, 2001)
    y = np.abs(x - 0.5) + np.where(np.arange(2001) == 1700, 0.8, 0.0)
    kept = curve(x, y, 12)
    assert kept.size == 12
    assert {0, 2000, 1700, 1000} <= set(kept.tolist())
    np.testing.assert_allclose(np.interp(x, x[kept], y[kept]), y, atol=0.01)


def test_a_flat_curve_is_thinned_evenly_enough():
    kept = curve(np.arange(1000.0), np.zeros(1000), 10)
    assert kept.size == 10 and kept[0] == 0 and kept[-1] == 999
