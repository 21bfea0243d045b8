"""The parts of an interval, each by itself: what stretches it, what noise there is, how many rows count."""

import math
from dataclasses import replace

import numpy as np
import pytest
from line_form import X, Z, member, rows_of
from scipy import stats

from fitting import LAWS, Frame, Loss, Recipe, Table, fit
from fitting.candidates import Rows, ridge_paths
from fitting.forecast import Belief, seed_noise
from fitting.laws.data_constrained import log_data_constrained
from fitting.laws.unsl import Shape, UnslForm
from fitting.selection import by_frontier, ranked_again

COVARIANCE = np.array([[0.04, 0.01], [0.01, 0.02]])


def belief(**more):
    one = member(0.0, 1.0)
    facts = dict(members=(one,), equation=one, covariances=(COVARIANCE,), residual=0.1, seed=0.0)
    return Belief(**{**facts, "degrees_of_freedom": 7.0, **more})


@pytest.mark.parametrize(
    "more, unknown, noise",
    [
        ({}, 1.0, 0.1),
        ({"stretch": 3.0}, 9.0, 0.1),
        ({"seed": 0.4}, 1.0, 0.4),
        ({"seed": 0.05}, 1.0, 0.1),
    ],
)
def test_an_interval_is_the_square_root_of_its_parts(more, unknown, noise):
    """Half of what is not known, times the square of the stretch, and the larger of the two noises."""
    jacobian = np.stack([np.ones_like(X), X])
    variance = 0.5 * unknown * np.einsum("kn,kl,ln->n", jacobian, COVARIANCE, jacobian)
    freedom = (variance + noise**2) ** 2 / (variance**2 / 1.5 + noise**4 / 7.0)
    low, middle, high = belief(**more).interval(Z, 0.8)
    np.testing.assert_allclose(high - middle, stats.t.ppf(0.9, freedom) * np.sqrt(variance + noise**2), rtol=1e-12)
    np.testing.assert_allclose(middle - low, high - middle, rtol=1e-12)
    np.testing.assert_allclose(middle, X)


def test_the_noise_of_rows_is_their_squares_over_the_rows_that_coefficients_leave_free():
    """A line through nine rows, which say so much that the prior says nothing: seven are left."""
    noise = 0.1 * np.random.default_rng(2).standard_normal(X.size)
    slope, offset = np.polyfit(X, X + noise, 1)
    squares = float(((X + noise - slope * X - offset) ** 2).sum())
    one = member(offset, slope)
    found = Belief.from_members([one], one, rows_of(X + noise))
    assert found.residual == pytest.approx(math.sqrt(squares / 7), rel=2e-3)
    assert found.degrees_of_freedom * found.design_effect == pytest.approx(7, rel=2e-3)


def test_members_that_disagree_widen_as_much_as_rows_are_alike():
    members = (member(0.0, 1.0), member(0.0, 2.0))
    one = belief(members=members, equation=members[0], covariances=(COVARIANCE, COVARIANCE))
    sure = replace(one, covariances=tuple(0 * c for c in one.covariances))
    spread = (np.array([0.0, 1.0])[:, None] * X) ** 2  # from the equation, which is the first
    for effect in (1.0, 5.0):
        found = replace(sure, design_effect=effect).moments(Z)[1]
        np.testing.assert_allclose(found, 0.5 * math.sqrt(effect) * spread.mean(0), atol=1e-12)


def test_what_is_not_known_has_heavy_tails_and_noise_has_those_of_its_rows():
    one = belief()
    assert one.freedom(np.array([0.0, 1e6])) == pytest.approx([7.0, 1.5], rel=1e-3)
    assert replace(one, residual=0.0).freedom(np.array([0.0, 1.0])).tolist() == [1.5, 1.5]


def test_weights_count_in_the_mean_in_how_members_disagree_and_in_what_they_leave_open():
    members = (member(0.0, 1.0), member(0.0, 2.0))
    one = belief(members=members, equation=None, covariances=(COVARIANCE, 4 * COVARIANCE), weights=(0.75, 0.25))
    mean, unknown = one.moments(Z)
    np.testing.assert_allclose(mean, 1.25 * X)
    spread = 0.75 * (0.25 * X) ** 2 + 0.25 * (0.75 * X) ** 2
    jacobian = np.stack([np.ones_like(X), X])
    left = (0.75 + 0.25 * 4) * np.einsum("kn,kl,ln->n", jacobian, COVARIANCE, jacobian)
    np.testing.assert_allclose(unknown, 0.5 * (spread + left))


def test_rows_that_err_alike_widen_every_part():
    x = np.linspace(-1, 1, 60)
    wave, noise = 0.1 * np.sin(12 * x), 0.1 * np.random.default_rng(0).permutation(np.sin(12 * x))
    alike, apart = (
        Belief.from_members([member(0.0, 1.0)], member(0.0, 1.0), rows_of(x + e, x=x)) for e in (wave, noise)
    )
    assert alike.design_effect > 4 * apart.design_effect
    assert alike.residual == pytest.approx(apart.residual, rel=0.05)
    ratio = alike.design_effect / apart.design_effect
    np.testing.assert_allclose(alike.covariances[0], ratio * apart.covariances[0], rtol=0.02)
    assert alike.degrees_of_freedom == pytest.approx(apart.degrees_of_freedom / ratio, rel=0.02)


def test_coefficients_make_independent_residuals_unlike_and_that_is_given_back():
    """Twelve rows, ten coefficients' worth of fit: what is left of independent noise alternates, and is no proof that
    rows are independent.
    """
    from fitting.forecast import _design_effect

    rows = np.linspace(0, 1, 12)[:, None]
    residual = np.random.default_rng(1).standard_normal(12)
    nearest = np.abs(rows - rows.T)
    np.fill_diagonal(nearest, np.inf)
    r = (residual * residual[nearest.argmin(1)]).sum() / (residual**2).sum()
    for effective in (0.0, 3.0, 6.0):
        corrected = min(max(r + effective / 12, 0.0), 0.9)
        assert _design_effect(rows, residual, effective) == pytest.approx((1 + corrected) / (1 - corrected))


def test_noise_between_replicates_has_a_degree_of_freedom_a_group_less():
    log_y = np.array([0.0, 0.1, 0.2, 1.0, 3.0, 3.2])
    group = np.array([5, 5, 5, 2, 9, 9])
    assert seed_noise(log_y, group) == pytest.approx(math.sqrt((0.02 + 0.02) / 3))
    assert seed_noise(log_y, None) == 0.0


def test_replicates_make_the_interval_of_a_stiff_law_honest():
    """Replicates that scatter more than their means do: a new measurement scatters like them."""
    x = np.tile(np.geomspace(1, 1e4, 8), 6)
    y = x**-0.3 * np.exp(0.2 * np.random.default_rng(3).standard_normal(x.size))
    group = np.tile(np.arange(8), 6)
    with_groups = fit("m1", Table(inputs={"x": x}, y=y, group=group))
    interval = with_groups.forecast({"x": 30.0})
    assert np.log(interval.high / interval.median) > 1.5 * 0.2


@pytest.mark.parametrize("errors, expected", [([0.1, -0.1], 1.0), ([0.9, -0.9, 0.9, -0.9], None)])
def test_the_stretch_is_how_much_errors_exceed_what_was_foretold(errors, expected):
    one = belief()
    x = np.linspace(-0.5, 0.5, len(errors))
    rows = rows_of(x + np.array(errors), x=x)
    if expected is None:
        jacobian = np.stack([np.ones_like(x), x])
        foretold = 0.5 * np.einsum("kn,kl,ln->n", jacobian, COVARIANCE, jacobian) + 0.1**2
        expected = math.sqrt(((np.array(errors) ** 2 / foretold).sum() + 2) / (len(errors) + 2))
    assert one.stretched_on(rows) == pytest.approx(expected)


# The procedure


def test_emphasis_weighs_the_rows_of_largest_scale():
    rows = rows_of(X)
    weights = rows.emphasised(2.0)
    assert weights[-1] == 1.0 and weights[0] == pytest.approx(math.exp(-2.0)) and (np.diff(weights) > 0).all()
    # A law too stiff for the curve follows its upper end with emphasis, not the lower one.
    x = np.geomspace(1, 1e4, 30)
    y = x**-0.5 * (1 + x / 100) ** 0.4
    table = Table(inputs={"x": x}, y=y)
    plain = dict(ridges=(1e-6,), own_ridges=(), starts=1, shortlist=0.0, share=0.0, frontier=0.0)
    ends = []
    for emphasis in (0.0, 4.0):
        residuals = np.abs(fit("m1", table, recipe=Recipe(emphasis=(emphasis,), **plain)).residuals())
        ends.append((residuals[:8].mean(), residuals[-8:].mean()))
    assert ends[1][1] < 0.7 * ends[0][1] and ends[1][0] > ends[0][0]


def test_among_equals_on_the_frontier_the_better_fit_ranks_first():
    good, bad = replace(member(0.0, 1.0), score=0.5), replace(member(0.3, 0.6), score=0.5)
    rows = rows_of(X)
    assert ranked_again([bad, good], rows, Recipe())[0] is good
    slightly = replace(bad, score=0.499)
    assert ranked_again([slightly, good], rows, Recipe())[0] is good
    assert ranked_again([slightly, good], rows, Recipe(fit_weight=0.0))[0] is slightly


def test_own_ridges_are_the_noise_of_the_mean():
    """The prior weighs as one of the rows: the mean squared error over their number, replicates counted."""
    x = np.geomspace(1, 1e4, 20)
    log_y = np.log(x**-0.3) + 0.1 * np.random.default_rng(0).standard_normal(20)
    table = Table(inputs={"x": x}, y=np.exp(log_y))
    frame = Frame.from_table(table)
    for measured, within in ((20, 0.0), (60, 0.02)):
        rows = Rows.from_table(table, frame, np.linspace(0, 1, 20), measured=measured, within=within)
        recipe = Recipe(ridges=(1e-7,), own_ridges=(1.0, 0.1), starts=1, emphasis=(0.0,))
        first, *own = ridge_paths(LAWS["m1"].forms(frame), rows, recipe=recipe, loss=Loss.MSLE, seed=0)
        expected = (first.loss + within) / measured
        assert [m.ridge for m in own] == pytest.approx([expected, 0.1 * expected])


def test_forms_that_exclude_one_another_never_predict_together():
    """A law of one input reads one input, even where another would be as good."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e7, 1e10, 5)))
    y = 1 + 30 * n**-0.3 + 50 * d**-0.3
    table = Table(inputs={"n": n, "d": d}, y=y)
    rows = Rows.from_table(table, Frame.from_table(table), np.log(n * d) / np.log(n * d).max(), measured=25, within=0.0)
    recipe = Recipe(ridges=(1e-3, 1e-5), own_ridges=(), starts=1, shortlist=1.0)
    chosen = by_frontier(LAWS["m2"], table, rows, recipe=recipe, loss=Loss.MSLE, seed=0).shortlist
    assert len(chosen) > 2 and len({m.form.exclusive for m in chosen}) == 1


# The laws


def rates(side):
    """ln y along the learning rate, other columns at the centre, with a strong harm on one side."""
    rng = np.random.default_rng(0)
    table = Table(
        inputs={"n": np.exp(rng.uniform(0, 5, 20))},
        hyperparameters={"lr": np.exp(rng.uniform(-8, -2, 20))},
        y=np.exp(rng.uniform(0, 1, 20)),
        ceiling=math.inf,
    )
    form = UnslForm(frame=Frame.from_table(table), shape=Shape(harms="both"))
    raw = np.zeros(form.size)
    raw[form.parameters.index("b")] = -5.0
    raw[form.parameters.index(f"{'large' if side == 'small' else 'small'}_lr")] = -50.0
    raw[form.parameters.index(f"{side}_lr_lr")] = 2.0
    z = {"n": np.zeros(9), "lr": np.linspace(-3, 3, 9)}
    return np.diff(form.predict_log(raw[None], z)[0])


def test_a_rate_that_is_too_large_harms_above_and_one_too_small_below():
    assert (rates("large") > 0).all()
    assert (rates("small") < 0).all()


def test_breaks_stand_inside_the_hull_of_the_table():
    rng = np.random.default_rng(0)
    table = Table(inputs={"n": np.exp(rng.uniform(0, 5, 20)), "d": np.exp(rng.uniform(0, 9, 20))}, y=np.ones(20) + 1e-3)
    form = UnslForm(frame=Frame.from_table(table), shape=Shape(breaks=(1, -1)))
    corner = np.array([[a, b] for a in (-1, 1) for b in (-1, 1)]) * [form.frame.half["n"], form.frame.half["d"]]
    for seed in range(20):
        p = dict(zip(form.parameters, 6 * np.random.default_rng(seed).standard_normal(form.size), strict=True))
        for i in (1, 2):
            one = form._break(p, i, 1)
            along = corner @ np.array(one.direction, float)
            assert along.min() - 1e-9 <= one.place <= along.max() + 1e-9
    x = np.exp(rng.uniform(0, 5, 20))
    single = LAWS["bnsl"].forms(Frame.from_table(Table(inputs={"x": x}, y=np.exp(-x))))[-1]
    for far in (-50.0, 50.0):
        c = single.coefficients(np.full(single.size, far))
        assert x.min() * (1 - 1e-9) <= c["d1"] <= x.max() * (1 + 1e-9)


def test_more_unique_tokens_than_tokens_count_as_tokens():
    constants = dict(log_E=0.5, log_A=6.0, log_B=7.0, alpha=0.35, beta=0.36, log_R_D=2.7, log_R_N=1.7)
    n, d = np.array([20.0, 22.0]), np.array([21.0, 23.0])
    np.testing.assert_array_equal(
        log_data_constrained(n, d, d + 2.0, **constants), log_data_constrained(n, d, d, **constants)
    )
    assert (log_data_constrained(n, d, d - 3.0, **constants) > log_data_constrained(n, d, d, **constants)).all()
