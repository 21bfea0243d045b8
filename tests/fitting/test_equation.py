"""The equation that is shown is what predicts; it stands for the mean of the candidates; every law has both."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fitting import PLAIN, FitStatus, Recipe, Table, compare, find_law, fit
from fitting.solver import Ending

N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e7, 1e10, 6)))
QUICK = Recipe(ridges=(1e-3, 1e-5), own_ridges=(0.1,), starts=2, budget=15)


def table_of(seed=0, noise=0.02):
    y = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(noise * np.random.default_rng(seed).standard_normal(N.size))
    return Table(inputs={"parameters": N, "tokens": D}, y=y, ceiling=math.inf)


BEYOND = {"parameters": np.array([3e9, 1e10, 1e9]), "tokens": np.array([3e10, 1e10, 1e11])}


def by_coefficients(c, columns):
    """a_0 + b prod x^c prod breaks, written out from the coefficients that are shown."""
    names = ("parameters", "tokens")
    k = c["b"] * np.prod([columns[n] ** c[f"c_{n}"] for n in names], axis=0)
    for i in (1, 2):
        if f"d{i}" in c:
            along = np.prod([columns[n] ** c[f"w{i}_{n}"] for n in names], axis=0)
            k = k * (1 + (along / c[f"d{i}"]) ** (1 / c[f"f{i}"])) ** (-c[f"c{i}"] * c[f"f{i}"])
    return c["a0"] + k


def test_the_coefficients_that_are_shown_predict():
    result = fit("a1", table_of(), recipe=QUICK)
    assert len(result.predictors) == 1 < len(result.belief.members)
    shown = by_coefficients(result.coefficients, BEYOND)
    np.testing.assert_allclose(result.predict(BEYOND), shown, rtol=1e-9)
    np.testing.assert_allclose(result.forecast(BEYOND).median, shown, rtol=1e-9)


def test_the_equation_follows_the_mean_of_the_candidates_towards_the_target():
    """Closer than the candidate that ranks first does, at the rows and at the target."""
    table = table_of(noise=0.05)
    result = fit("a1", table, recipe=QUICK, toward=BEYOND)
    mean = fit("a1-mean", table, recipe=QUICK, toward=BEYOND)
    first = result.belief.members[0]
    for columns, most in ((table.columns, 0.01), (BEYOND, 0.05)):
        z = first.form.frame.coordinates(columns)
        middle = np.log(mean.predict(columns))
        off = np.sqrt(np.mean((np.log(result.predict(columns)) - middle) ** 2))
        assert off < most
        assert off < 0.7 * np.sqrt(np.mean((first.form.predict_log(first.raw[None], z)[0] - middle) ** 2))


def test_every_law_has_both_conditions():
    table = table_of()
    one, two = (row.fit for row in compare(["a1", "a1-mean"], table, recipe=QUICK))
    assert (one.law, two.law) == ("a1", "a1-mean")
    logs = [m.form.predict_log(m.raw[None], m.form.frame.coordinates(BEYOND))[0] for m in two.predictors]
    np.testing.assert_allclose(np.log(two.predict(BEYOND)), np.mean(logs, axis=0))
    assert not np.allclose(one.predict(BEYOND), two.predict(BEYOND), rtol=1e-6)
    assert find_law("cf-mean").name == "cf-mean"


def test_a_mean_that_one_form_can_follow_is_followed_exactly():
    """All candidates of the additive law on its own noise-free truth are one curve, and so is the equation."""
    y = 1.7 + 400 * N**-0.34 + 410 * D**-0.28
    table = Table(inputs={"parameters": N, "tokens": D}, y=y, ceiling=math.inf)
    result = fit("cf", table, recipe=Recipe(share=0.3, shortlist=0.6))
    assert len(result.belief.members) > 2
    truth = 1.7 + 400 * BEYOND["parameters"] ** -0.34 + 410 * BEYOND["tokens"] ** -0.28
    np.testing.assert_allclose(result.predict(BEYOND), truth, rtol=2e-3)


ONE = Recipe(ridges=(1e-3, 1e-5), own_ridges=(), starts=1, emphasis=(0.0,), shortlist=0.0, share=0.0, frontier=0.0)


@pytest.mark.parametrize("law, recipe", [("cf", PLAIN), ("bnsl", QUICK), ("a1", QUICK), ("a3", ONE)])
def test_what_is_shown_stands_at_a_minimum(law, recipe):
    """Converged is said of the equation only where no coefficient can lower the objective further."""
    result = fit(law, table_of(noise=0.03), recipe=recipe)
    assert result.belief.equation.ending is Ending.CONVERGED
    assert result.status in (FitStatus.CONVERGED, FitStatus.AT_BOUND)


def test_the_floor_does_not_hang_on_the_luckiest_measurement():
    """1 + 1/x under noise: with ten times the rows the fit is better, not worse."""
    errors = {}
    for rows in (60, 600):
        x = np.geomspace(1, 1e4, rows)
        off = []
        for seed in range(6):
            y = (1 + 1 / x) * np.exp(0.05 * np.random.default_rng(seed).standard_normal(rows))
            for recipe in (None, PLAIN):
                result = fit("m2", Table(inputs={"x": x}, y=y, ceiling=math.inf), recipe=recipe)
                off.append(math.log(result.predict({"x": 1e7})))
        errors[rows] = float(np.sqrt(np.mean(np.square(off))))
    assert errors[60] < 0.02 and errors[600] < 0.01


@pytest.mark.parametrize("law", ["a1", "bnsl", "m4", "cf"])
def test_every_law_may_put_its_floor_above_the_luckiest_measurement(law):
    x = np.geomspace(1, 1e5, 40)
    y = 1 + 0.5 * x**-0.9
    y[35] = 0.8
    result = fit(law, Table(inputs={"x": x}, y=y, ceiling=math.inf), recipe=ONE)
    assert result.predict({"x": 1e9}) > 0.95


def test_breaks_are_told_in_the_order_in_which_they_come():
    """Slower first, then faster, whatever the number that a break bears inside."""
    x = np.geomspace(1, 1e8, 60)
    y = x**-0.5 * (1 + (x / 1e2) ** 4) ** (0.4 / 4) * (1 + (x / 1e6) ** 4) ** (-0.5 / 4)
    for law in ("a1", "bnsl"):
        result = fit(law, Table(inputs={"x": x}, y=y, ceiling=math.inf), recipe=ONE)
        assert "slower then faster" in result.structure
        c = result.coefficients
        places = [c[f"d{i}"] ** c.get(f"w{i}_x", 1.0) for i in (1, 2)]
        assert places[0] == pytest.approx(1e2, rel=0.3) and places[1] == pytest.approx(1e6, rel=0.3)
    mirror = x**-0.2 * (1 + (x / 1e2) ** 4) ** (-0.4 / 4) * (1 + (x / 1e6) ** 4) ** (0.5 / 4)
    for law in ("a1", "bnsl"):
        result = fit(law, Table(inputs={"x": x}, y=mirror, ceiling=math.inf), recipe=replace(ONE, starts=5))
        assert "faster then slower" in result.structure


def test_a_known_ceiling_is_never_passed():
    x = np.geomspace(1, 1e6, 30)
    y = 0.2 + 0.69 / (1 + (x / 1e3) ** 0.8)
    result = fit("unsl", Table(inputs={"x": x}, y=y, ceiling=0.9), recipe=QUICK)
    curve = result.predict({"x": np.geomspace(1e-12, 1e6, 200)})
    assert curve.max() <= 0.9 * (1 + 1e-9) and curve.max() > 0.89


def test_a_metric_that_rises_leaves_a_falling_law_at_a_bound():
    x = np.geomspace(1, 1e4, 30)
    assert fit("m2", Table(inputs={"x": x}, y=x**0.3), recipe=PLAIN).status is FitStatus.AT_BOUND
    assert fit("m1", Table(inputs={"x": x}, y=x**0.3), recipe=PLAIN).status is FitStatus.AT_BOUND
    assert fit("m2", Table(inputs={"x": x}, y=1 + x**-0.3), recipe=PLAIN).status is FitStatus.CONVERGED
