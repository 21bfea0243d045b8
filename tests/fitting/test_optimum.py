"""The best hyperparameters: where the equation is least, as a power law of scale, with intervals."""

import math

import numpy as np
import pytest

from fitting import FittingError, Recipe, Table, fit, published

RNG = np.random.default_rng(0)
QUICK = Recipe(ridges=(1e-3, 1e-5), own_ridges=(), starts=2, emphasis=(0.0,), budget=20)


class Harmed:
    """The forms of the law in which both too large and too small a rate harms, or a rising exponent opposes a falling
    one; two are enough.
    """

    name = "harmed"

    def forms(self, frame):
        from fitting.laws.unsl import Shape, UnslForm

        return [
            UnslForm(frame=frame, shape=shape)
            for shape in (Shape(harms="both"), Shape(harms="large"), Shape(opposing=1))
        ]


@pytest.fixture(scope="module")
def result():
    """lr* = 0.5 N^-0.3: losses that rise on both sides of it as two power laws of the rate."""
    n = np.repeat(np.geomspace(1e6, 1e9, 6), 9)
    best = 0.5 * n**-0.3
    lr = best * np.tile(np.geomspace(1 / 16, 16, 9), 6)
    y = 1.5 + 60 * n**-0.3 + 0.05 * ((lr / best) ** 0.7 + (best / lr) ** 0.7)
    y = y * np.exp(0.002 * RNG.standard_normal(n.size))
    table = Table(inputs={"N": n}, hyperparameters={"lr": lr}, y=y, ceiling=math.inf)
    return fit(Harmed(), table, recipe=QUICK)


def test_the_optimum_is_read_off_with_its_exponent(result):
    places = np.geomspace(1e6, 1e9, 7)
    best = result.optima({"N": places})["lr"]
    truth = 0.5 * places**-0.3
    assert best.inside.all()
    np.testing.assert_allclose(np.log(best.value / truth), 0, atol=0.35)
    assert ((best.low <= truth) & (truth <= best.high)).mean() > 0.7
    value, low, high = best.exponents["N"]
    assert low < value < high and value == pytest.approx(-0.3, abs=0.06)
    assert "lr* = " in str(best) and "N^-0.3" in str(best) or "N^-0.2" in str(best)


def test_exponents_are_those_of_the_inputs_that_vary():
    """lr* = 0.02 N^0 D^-0.2 (T as it is): each exponent is that of its own column, and the scale of them all."""
    n, d, lr = (
        column.ravel() for column in np.meshgrid([1e6, 1e8], np.geomspace(1e6, 1e9, 4), np.geomspace(1e-5, 1, 11))
    )
    best = 0.02 * d**-0.2
    y = 1.5 + 60 * n**-0.3 + 20 * d**-0.3 + 0.05 * ((lr / best) ** 0.7 + (best / lr) ** 0.7)
    inputs = {"T": np.full(n.size, 7.0), "N": n, "D": d}
    made = fit(Harmed(), Table(inputs=inputs, hyperparameters={"lr": lr}, y=y, ceiling=math.inf), recipe=QUICK)
    places = np.geomspace(1e6, 1e9, 5)
    along = {"T": np.full(5, 7.0), "N": np.full(5, 1e7), "D": places}
    found = made.optima(along)["lr"]
    assert list(found.exponents) == ["D"]
    assert found.exponents["D"][0] == pytest.approx(-0.2, abs=0.05)
    np.testing.assert_allclose(found.scale * places ** found.exponents["D"][0], found.value, rtol=0.1)


def test_the_equation_is_least_at_the_optimum(result):
    best = result.optima({"N": 1e8})["lr"].value[0]
    around = result.predict({"N": 1e8, "lr": best * np.array([0.8, 1.0, 1.25])})
    assert around[1] == around.min()


def test_an_optimum_at_the_edge_is_no_optimum():
    n = np.repeat(np.geomspace(1e6, 1e9, 6), 5)
    lr = np.tile(np.geomspace(1e-4, 1e-2, 5), 6)
    table = Table(inputs={"N": n}, hyperparameters={"lr": lr}, y=60 * n**-0.3 * lr**-0.2, ceiling=math.inf)
    assert not fit(Harmed(), table, recipe=QUICK).optima({"N": 1e8})["lr"].inside.any()


def test_what_cannot_be_chosen_is_said(result):
    x = np.geomspace(1, 1e4, 12)
    with pytest.raises(FittingError, match="no hyperparameter"):
        fit("m1", Table(inputs={"x": x}, y=1 / x)).optima({"x": 10.0})
    with pytest.raises(FittingError, match="'N' is missing"):
        result.optima({"D": 1e9})


def test_published_laws_are_at_hand():
    assert published("Step Law", "learning rate", N=1e9, D=2e10) == pytest.approx(1.79 * 1e9**-0.713 * 2e10**0.307)
    assert published("DeepSeek", "batch", C=1e20) == pytest.approx(0.292 * 1e20**0.3271)
    with pytest.raises(FittingError, match="reads N and D"):
        published("Step Law", "learning rate", N=1e9)
    with pytest.raises(FittingError, match="gives no law"):
        published("Nobody", "batch", C=1.0)
