"""Intervals: they cover what they claim, they grow with distance, and they know seeds from misfit."""

import math

import numpy as np
import pytest

from fitting import LAWS, FittingError, Frame, Recipe, Table, fit

N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e7, 1e10, 6)))
BEYOND_N, BEYOND_D = (v.ravel() for v in np.meshgrid([2e9, 4e9, 1.6e10], [2e10, 4e10, 1.6e11]))


def truth(n, d):
    return 1.7 + 400 * n**-0.34 + 410 * d**-0.28


def simulate(seed, noise=0.02, copies=1):
    """A table with noise in ln y, and as many new measurements beyond it."""
    rng = np.random.default_rng(seed)
    n, d = np.tile(N, copies), np.tile(D, copies)
    y = truth(n, d) * np.exp(noise * rng.standard_normal(n.size))
    group = np.tile(np.arange(N.size), copies)
    table = Table(inputs={"parameters": n, "tokens": d}, y=y, ceiling=math.inf, group=group)
    return table, truth(BEYOND_N, BEYOND_D) * np.exp(noise * rng.standard_normal(BEYOND_N.size))


def test_intervals_cover_new_measurements_beyond_the_table():
    """Truths drawn from the prior of the law: only over those does an interval of level p hold a part p."""
    around, _ = simulate(0)
    form = LAWS["cf"].forms(Frame.from_table(around))[0]
    hits = {0.5: [], 0.9: []}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        raw = rng.standard_normal((1, form.size))

        def measured(n, d, raw=raw, rng=rng):
            y = np.exp(form.predict_log(raw, form.frame.coordinates({"parameters": n, "tokens": d}))[0])
            return y * np.exp(0.02 * rng.standard_normal(n.size))

        result = fit("cf", Table(inputs={"parameters": N, "tokens": D}, y=measured(N, D), ceiling=math.inf))
        later = measured(BEYOND_N, BEYOND_D)
        for level, held in hits.items():
            interval = result.forecast({"parameters": BEYOND_N, "tokens": BEYOND_D}, level=level)
            held.append((interval.low < later) & (later < interval.high))
    assert 0.85 <= np.mean(hits[0.9]) <= 0.95
    assert 0.42 <= np.mean(hits[0.5]) <= 0.58


def width(result, n, d):
    interval = result.forecast({"parameters": n, "tokens": d})
    return np.log(interval.high / interval.low)


@pytest.mark.parametrize("law", ["cf", "a1", "a3"])
def test_intervals_grow_with_distance(law):
    table, _ = simulate(0)
    quick = Recipe(ridges=(1e-3, 1e-5), starts=2, budget=15)
    out = np.geomspace(1e9, 1e15, 7)
    widths = width(fit(law, table, recipe=quick), out, out * 10)
    assert widths[-1] > 1.2 * widths[0]
    # Averaged members may cross somewhere, where they agree by chance: so a tenth of give.
    assert (np.diff(widths) > -0.1 * widths[:-1]).all()


def test_more_rows_give_narrower_intervals():
    few, many = (fit("cf", simulate(1, copies=copies)[0]) for copies in (1, 8))
    assert width(many, 1e11, 1e12) < width(few, 1e11, 1e12)


def test_replicates_tell_noise_from_misfit():
    """A law that cannot bend leaves large residuals; the spread between replicates stays what it is."""
    table, _ = simulate(2, noise=0.02, copies=4)
    belief = fit("m2", table).belief
    assert belief.seed == pytest.approx(0.02, rel=0.25)
    assert belief.residual > 3 * belief.seed
    assert fit("cf", table).belief.residual == pytest.approx(0.02, rel=0.25)


def test_seed_noise_survives_the_thinning_of_a_long_table():
    table, _ = simulate(4, noise=0.03, copies=40)
    assert len(table) > 1000
    assert fit("cf", table).belief.seed == pytest.approx(0.03, rel=0.1)


def test_without_replicates_there_is_no_seed_noise():
    table, _ = simulate(3)
    assert fit("cf", table).belief.seed == 0.0


def test_noise_free_data_give_narrow_intervals():
    table = Table(inputs={"parameters": N, "tokens": D}, y=truth(N, D), ceiling=math.inf)
    result = fit("cf", table)
    assert width(result, 1e10, 1e11) < 0.01
    interval = result.forecast({"parameters": 1e10, "tokens": 1e11})
    assert interval.low < interval.median < interval.high


@pytest.mark.parametrize("level", [0.0, 1.0, -3, 90])
def test_a_level_is_a_probability(level):
    with pytest.raises(FittingError, match="between 0 and 1"):
        fit("cf", simulate(0)[0]).forecast({"parameters": 1e10, "tokens": 1e11}, level=level)


def test_intervals_of_coefficients_hold_the_truth():
    truths = {"E": 1.7, "alpha_parameters": 0.34, "alpha_tokens": 0.28}
    hits, widths, found = [], [], []
    for seed in range(25):
        result = fit("cf", simulate(seed)[0])
        intervals = result.coefficient_intervals()
        hits.append([low < truths[name] < high for name, (low, high) in intervals.items() if name in truths])
        widths.append([intervals[name][1] - intervals[name][0] for name in truths])
        found.append([result.coefficients[name] for name in truths])
    assert np.mean(hits) >= 0.85
    # A truth near the middle of the prior is held more often than nine times in ten, but not by intervals that are
    # much wider than estimates scatter.
    needed = 2 * 1.645 * np.std(found, axis=0)
    assert (np.mean(widths, axis=0) < 2.0 * needed).all() and (np.mean(widths, axis=0) > 0.7 * needed).all()
    assert set(intervals) == {"E", "A_parameters", "alpha_parameters", "A_tokens", "alpha_tokens"}
    assert all(0 < low < high for low, high in intervals.values())


def test_rows_that_err_alike_count_as_fewer():
    """A wave that the law cannot follow, as a training curve has, against independent noise of the same size."""
    step = np.geomspace(1, 1e4, 60)
    wave = 0.02 * np.sin(np.linspace(0, 9 * math.pi, step.size))
    noise = np.random.default_rng(0).permutation(wave)
    beliefs = [
        fit("m2", Table(inputs={"step": step}, y=(1 + step**-0.4) * np.exp(error), ceiling=math.inf)).belief
        for error in (wave, noise)
    ]
    assert beliefs[0].design_effect > 5 > 2 > beliefs[1].design_effect >= 1
