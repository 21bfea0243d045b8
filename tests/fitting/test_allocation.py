"""Allocation: closed forms, Lagrange's conditions, and what is said where nothing can be had."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fitting import PLAIN, FittingError, Table, allocate, fit

BUDGETS = np.geomspace(1e20, 1e23, 4)


@pytest.fixture(scope="module")
def chinchilla():
    """A fit of the additive law to its own points."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(n.size))
    y = (1.82 + 482.0 / n**0.348 + 2085.0 / d**0.366) * noise
    return fit("cf", Table(inputs={"N": n, "D": d}, y=y), recipe=PLAIN)


@pytest.fixture(scope="module")
def tuned():
    """A law with a learning rate: a valley whose floor falls as N^-0.4 D^0.2, by three structures at once."""
    n, d, lr = (axis.ravel() for axis in np.meshgrid([1e6, 4e6, 1.6e7], [1e8, 4e8, 1.6e9], np.geomspace(1e-4, 3e-2, 9)))
    best = 40.0 * n**-0.4 * (d / 1e9) ** 0.2 * 1e-1
    noise = np.exp(0.002 * np.random.default_rng(1).standard_normal(n.size))
    y = (1.5 + 300 / n**0.4 + 300 / d**0.35 + 0.05 * (lr / best + best / lr)) * noise
    return fit("unsl", Table(inputs={"N": n, "D": d}, hyperparameters={"lr": lr}, y=y))


def closed_form(found, budget):
    """The published optimum of E + A/N^a + B/D^b under 6 N D = C, from the fitted coefficients."""
    c = found.coefficients
    a, b = c["alpha_N"], c["alpha_D"]
    g = (a * c["A_N"] / (b * c["A_D"])) ** (1 / (a + b))
    return g * (budget / 6) ** (b / (a + b)), (budget / 6) ** (a / (a + b)) / g, b / (a + b)


def test_the_closed_form_of_the_additive_law(chinchilla):
    found = allocate(chinchilla, "6 * N * D", BUDGETS)
    for one in found.optima:
        n, d, exponent = closed_form(chinchilla, one.budget)
        assert one.at["N"] == pytest.approx(n, rel=1e-6)
        assert one.at["D"] == pytest.approx(d, rel=1e-6)
    assert found.exponents["N"][0] == pytest.approx(exponent, rel=1e-6)
    assert found.exponents["D"][0] == pytest.approx(1 - exponent, rel=1e-6)


@pytest.mark.parametrize("cost, extra", [("6 * N * D", {}), ("6 * N * D + 2 * N * T", {"T": 3e11}), ("N**1.2 * D", {})])
def test_lagranges_conditions(chinchilla, cost, extra):
    """dy/dx_i = mu dC/dx_i with one mu, and the budget is spent."""
    spent = {
        "6 * N * D": lambda n, d: 6 * n * d,
        "6 * N * D + 2 * N * T": lambda n, d: 6 * n * d + 2 * n * 3e11,
        "N**1.2 * D": lambda n, d: n**1.2 * d,
    }[cost]
    for one in allocate(chinchilla, cost, [1e21, 1e22], fixed=extra).optima:
        n, d = one.at["N"], one.at["D"]
        assert spent(n, d) == pytest.approx(one.budget, rel=1e-9)

        def rise(of, h=1e-3, n=n, d=d):
            """Derivatives by ln N and ln D."""
            by_n = (of(n * math.exp(h), d) - of(n * math.exp(-h), d)) / (2 * h)
            return by_n, (of(n, d * math.exp(h)) - of(n, d * math.exp(-h))) / (2 * h)

        law = rise(lambda n, d: float(chinchilla.predict({"N": n, "D": d})))
        price = rise(spent)
        assert law[0] / price[0] == pytest.approx(law[1] / price[1], rel=1e-5)


def test_the_worth_of_the_budget_is_the_slope_of_the_optimum(chinchilla):
    low, one, high = allocate(chinchilla, "6 * N * D", [0.99e22, 1e22, 1.01e22]).optima
    assert one.worth == pytest.approx(math.log(high.y / low.y) / math.log(high.budget / low.budget), rel=1e-3)
    assert one.worth < 0


def test_serving_a_model_makes_it_smaller(chinchilla):
    (trained,) = allocate(chinchilla, "6 * N * D", [1e22]).optima
    (served,) = allocate(chinchilla, "6 * N * D + 2 * N * T", [1e22], fixed={"T": 1e12}).optima
    assert served.at["N"] < trained.at["N"] and served.y > trained.y
    assert served.at["T"] == 1e12


def test_no_other_place_of_the_budget_is_better(tuned):
    """Against a dense grid of model sizes and learning rates."""
    for one in allocate(tuned, "6 * N * D", [1e16, 1e17]).optima:
        n, lr = np.meshgrid(one.at["N"] * np.geomspace(0.2, 5, 81), one.at["lr"] * np.geomspace(0.2, 5, 81))
        grid = tuned.predict({"N": n, "D": one.budget / 6 / n, "lr": lr})
        assert one.y <= grid.min() * (1 + 1e-12)
        assert grid.min() == pytest.approx(one.y, rel=1e-4)
        assert one.edges == ()


def test_the_best_learning_rate_is_read_off(tuned):
    (one,) = allocate(tuned, "6 * N * D", [6 * 4e6 * 4e8], fixed={"N": 4e6}).optima
    best = 40.0 * 4e6**-0.4 * 0.4**0.2 * 1e-1
    assert one.at["D"] == pytest.approx(4e8, rel=1e-9)
    assert one.at["lr"] == pytest.approx(best, rel=0.3)
    assert one.intervals["lr"][0] < one.at["lr"] < one.intervals["lr"][1]


def test_being_off_by_two_costs_what_the_law_says(chinchilla, tuned):
    (one,) = allocate(chinchilla, "6 * N * D", [1e22]).optima
    n, d = one.at["N"], one.at["D"]
    for side, factor in enumerate((0.5, 2.0)):
        y = float(chinchilla.predict({"N": n * factor, "D": d / factor}))
        assert one.off_by_two["N"][side] == pytest.approx(y / one.y - 1, rel=1e-6)
    (one,) = allocate(tuned, "6 * N * D", [1e16], fixed={"N": 4e6}).optima
    y = float(tuned.predict({"N": 4e6, "D": one.at["D"], "lr": 2 * one.at["lr"]}))
    assert one.off_by_two["lr"][1] == pytest.approx(y / one.y - 1, rel=1e-6)
    assert "D" not in one.off_by_two, "with N fixed nothing is left that could make up for another D"


def test_intervals_hold_the_optimum_and_widen_with_distance(chinchilla):
    found = allocate(chinchilla, "6 * N * D", [1e20, 1e26])
    near, far = (one.intervals["N"][1] / one.intervals["N"][0] for one in found.optima)
    assert far > near > 1
    assert all(one.intervals["N"][0] < one.at["N"] < one.intervals["N"][1] for one in found.optima)
    assert all(one.low < one.y < one.high for one in found.optima)
    low, high = found.exponents["N"][1:]
    assert low < found.exponents["N"][0] < high
    wide = allocate(chinchilla, "6 * N * D", [1e20], level=0.99).optima[0].intervals["N"]
    assert wide[0] < found.optima[0].intervals["N"][0] and wide[1] > found.optima[0].intervals["N"][1]


def test_equal_seeds_give_equal_intervals(chinchilla):
    first, second = (allocate(chinchilla, "6 * N * D", [1e22], seed=3).optima for _ in range(2))
    assert first == second


def test_the_optimum_keeps_within_what_is_allowed(chinchilla):
    (free,) = allocate(chinchilla, "6 * N * D", [1e22]).optima
    bound = free.at["N"] / 3
    (held,) = allocate(chinchilla, "6 * N * D", [1e22], within=f"N <= {bound}").optima
    assert held.at["N"] == pytest.approx(bound, rel=1e-5) and held.at["N"] <= bound
    assert 6 * held.at["N"] * held.at["D"] == pytest.approx(1e22, rel=1e-9)
    assert held.y > free.y


def test_an_isoflop_curve_has_its_least_at_the_optimum(chinchilla):
    found = allocate(chinchilla, "6 * N * D", [1e22])
    n = found.optima[0].at["N"] * np.geomspace(0.1, 10, 41)
    curve = found.curve(1e22, "N", n)
    assert curve.argmin() == 20 and curve[20] == pytest.approx(found.optima[0].y, rel=1e-9)
    assert curve == pytest.approx(chinchilla.predict({"N": n, "D": 1e22 / 6 / n}), rel=1e-9)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"cost": "6 * N * M"}, "the cost names M: fix it at a number"),
        ({"cost": "6 * N"}, "nothing limits D"),
        ({"cost": "2 * T", "fixed": {"T": 1.0}}, "names no free input"),
        ({"cost": "6 * N * D", "fixed": {"N": 1e8, "D": 1e9}}, "names no free input"),
        ({"cost": "6 * N * D", "fixed": {"N": -1.0}}, "give a positive finite number"),
        ({"cost": "6 * N * D", "fixed": {"lr": 1.0}}, "neither the law nor the cost knows it"),
        ({"cost": "6 * N * D", "budgets": []}, "give one or more budgets"),
        ({"cost": "6 * N * D", "budgets": [-1.0]}, "give one or more budgets"),
        ({"cost": "6 * N * D", "budgets": [math.nan]}, "give one or more budgets"),
        ({"cost": "6 * N * D + 2 * N * T", "fixed": {"N": 1e9, "T": 1e15}}, "allows nothing"),
        (
            {"cost": "6 * N * D + 2 * N * T", "fixed": {"N": 1e9, "T": 1e15}, "budgets": [1e25, 1e22]},
            "a budget of 1e[+]22 allows nothing",
        ),
        ({"cost": "6 * N * D", "within": "N < 1"}, "allows nothing"),
        ({"cost": "N > D"}, "is not a number"),
        ({"cost": "6 * N * __import__('os')"}, "is not allowed in an expression"),
        ({"cost": "6 * N * D", "level": 90}, "a probability between 0 and 1"),
    ],
)
def test_what_cannot_be_had_is_said_in_words(chinchilla, arguments, message):
    with pytest.raises(FittingError, match=message):
        allocate(chinchilla, **{"budgets": [1e22], **arguments})


def test_an_input_that_costs_nothing_ends_at_the_edge_of_the_search():
    """The law says that more is always better: that is no optimum, and it is said so."""
    n, d, x = (axis.ravel() for axis in np.meshgrid([1e6, 1e7, 1e8], [1e8, 1e9, 1e10], [1.0, 2.0, 4.0]))
    y = 1.5 + 300 / n**0.4 + 300 / d**0.35 + 0.3 / x
    found = fit("cf", Table(inputs={"N": n, "D": d, "x": x}, y=y), recipe=PLAIN)
    (one,) = allocate(found, "6 * N * D", [1e18], within="N > 0", draws=4).optima
    assert one.edges == ("x",) and one.beyond["x"] == pytest.approx(1e6)
    (one,) = allocate(found, "6 * N * D", [1e18], within="x <= 3", draws=4).optima
    assert one.edges == () and one.at["x"] == pytest.approx(3.0, rel=1e-5)
