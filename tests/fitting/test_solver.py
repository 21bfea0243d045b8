"""The batched solver against problems with known answers."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from line_form import Line

from fitting import Frame, Table, tape
from fitting.solver import HUBER_WIDTH, Ending, Loss, solve

X = np.linspace(-2, 2, 30)
TABLE = Table(inputs={"x": np.exp(X)}, y=np.exp(np.sin(X)))
Z = {"x": X}


@dataclass(frozen=True, kw_only=True)
class Explosive(Line):
    """Not finite from some starts."""

    def log_y(self, p, z):
        return tape.exp(tape.exp(p["a"])) + p["b"] * z["x"]


LINE = Line(frame=Frame.from_table(TABLE))


def closed_form(target, weights, ridge):
    design = np.stack([np.ones_like(X), X])
    weights = weights / weights.sum()
    return np.linalg.solve(design * weights @ design.T + ridge * np.eye(2), design * weights @ target)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.5])
@pytest.mark.parametrize("emphasis", [0.0, 2.0])
def test_reaches_the_minimum_of_a_linear_problem(ridge, emphasis):
    target, weights = np.sin(X), np.exp(emphasis * X)
    starts = np.random.default_rng(0).standard_normal((4, 2))
    found = solve(LINE, Z, target, starts, ridge=ridge, weights=weights, gain=1e-12)
    np.testing.assert_allclose(found.raw, np.tile(closed_form(target, weights, ridge), (4, 1)), atol=1e-6)
    assert set(found.endings) == {Ending.CONVERGED}


def test_starts_do_not_disturb_one_another():
    starts = np.random.default_rng(1).standard_normal((5, 2)) * 3
    together = solve(LINE, Z, np.sin(X), starts, ridge=1e-3)
    for k in range(5):
        alone = solve(LINE, Z, np.sin(X), starts[k : k + 1], ridge=1e-3)
        np.testing.assert_allclose(together.raw[k], alone.raw[0], rtol=1e-9)


def test_a_ridge_a_start():
    found = solve(LINE, Z, np.sin(X), np.zeros((2, 2)), ridge=np.array([1e-9, 10.0]))
    assert np.linalg.norm(found.raw[1]) < 0.2 * np.linalg.norm(found.raw[0])


def test_huber_ignores_outliers():
    target = 0.3 + 0.5 * X
    target[[3, 20]] += 5.0
    start = np.zeros((1, 2))
    huber = solve(LINE, Z, target, start, ridge=0.0, loss=Loss.HUBER, budget=400, gain=1e-12)
    np.testing.assert_allclose(huber.raw[0], [0.3, 0.5], atol=2 * HUBER_WIDTH)
    assert np.abs(solve(LINE, Z, target, start, ridge=0.0).raw[0] - [0.3, 0.5]).max() > 0.1


def test_endings_are_honest():
    form = Explosive(frame=LINE.frame)
    found = solve(form, Z, np.sin(X), np.array([[0.0, 0.0], [50.0, 0.0]]), ridge=1e-3, gain=0.0, budget=200)
    assert found.endings[0] is Ending.CONVERGED and found.endings[1] is Ending.FAILED
    assert math.isinf(found.objective[1])
    hurried = solve(LINE, Z, np.sin(X), np.full((1, 2), 30.0), ridge=0.0, budget=2)
    assert hurried.endings == (Ending.BUDGET_SPENT,)


def test_small_gains_are_no_minimum():
    """A start that is stopped because its steps gain little says so, and is not called converged."""
    form = Explosive(frame=LINE.frame)
    lazy = solve(form, Z, np.sin(X), np.array([[0.6, 3.0]]), ridge=1e-3, gain=0.9, budget=200)
    assert lazy.endings == (Ending.STALLED,)
    patient = solve(form, Z, np.sin(X), lazy.raw, ridge=1e-3, gain=0.0, budget=200)
    assert patient.endings == (Ending.CONVERGED,) and patient.objective[0] < lazy.objective[0]
    step = 1e-4 * np.eye(2)
    around = np.concatenate([patient.raw + step, patient.raw - step])
    stay = solve(form, Z, np.sin(X), around, ridge=1e-3, budget=0)
    assert (stay.objective > patient.objective[0]).all()


def test_what_is_fixed_stays_and_costs_no_prior():
    start = np.array([[0.0, 0.7], [0.0, 0.0]])
    fixed = np.array([[0.0, 1.0], [0.0, 0.0]])
    found = solve(LINE, Z, np.sin(X), start, ridge=1e-3, fixed=fixed, gain=0.0)
    assert found.raw[0, 1] == 0.7 and found.endings[0] is Ending.CONVERGED
    intercept = np.mean(np.sin(X) - 0.7 * X) / (1 + 1e-3)
    assert found.raw[0, 0] == pytest.approx(intercept, abs=1e-6)
    assert found.objective[0] == pytest.approx(np.mean((intercept + 0.7 * X - np.sin(X)) ** 2) + 1e-3 * intercept**2)
    np.testing.assert_allclose(found.raw[1], closed_form(np.sin(X), np.ones(X.size), 1e-3), atol=1e-6)
