"""The blend: weights by what each law missed, one forecast of several laws, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fitting import LAWS, Blend, Fit, FittingError, Recipe, Table, compare, fit

FAR = {"n": np.array([1e9, 1e10]), "d": np.array([1e10, 1e11])}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(6, 8, 40), 10 ** rng.uniform(7, 9, 40)
    return Table(inputs={"n": n, "d": d}, y=(1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(0.005 * rng.normal(size=40)))


@pytest.fixture(scope="module")
def small():
    return Blend(lead=LAWS["cf"], laws=(LAWS["cf"], LAWS["m2"], LAWS["kaplan_nd"]), name="small")


def test_half_goes_to_the_lead_and_the_rest_by_the_inverse_square_of_what_was_missed(small):
    shares = small.shares({"cf": 0.02, "m2": 0.01, "kaplan_nd": 0.04})
    rest = np.array([1 / 4, 1, 1 / 16])
    assert list(shares.values()) == pytest.approx([0.5, 0, 0] + rest / rest.sum() / 2)
    assert small.shares({"cf": math.nan, "m2": math.nan}) == {"cf": 0.75, "m2": 0.25}
    assert small.shares({"m2": 0.01, "kaplan_nd": 0.01}) == pytest.approx({"m2": 0.5, "kaplan_nd": 0.5})
    assert small.shares({"cf": math.nan, "m2": 0.1}) == {"m2": 0.5, "cf": 0.5}


def test_it_predicts_the_weighted_geometric_mean_of_its_laws(table, small):
    made = fit(small, table)
    weights = {name.removeprefix("w_"): share for name, share in made.coefficients.items()}
    assert sum(weights.values()) == pytest.approx(1)
    logs = {name: np.log(fit(name, table).predict(FAR)) for name in weights}
    expected = sum(share * logs[name] for name, share in weights.items())
    np.testing.assert_allclose(np.log(made.predict(FAR)), expected, rtol=1e-9)
    assert made.structure == f"mean of {len(weights)} laws"
    assert made.equation == " * ".join(f"{name}^w_{name}" for name in weights)
    assert made.shares == tuple(weights.values())


def test_a_law_of_less_than_a_thousandth_is_left_out(table, small, monkeypatch):
    for share, named in ((0.0015, ["cf", "m2", "kaplan_nd"]), (0.0009, ["cf", "m2"])):
        monkeypatch.setattr(Blend, "shares", lambda *_, s=share: {"cf": 0.6, "m2": 0.4 - s, "kaplan_nd": s})
        made = fit(small, table)
        assert [member.form.law for member in made.predictors] == named and sum(made.shares) == pytest.approx(1)


def test_its_interval_knows_that_its_laws_disagree(table, small):
    made = fit(small, table)
    alone = fit("cf", table)
    assert made.uncertainty(FAR).structures.min() > alone.uncertainty(FAR).structures.max()
    assert made.belief.residual == pytest.approx(np.sqrt(np.mean(made.residuals() ** 2)))


def test_in_a_comparison_it_takes_the_fits_that_are_there(table, small):
    rows = compare([small, "cf", "m2", "kaplan_nd"], table)
    assert [row.law for row in rows] == ["small", "cf", "m2", "kaplan_nd"]
    by_name = {row.law: row.fit for row in rows}
    for member in by_name["small"].predictors:
        assert member.raw is by_name[member.form.law].belief.shown.raw


def test_it_comes_back_from_json(table):
    quick = Recipe(ridges=(1e-3,), own_ridges=(), starts=1, budget=5)
    made = fit("blend", table.where(np.arange(len(table)) < 20), recipe=quick)
    again = Fit.from_json(made.to_json())
    assert again.coefficients == made.coefficients and again.shares == made.shares
    np.testing.assert_array_equal(again.forecast(FAR).high, made.forecast(FAR).high)


def test_it_has_no_coefficients_of_its_own(table, small):
    made = fit(small, table)
    assert made.coefficient_intervals() == {} and "w_cf" in str(made.summary())
    with pytest.raises(FittingError, match="mean of several equations; each of its laws is a single one"):
        made.to_python()
    with pytest.raises(FittingError, match="blend is a mean already; write 'blend' for 'blend-mean'"):
        fit("blend-mean", table)
    with pytest.raises(FittingError, match="no coefficient of its own that could be held"):
        fit(small, table, fixed={"w_cf": 1.0})
    with pytest.raises(FittingError, match="m2"):
        fit(Blend(lead=LAWS["m2"], laws=(LAWS["m2"],)), table.where(np.arange(len(table)) < 2))
