"""What every law promises, whatever its formula. A new law in the registry is tested here without a new line."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from fitting import LAWS, PLAIN, Fit, FitStatus, FittingError, Frame, Recipe, Table, compare, fit, rmsle

INPUTS = ("parameters", "tokens", "unique_tokens")
# Laws that need more than the first two inputs.
NEEDS_UNIQUE = {"dc"}
# One ridge path, no averaging: recovery is a question to the formula and the solver, not to selection.
QUICK = Recipe(ridges=(1e-3, 1e-6), own_ridges=(0.1,), starts=2, emphasis=(0.0,), budget=20)


@dataclass(frozen=True)
class Few:
    """A law with some of its forms, evenly chosen, for questions to the procedure: a law of sixty takes minutes."""

    law: object
    most: int = 4

    @property
    def name(self):
        return self.law.name

    def forms(self, frame):
        forms = self.law.forms(frame)
        return [forms[i] for i in sorted({round(i) for i in np.linspace(0, len(forms) - 1, self.most)})]


def grid(law, hyperparameters=()):
    """A 6 x 6 grid over three decades of each input, and a hyperparameter over one."""
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e7, 1e10, 6)))
    rng = np.random.default_rng(3)
    columns = {"parameters": n, "tokens": d, **{h: np.exp(rng.uniform(-6, -3, n.size)) for h in hyperparameters}}
    return reads(law, columns, epochs=np.exp(rng.uniform(0, 3, n.size)))


def reads(law, columns, epochs=4.0):
    """The columns, with unique tokens for the laws that read them."""
    return columns | ({"unique_tokens": columns["tokens"] / epochs} if law.name in NEEDS_UNIQUE else {})


def table_of(columns, y, ceiling=math.inf, **more):
    inputs = {name: columns[name] for name in INPUTS if name in columns}
    rest = {name: values for name, values in columns.items() if name not in INPUTS}
    return Table(inputs=inputs, hyperparameters=rest, y=y, ceiling=ceiling, **more)


def noisy(columns, seed=0):
    """An ordinary table: a plain sum of power laws with one per cent of noise."""
    y = 1.7 + 400 * columns["parameters"] ** -0.34 + 410 * columns["tokens"] ** -0.28
    return y * np.exp(0.01 * np.random.default_rng(seed).standard_normal(y.size))


def frame_of(columns):
    return Frame.from_table(table_of(columns, noisy(columns)))


@pytest.fixture(params=sorted(LAWS))
def law(request):
    return LAWS[request.param]


def test_name_is_the_key(law):
    assert LAWS[law.name] is law


def test_structures_and_parameters_are_distinct(law):
    forms = law.forms(frame_of(grid(law)))
    assert len({form.structure for form in forms}) == len(forms)
    for form in forms:
        assert len(set(form.parameters)) == form.size
        assert set(form.bounds) <= set(form.parameters)


def test_jacobian_equals_finite_differences(law):
    columns = grid(law, hyperparameters=("learning_rate",))
    frame = frame_of(columns)
    z = frame.coordinates(columns)
    for form in law.forms(frame):
        raw = np.random.default_rng(1).standard_normal((2, form.size))
        value, jacobian = form.evaluate(raw, z)
        assert np.array_equal(value, form.predict_log(raw, z))
        for k in range(form.size):
            step = np.zeros(form.size)
            step[k] = 1e-6
            slope = (form.predict_log(raw + step, z) - form.predict_log(raw - step, z)) / 2e-6
            np.testing.assert_allclose(
                jacobian[:, k], slope, atol=2e-8, err_msg=f"{form.structure}: {form.parameters[k]}"
            )


def test_predictions_are_positive_and_finite_far_outside(law):
    frame = frame_of(grid(law))
    far = frame.coordinates(reads(law, {"parameters": np.array([1.0, 1e15]), "tokens": np.array([1e18, 1e3])}))
    for form in law.forms(frame):
        raw = np.random.default_rng(2).standard_normal((4, form.size))
        assert np.isfinite(np.exp(form.predict_log(raw, far))).all()


def test_coefficients_are_named_finite_numbers(law):
    frame = frame_of(grid(law, hyperparameters=("learning_rate",)))
    for form in law.forms(frame):
        values = form.coefficients(np.random.default_rng(4).standard_normal(form.size) * 0.3)
        assert values and all(isinstance(v, float) and math.isfinite(v) for v in values.values()), form.structure


def test_noise_free_truth_is_recovered(law):
    """Data drawn from the law itself, inside its prior: the fit follows it, and the rows beyond it."""
    columns = grid(law)
    inside = (columns["parameters"] < 5e8) & (columns["tokens"] < 5e9)
    form = law.forms(frame_of(columns))[0]
    raw = 0.5 * np.random.default_rng(5).standard_normal((1, form.size))
    y = np.exp(form.predict_log(raw, form.frame.coordinates(columns))[0])
    truth = table_of(columns, y)
    result = fit(Few(law, 1), truth.where(inside), recipe=PLAIN)
    assert result.rmsle.value < 1e-4
    assert rmsle(result.predict(columns), y).value < 5e-3


def test_order_of_rows_changes_nothing(law):
    columns = grid(law)
    table = table_of(columns, noisy(columns))
    shuffled = table.where(np.random.default_rng(6).permutation(len(table)))
    one, two = (fit(Few(law), t, recipe=QUICK) for t in (table, shuffled))
    assert one.coefficients == two.coefficients
    np.testing.assert_array_equal(one.predict(columns), two.predict(columns))


def test_units_change_nothing(law):
    columns = grid(law)
    y = noisy(columns)
    scaled = {name: values * (1e-6 if name == "parameters" else 7.0) for name, values in columns.items()}
    one, two = (fit(Few(law), table_of(c, y), recipe=QUICK) for c in (columns, scaled))
    np.testing.assert_allclose(one.predict(columns), two.predict(scaled), rtol=1e-5)


def test_units_of_the_metric_scale_the_prediction(law):
    columns = grid(law)
    y = noisy(columns)
    one, two = (fit(Few(law), table_of(columns, scale * y), recipe=QUICK) for scale in (1.0, 100.0))
    np.testing.assert_allclose(100 * one.predict(columns), two.predict(columns), rtol=1e-5)


def test_equal_seeds_give_equal_fits(law):
    columns = grid(law)
    table = table_of(columns, noisy(columns))
    one, two = (fit(Few(law), table, seed=7, recipe=QUICK) for _ in range(2))
    assert one.coefficients == two.coefficients and one.structure == two.structure


def test_status_is_honest(law):
    columns = grid(law)
    table = table_of(columns, noisy(columns))
    assert fit(Few(law, 1), table, recipe=PLAIN).status in (FitStatus.CONVERGED, FitStatus.AT_BOUND)
    hurried = Recipe(ridges=(1e-7,), own_ridges=(), starts=1, emphasis=(0.0,), budget=1, settling=0)
    assert fit(Few(law, 1), table, recipe=hurried).status in (FitStatus.BUDGET_SPENT, FitStatus.AT_BOUND)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
def test_predict_keeps_shape(law, shape, fitted):
    columns = reads(law, {"parameters": np.full(shape, 3e8), "tokens": 1e9})
    result = fitted(law)
    assert result.predict(columns).shape == shape and (result.predict(columns) > 0).all()
    forecast = result.forecast(columns)
    assert forecast.median.shape == shape
    assert (forecast.low < forecast.median).all() and (forecast.median < forecast.high).all()


@pytest.mark.parametrize(
    "columns, words",
    [
        ({"parameters": [1e6]}, "'tokens' is missing"),
        ({"parameters": [1e6], "tokens": [-1.0]}, "'tokens'"),
        ({"parameters": [1e6], "tokens": ["many"]}, "'tokens'"),
        ({"parameters": [1e6, 2e6], "tokens": [1e9, 1e9, 1e9]}, "different lengths"),
    ],
)
def test_wrong_columns_are_refused(law, columns, words, fitted):
    with pytest.raises(FittingError, match=words):
        fitted(law).predict(columns | ({"unique_tokens": 1e8} if law.name in NEEDS_UNIQUE else {}))


def test_too_few_rows_are_refused(law):
    columns = grid(law)
    table = table_of(columns, noisy(columns)).where(np.array([0, 7]))  # both inputs vary
    with pytest.raises(FittingError, match="rows"):
        fit(law, table)
    (row,) = compare([law], table)
    assert row.fit is None and "rows" in row.reason


@pytest.mark.parametrize(
    "ugly", ["constant metric", "equal inputs", "one input constant", "tiny numbers", "huge numbers"]
)
def test_ugly_tables_give_a_marked_result_or_a_message(law, ugly):
    columns = grid(law)
    y = noisy(columns)
    if ugly == "constant metric":
        y = np.full_like(y, 2.5)
    elif ugly == "equal inputs":
        columns["tokens"] = columns["parameters"] * (1 + 1e-12)
    elif ugly == "one input constant":
        columns["parameters"] = np.full_like(y, 1e8)
    elif ugly == "tiny numbers":
        y = y * 1e-200
    else:
        columns["tokens"] = columns["tokens"] * 1e200
    recipe = None if ugly == "constant metric" else QUICK
    (row,) = compare([Few(law)], table_of(columns, y), recipe=recipe)
    if row.fit is None or row.fit.status is FitStatus.FAILED:
        assert row.reason
    else:
        assert np.isfinite(row.fit.predict(columns)).all() and math.isfinite(row.rmsle_fit.value)
        if ugly == "constant metric":
            assert row.rmsle_fit.value < 1e-3


@pytest.fixture(scope="module")
def fitted():
    """One ordinary fit a law, made once."""
    made: dict[str, Fit] = {}

    def of(law):
        if law.name not in made:
            columns = grid(law)
            made[law.name] = fit(Few(law), table_of(columns, noisy(columns)), recipe=QUICK)
        return made[law.name]

    return of
