"""M1, M3 and M4: recovery of published-like constants, and the implicit equation of M4."""

import math

import numpy as np
import pytest

from fitting import LAWS, PLAIN, Frame, Table, fit
from fitting.laws.learning_curves import solve_m4
from fitting.tape import Tape

X = np.geomspace(1e3, 1e8, 25)


def recovered(law, y, x=X, ceiling=math.inf):
    result = fit(law, Table(inputs={"examples": x}, y=y, ceiling=ceiling), recipe=PLAIN)
    assert result.rmsle.value < 1e-6
    return result


def test_m1():
    result = recovered("m1", 3.0 * X**-0.21)
    assert result.coefficients == pytest.approx({"b": 3.0, "c": 0.21}, rel=1e-5)


def test_what_is_expected_before_any_row_is_the_middle_of_the_table_and_an_exponent_as_published():
    (form,) = LAWS["m1"].forms(Frame.from_table(Table(inputs={"examples": X}, y=7.0 * X**-0.1)))
    nothing = np.zeros((1, form.size))
    middle = np.log(7.0 * X**-0.1).mean()
    assert form.predict_log(nothing, {"examples": np.zeros(1)})[0] == pytest.approx(middle)
    assert form.coefficients(nothing[0])["c"] == pytest.approx(0.3)


def test_m3_levels_off():
    truth = {"b": 30.0, "c": 0.4, "g": 2e-6}
    result = recovered("m3", truth["b"] * (1 / X + truth["g"]) ** truth["c"])
    assert result.coefficients == pytest.approx(truth, rel=1e-3)
    assert result.predict({"examples": 1e15}) == pytest.approx(truth["b"] * truth["g"] ** truth["c"], rel=1e-3)


@pytest.mark.parametrize("a", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("known", [True, False])
def test_m4_satisfies_its_equation(a, known):
    e, e0, b, c = 0.1, 0.99, 400.0, 0.55
    x = np.geomspace(5e4, 1e8, 25)
    low, high = np.full_like(x, e), np.full_like(x, e0)
    for _ in range(200):  # bisection: (y - e) / (e0 - y)^a rises with y
        middle = (low + high) / 2
        above = (middle - e) / (e0 - middle) ** a > b * x**-c
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    result = recovered("m4", low, x, ceiling=e0 if known else None)
    if known:
        assert result.coefficients == pytest.approx({"e": e, "e0": e0, "a": a, "b": b, "c": c}, rel=2e-2)


def test_m4_is_a_power_law_far_from_random_guessing():
    """With a ceiling out of reach, M4 and M2 are one curve."""
    y = 0.05 + 2.0 * X**-0.3
    result = recovered("m4", y, ceiling=1e6)
    assert result.coefficients["e"] == pytest.approx(0.05, rel=0.02)


@pytest.mark.parametrize("right", [-800.0, -30.0, 0.0, 30.0, 800.0])
@pytest.mark.parametrize("a", [1e-3, 0.5, 1.0, 7.0, 1e3])
def test_newton_converges_from_anywhere(right, a):
    v = float(solve_m4(np.array(right), np.array(a)))
    assert a * np.logaddexp(0, v) - np.logaddexp(0, -v) == pytest.approx(right, rel=1e-9, abs=1e-9)


def test_newton_knows_its_derivatives():
    raw = np.array([[0.7, 1.6], [-3.0, 0.2]])
    tape = Tape(raw)
    node = solve_m4(tape.parameter(0), tape.parameter(1))
    jacobian = tape.jacobian(node, 1)
    for k in range(2):
        step = np.eye(2)[k] * 1e-6
        up, down = ((raw + s)[:, :, None] for s in (step, -step))
        slope = (solve_m4(up[:, 0], up[:, 1]) - solve_m4(down[:, 0], down[:, 1])) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], slope, rtol=1e-6)
