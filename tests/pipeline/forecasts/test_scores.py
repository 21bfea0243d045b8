"""Scores against integrals, limits and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from pipeline.forecasts.scores import crps, held, interval_score, pit, reach, reliability


@pytest.mark.parametrize("freedom", [2.0, 5.5, 40.0])
@pytest.mark.parametrize("error", [-3.0, 0.0, 0.4, 7.0])
def test_the_crps_is_the_integral_that_defines_it(error, freedom):
    scale = 0.7
    below = integrate.quad(lambda x: stats.t.cdf(x / scale, freedom) ** 2, -np.inf, error)[0]
    above = integrate.quad(lambda x: stats.t.sf(x / scale, freedom) ** 2, error, np.inf)[0]
    assert crps(np.array([error]), np.array([scale]), freedom)[0] == pytest.approx(below + above, rel=1e-6)


@pytest.mark.parametrize("error", [-1.0, 0.0, 2.5])
def test_many_degrees_of_freedom_are_the_normal_distribution(error):
    normal = error * (2 * stats.norm.cdf(error) - 1) + 2 * stats.norm.pdf(error) - 1 / math.sqrt(math.pi)
    for freedom in (1e6, 1e30):
        assert crps(np.array([error]), np.ones(1), freedom)[0] == pytest.approx(normal, abs=1e-6)


def test_the_interval_score_is_the_width_and_a_fine_for_a_miss():
    low, high = np.array([1.0, 1.0, 1.0]), np.array([3.0, 3.0, 3.0])
    value = np.array([2.0, 0.5, 4.0])
    assert interval_score(low, high, value, 0.9).tolist() == pytest.approx([2.0, 2.0 + 20 * 0.5, 2.0 + 20 * 1.0])
    assert interval_score(low, high, value, 0.5).tolist() == pytest.approx([2.0, 2.0 + 4 * 0.5, 2.0 + 4 * 1.0])


def test_the_interval_holds_exactly_where_the_pit_says_so():
    errors = np.linspace(-3, 3, 601)
    scale, freedom = np.full(601, 0.8), 7.0
    for level in (0.5, 0.9):
        inside = np.abs(errors) <= reach(level, scale, freedom)
        assert (held(pit(errors, scale, freedom), level) == inside).all()


def test_measurements_from_the_forecast_itself_are_reliable():
    errors = stats.t.rvs(6, size=20_000, random_state=1) * 0.3
    levels = np.array([0.1, 0.5, 0.9])
    shares = reliability(pit(errors, np.full(errors.size, 0.3), 6.0), levels)
    assert shares == pytest.approx(levels, abs=0.02)
    boast = reliability(pit(errors, np.full(errors.size, 0.1), 6.0), levels)
    assert (boast < levels - 0.05).all()
    assert np.isnan(reliability(np.zeros(0), levels)).all()


def test_the_scores_are_least_for_whoever_says_what_is_so():
    errors = stats.t.rvs(6, size=20_000, random_state=2) * 0.3
    scales = np.array([0.15, 0.3, 0.6])
    by_crps = [crps(errors, np.full(errors.size, scale), 6.0).mean() for scale in scales]
    half = [reach(0.9, np.full(errors.size, scale), 6.0) for scale in scales]
    by_interval = [interval_score(-h, h, errors, 0.9).mean() for h in half]
    assert np.argmin(by_crps) == np.argmin(by_interval) == 1
