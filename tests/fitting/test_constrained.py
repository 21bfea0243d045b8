"""Coefficients that are held: at a value, or equal."""

import math

import numpy as np
import pytest

from fitting import PLAIN, Fit, FittingError, Table, fit

N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e7, 1e10, 6)))
TABLE = Table(
    inputs={"N": N, "D": D},
    y=(1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(0.02 * np.random.default_rng(0).standard_normal(N.size)),
    ceiling=math.inf,
)
BEYOND = {"N": 1e11, "D": 1e12}


def test_what_is_fixed_stays_and_the_rest_is_fitted_to_it():
    free, held = fit("cf", TABLE, recipe=PLAIN), fit("cf", TABLE, recipe=PLAIN, fixed={"E": 1.5, "alpha_N": 0.34})
    assert held.coefficients["E"] == pytest.approx(1.5, rel=1e-9)
    assert held.coefficients["alpha_N"] == pytest.approx(0.34, rel=1e-9)
    assert free.coefficients["E"] != pytest.approx(1.5, rel=1e-2)
    assert held.coefficients["alpha_D"] != pytest.approx(free.coefficients["alpha_D"], rel=1e-3)
    assert held.rmsle.value >= free.rmsle.value
    assert held.belief.shown.form.size == free.belief.shown.form.size - 2 == 3, "no freedom is paid for what is held"
    low, high = held.coefficient_intervals()["E"]
    assert low == pytest.approx(1.5) and high == pytest.approx(1.5)


def test_what_is_tied_is_equal():
    tied = fit("cf", TABLE, recipe=PLAIN, tied=[("alpha_N", "alpha_D")])
    assert tied.coefficients["alpha_N"] == tied.coefficients["alpha_D"]
    assert 0.25 < tied.coefficients["alpha_N"] < 0.4


def test_held_coefficients_survive_the_round_trip():
    one = fit("cf", TABLE, recipe=PLAIN, fixed={"E": 1.5}, tied=[("alpha_N", "alpha_D")])
    two = Fit.from_json(one.to_json())
    assert (two.fixed, two.tied) == ({"E": 1.5}, (("alpha_N", "alpha_D"),))
    assert two.forecast(BEYOND) == one.forecast(BEYOND)


@pytest.mark.parametrize(
    "more, words",
    [
        ({"fixed": {"F": 1.0}}, "no coefficient 'F'; the coefficients are: E, A_N"),
        ({"fixed": {"A_N": 400.0}}, "A_N hangs on A_N and alpha_N"),
        ({"fixed": {"alpha_N": -0.3}}, "out of reach"),
        ({"fixed": {"E": 1e9}}, "out of reach"),
        ({"tied": [("E", "alpha_N")]}, "different priors"),
    ],
)
def test_what_cannot_be_held_is_said(more, words):
    with pytest.raises(FittingError, match=words):
        fit("cf", TABLE, **more)
