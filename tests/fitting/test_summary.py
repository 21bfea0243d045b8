"""What a fit says: its equation is true in words, in Python and in LaTeX, and it warns of what is wrong."""

import inspect
import math

import numpy as np
import pytest

from fitting import LAWS, PLAIN, Fit, FittingError, Form, Frame, Table, compare, fit
from fitting.code import python_function
from fitting.summary import diagnostics

N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e7, 1e10, 5)))
RNG = np.random.default_rng(0)
COLUMNS = {"parameters": N, "tokens": D, "unique_tokens": D / np.exp(RNG.uniform(0, 3, N.size))}
RATES = {"learning rate": np.exp(RNG.uniform(-8, -3, N.size))}
Y = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(0.01 * RNG.standard_normal(N.size))
FRAME = Frame.from_table(Table(inputs=COLUMNS, hyperparameters=RATES, y=Y, ceiling=None))


def evenly(forms, most):
    return [forms[i] for i in sorted({round(i) for i in np.linspace(0, len(forms) - 1, most)})]


@pytest.mark.parametrize("law", sorted(LAWS))
def test_the_python_function_gives_the_same_numbers(law):
    columns = {**COLUMNS, **RATES}
    for form in evenly(LAWS[law].forms(FRAME), 6):
        raw = 0.7 * np.random.default_rng(1).standard_normal(form.size)
        space: dict = {}
        exec(python_function(form, raw, name="loss", comments=["y"]), space)
        assert set(space) <= {"__builtins__", "math", "loss", "softplus", "sigmoid", "log_sum", "solve_m4"}
        expected = np.exp(form.predict_log(raw[None], FRAME.coordinates(columns))[0])
        found = [space["loss"](*row) for row in zip(*columns.values(), strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_columns_are_arguments_under_their_own_names_where_python_allows_them():
    names = ("tokens", "learning rate", "2x", "class", "math", "softplus", "a-b", "a b", "t1")
    columns = {name: np.geomspace(1, 10, 4) ** (i + 1) for i, name in enumerate(names)}
    form = LAWS["cf"].forms(Frame.from_table(Table(inputs=columns, y=np.ones(4))))[0]
    space: dict = {}
    exec(python_function(form, np.zeros(form.size), name="loss", comments=[]), space)
    expected = ["tokens", "learning_rate", "x_2x", "x_class", "x_math", "x_softplus", "a_b", "a_b_", "t1_"]
    assert list(inspect.signature(space["loss"]).parameters) == expected
    assert space["loss"](*[2.0] * len(names)) > 0


@pytest.mark.parametrize("law", sorted(set(LAWS) - {"dc", "m4"}))
def test_the_equation_in_words_is_the_law(law):
    """With the coefficients that are shown, read as Python: m4 gives y only implicitly, dc by its own definitions."""
    words = {**COLUMNS, "rate": RATES["learning rate"]}
    frame = Frame.from_table(Table(inputs=COLUMNS, hyperparameters={"rate": words["rate"]}, y=Y))
    for form in evenly(LAWS[law].forms(frame), 12):
        raw = 0.5 * np.random.default_rng(2).standard_normal(form.size)
        space = {**words, **form.coefficients(raw)}
        found = eval(form.equation.replace("^", "**"), {"__builtins__": {}}, space)
        expected = np.exp(form.predict_log(raw[None], frame.coordinates(words))[0])
        np.testing.assert_allclose(found, expected, rtol=1e-8, err_msg=form.equation)


def cf(noise=0.01, seed=0):
    y = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(noise * np.random.default_rng(seed).standard_normal(N.size))
    table = Table(inputs={"parameters": N, "tokens": D}, y=y, ceiling=math.inf)
    return fit("cf", table, recipe=PLAIN)


def test_a_summary_reads_as_a_table_of_coefficients():
    result = cf()
    summary = result.summary()
    assert summary.equation == "E + A_parameters * parameters^-alpha_parameters + A_tokens * tokens^-alpha_tokens"
    assert r"\alpha_{tokens}" in summary.latex and r"\mathrm{tokens}^{-" in summary.latex
    by_name = {c.name: c for c in summary.coefficients}
    assert by_name["E"].low < result.coefficients["E"] < by_name["E"].high
    # Half of a 68% interval against a 90% one of a nearly normal estimate: 1 to 1.645.
    one = by_name["alpha_tokens"]
    assert (one.high - one.low) / 2 / one.error == pytest.approx(1.645, rel=0.15)
    text = str(summary)
    assert "cf: parameters + tokens (converged)" in text and "alpha_tokens" in text and not summary.warnings


def test_standard_errors_are_those_of_repeated_experiments():
    fits = [cf(noise=0.02, seed=seed) for seed in range(20)]
    spread = np.std([f.coefficients["alpha_tokens"] for f in fits])
    errors = [next(c.error for c in f.summary().coefficients if c.name == "alpha_tokens") for f in fits[:6]]
    assert np.mean(errors) == pytest.approx(spread, rel=0.5)


def test_a_bend_that_is_missed_an_outlier_and_a_bound_are_told():
    x = np.geomspace(1, 1e6, 60)
    bent = x**-0.5 * (1 + x / 1e3) ** 0.4
    missed = fit("m1", Table(inputs={"x": x}, y=bent), recipe=PLAIN).summary()
    assert any("misses a bend" in w for w in missed.warnings)
    y = (1 + x**-0.3) * np.exp(0.01 * np.random.default_rng(0).standard_normal(60))
    assert not fit("m2", Table(inputs={"x": x}, y=y), recipe=PLAIN).summary().warnings
    y[30] *= 1.3
    assert any("1 row stands" in w for w in fit("m2", Table(inputs={"x": x}, y=y), recipe=PLAIN).summary().warnings)
    rising = fit("m2", Table(inputs={"x": x}, y=x**0.2), recipe=PLAIN).summary()
    assert any("at bound (" in w and "c" in w for w in rising.warnings)


def test_what_is_left_over_is_described_by_its_moments():
    """Two values at equal parts have a kurtosis of 1, two less than normal residuals have; and no skewness."""
    found = diagnostics(np.tile([0.1, -0.1], 50), np.arange(100.0))
    expected = {"rms": 0.1, "skewness": 0.0, "kurtosis": -2.0, "neighbours": -1.0}
    assert found == pytest.approx(expected, abs=1e-9)


def test_residuals_are_of_the_table_or_of_the_one_that_is_given():
    result = cf()
    np.testing.assert_allclose(result.residuals(), np.log(result.table.y / result.predict(result.table.columns)))
    read = Fit.from_json(result.to_json())
    with pytest.raises(FittingError, match="has no table"):
        read.residuals()
    np.testing.assert_array_equal(read.residuals(result.table), result.residuals())


def test_a_figure_shows_every_row_twice():
    figure = cf().plot()
    assert [len(axes.lines[-1].get_xdata()) for axes in figure.axes] == [N.size, N.size]
    assert (figure.axes[0].get_xscale(), figure.axes[0].get_yscale()) == ("log", "log")
    with pytest.raises(FittingError, match="no table to draw"):
        Fit.from_json(cf().to_json()).plot()


def test_a_mean_has_no_equation_of_its_own():
    with pytest.raises(FittingError, match="cf is a single one"):
        cf().averaged().to_python()


class Rounded(Form):
    structure, parameters = "rounded", ("a",)

    def log_y(self, p, z):
        return p["a"] * np.round(z["parameters"])

    def natural(self, p):
        return dict(p)


def test_a_law_that_leaves_the_tape_cannot_be_written():
    with pytest.raises(FittingError, match="cannot be written as text"):
        python_function(Rounded(frame=FRAME), np.ones(1), name="f", comments=[])


def test_a_comparison_is_summed_up_best_first_with_the_reasons_of_those_that_cannot():
    table = cf().table
    big = table.columns["parameters"] > 1e8
    rows = compare(["m1", "dc", "cf"], table.where(~big), table.where(big), recipe=PLAIN)
    first, *lines = rows.summary().splitlines()
    assert first.split()[:3] == ["law", "held", "out"]
    assert [line.split()[0] for line in lines] == ["cf", "m1", "dc"]
    assert "no fit" in lines[2] and "dc reads" in lines[2] and "parameters + tokens" in lines[0]
    assert [row.law for row in rows] == ["m1", "dc", "cf"]
