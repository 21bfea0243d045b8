"""The unified law: its four layers, the eight desiderata, and the laws that it contains, exactly."""

import math

import numpy as np
import pytest

from fitting import LAWS, Frame, Table
from fitting.laws.bnsl import log_bnsl
from fitting.laws.layers import Break, log_k, log_q, log_r, log_top
from fitting.laws.unsl import Shape, UnslForm

N, D = "parameters", "tokens"
RNG = np.random.default_rng(0)
COLUMNS = {N: np.exp(RNG.uniform(10, 20, 40)), D: np.exp(RNG.uniform(15, 25, 40))}
LR = {"learning_rate": np.exp(RNG.uniform(-8, -2, 40))}
Y = np.exp(RNG.uniform(0.5, 2.0, 40))


def form_of(shape, inputs=(N, D), hyperparameters=None, ceiling=math.inf, seed=1):
    """A form of the law and raw parameters drawn from its prior."""
    table = Table(inputs={c: COLUMNS[c] for c in inputs}, y=Y, hyperparameters=hyperparameters or {}, ceiling=ceiling)
    form = UnslForm(frame=Frame.from_table(table), shape=shape)
    raw = 0.7 * np.random.default_rng(seed).standard_normal(form.size)
    return form, raw, form.coefficients(raw)


def predict(form, raw, columns):
    return np.exp(form.predict_log(raw[None, :], form.frame.coordinates(columns))[0])


def power(c, prefix, letter, columns):
    return c[prefix] * np.prod(
        [columns[name] ** c[f"{letter}_{name}"] for name in columns if f"{letter}_{name}" in c], axis=0
    )


def by_hand(form, c, columns):
    """The whole law from its natural coefficients, written out as one would on paper: K, R, Q, top."""
    shape, names = form.shape, form.columns

    def bend(i):
        along = np.prod([columns[name] ** c[f"w{i}_{name}"] for name in names], axis=0)
        return (1 + (along / c[f"d{i}"]) ** (1 / c[f"f{i}"])) ** (-c[f"c{i}"] * c[f"f{i}"])

    good = np.zeros_like(next(iter(columns.values())))
    if shape.joint:
        k = power(c, "b", "c", columns)
        for i in range(1, len(shape.breaks) + 1):
            k = k * bend(i)
        good = good + k
    if shape.bottlenecks:
        for name in form.frame.inputs:
            good = good + c[f"b_{name}"] * columns[name] ** c[f"beta_{name}"]
    for side in {"": (), "large": ("large",), "both": ("large", "small")}[shape.harms]:
        good = good + sum(power(c, f"{side}_{h}", f"{side}_{h}", columns) for h in form.frame.hyperparameters)
    if shape.limit:
        good = 1 / (1 / good + 1 / power(c, "limit", "limit", columns))
    if shape.plateau:
        good = 1 / (1 / good + 1 / c["plateau"])
    total = good + sum(power(c, f"o{k}", f"o{k}", columns) for k in range(1, shape.opposing + 1))
    if shape.ceiling:
        total = 1 / (1 / (c["aM"] - c["a0"]) + 1 / total)
    return c["a0"] + total


SHAPES = [
    Shape(),
    Shape(breaks=(1, -1)),
    Shape(bottlenecks=True, breaks=(-1,), ceiling=True),
    Shape(bottlenecks=True, opposing=2, ceiling=True),
    Shape(joint=False, bottlenecks=True, limit=N),
    Shape(joint=False, bottlenecks=True, tied=True),
    Shape(bottlenecks=True, breaks=(1,), plateau=True),
    Shape(bottlenecks=True, breaks=(1,), harms="both", opposing=1, ceiling=True),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ceiling", [None, 20.0])
def test_named_coefficients_are_the_whole_law(shape, ceiling):
    hyper = LR if shape.harms else {}
    form, raw, c = form_of(shape, hyperparameters=hyper, ceiling=ceiling)
    columns = {**COLUMNS, **hyper}
    np.testing.assert_allclose(predict(form, raw, columns), by_hand(form, c, columns), rtol=1e-9)
    if shape.ceiling and ceiling:
        assert c["aM"] == pytest.approx(ceiling)


# The laws that it contains


@pytest.mark.parametrize("signs", [(), (1,), (-1,), (1, -1)])
def test_reduces_to_the_broken_law_of_one_input(signs):
    """Desideratum 1: with one input it is the univariate broken law."""
    form, raw, c = form_of(Shape(breaks=signs), inputs=(N,))
    x = COLUMNS[N]
    c0, log_b, breaks = -c[f"c_{N}"], math.log(c["b"]), []
    for i in range(1, len(signs) + 1):
        change, d, f = c[f"c{i}"], c[f"d{i}"], c[f"f{i}"]
        if c[f"w{i}_{N}"] < 0:
            # (1 + (x^-1/d)^(1/f))^(-cf) = (d x)^c (1 + (d x)^(1/f))^(-cf): the break moves to 1/d, the slope before
            # it changes.
            c0, log_b, d = c0 - change, log_b + change * math.log(d), 1 / d
        breaks.append((change, d, f))
    np.testing.assert_allclose(
        np.log(predict(form, raw, {N: x})), log_bnsl(x, c["a0"], math.exp(log_b), c0, breaks), rtol=1e-9
    )


def test_reduces_to_the_additive_law():
    form, raw, c = form_of(Shape(joint=False, bottlenecks=True))
    n, d = COLUMNS[N], COLUMNS[D]
    expected = c["a0"] + c[f"b_{N}"] * n ** c[f"beta_{N}"] + c[f"b_{D}"] * d ** c[f"beta_{D}"]
    np.testing.assert_allclose(predict(form, raw, COLUMNS), expected, rtol=1e-11)
    additive = LAWS["cf"].forms(form.frame)[0]
    same = dict(zip(form.parameters, raw, strict=True))
    other = np.array([same["a0"], *(same[f"{what}_{name}"] for name in (N, D) for what in ("b", "beta"))])
    np.testing.assert_allclose(
        additive.predict_log(other[None], form.frame.coordinates(COLUMNS))[0], np.log(expected), rtol=1e-11
    )


def test_reduces_to_a_power_law_with_offset():
    form, raw, c = form_of(Shape(), inputs=(N,))
    np.testing.assert_allclose(
        predict(form, raw, {N: COLUMNS[N]}), c["a0"] + c["b"] * COLUMNS[N] ** c[f"c_{N}"], rtol=1e-11
    )


def test_reduces_to_a_double_descent_sum():
    form, raw, c = form_of(Shape(opposing=1), inputs=(N,))
    x = COLUMNS[N]
    expected = c["a0"] + c["b"] * x ** c[f"c_{N}"] + c["o1"] * x ** c[f"o1_{N}"]
    np.testing.assert_allclose(predict(form, raw, {N: x}), expected, rtol=1e-11)


# The other desiderata


def test_2_an_input_shifts_the_break_of_another_multiplicatively():
    """Along the break, w . z is constant: where x_2 grows by a factor t, the break in x_1 moves by t^(-w_2 / w_1)."""
    w, place, width = (0.4, -0.3), 0.7, 0.05
    z1 = np.linspace(-30, 30, 200001)

    def break_in_x1(z2):
        log_y = log_k(
            [z1, np.full_like(z1, z2)],
            log_b=0.0,
            slopes=[-0.2, -0.1],
            breaks=[Break(direction=w, place=place, width=width, sign=1)],
        )
        bend = np.abs(np.diff(log_y, 2))
        return z1[1:-1][bend > bend.max() * 0.9].mean()

    for step in (1.0, 2.5):
        assert break_in_x1(step) - break_in_x1(0.0) == pytest.approx(-w[1] / w[0] * step, abs=1e-3)


@pytest.mark.parametrize("bottleneck, plentiful", [(N, D), (D, N)])
def test_3_each_input_alone_can_be_the_bottleneck(bottleneck, plentiful):
    form, raw, c = form_of(Shape(bottlenecks=True, breaks=(1,)))
    columns = {bottleneck: COLUMNS[bottleneck], plentiful: np.full(40, 1e300)}
    alone = c["a0"] + c[f"b_{bottleneck}"] * columns[bottleneck] ** c[f"beta_{bottleneck}"]
    np.testing.assert_allclose(predict(form, raw, columns), alone, rtol=1e-6)


@pytest.mark.parametrize(
    "shape", [Shape(), Shape(bottlenecks=True, breaks=(1,)), Shape(bottlenecks=True, ceiling=True)], ids=str
)
def test_4_one_irreducible_limit(shape):
    form, raw, c = form_of(shape)
    assert predict(form, raw, {N: np.array([1e300]), D: np.array([1e300])})[0] == pytest.approx(c["a0"], rel=1e-6)


def test_5_limits_on_misperformance_enter_by_reciprocals():
    parts = np.array([0.3, 2.0, 5.0])
    assert math.exp(log_q(list(np.log(parts)))) == pytest.approx(1 / (1 / parts).sum())
    form, raw, c = form_of(Shape(ceiling=True))
    without = by_hand(form, {**c, "aM": math.inf}, COLUMNS) - c["a0"]
    room = c["aM"] - c["a0"]
    np.testing.assert_allclose(1 / (predict(form, raw, COLUMNS) - c["a0"]), 1 / room + 1 / without, rtol=1e-9)


def test_6_misperformance_may_itself_be_bottlenecked():
    """With few tokens performance is capped whatever the parameters, and more tokens lower that cap."""
    form, raw, c = form_of(Shape(bottlenecks=True, limit=D))
    tiny = {N: np.full(2, 1e-300), D: np.array([1e9, 1e11])}
    capped = predict(form, raw, tiny) - c["a0"]
    np.testing.assert_allclose(capped, c["limit"] * tiny[D] ** c[f"limit_{D}"], rtol=1e-6)
    assert capped[1] < capped[0]


def test_7_transitions_have_additive_symmetry():
    """A sum of two power laws is one break whose width is 1 in ln y; a reciprocal sum is the same with the other
    sign.
    """
    z, p, q, log_b1, log_b2 = np.linspace(-9, 9, 50), 0.4, 0.9, 0.3, -1.1
    turn = [Break(direction=[p + q], place=log_b1 - log_b2, width=1.0, sign=-1)]
    np.testing.assert_allclose(
        log_r([log_b1 - p * z, log_b2 + q * z]),
        log_k([z], log_b=log_b1, slopes=[-p], breaks=turn),
        rtol=1e-12,
        atol=1e-12,
    )
    plateau = [Break(direction=[p], place=log_b2 - log_b1, width=1.0, sign=1)]
    np.testing.assert_allclose(
        log_q([np.full_like(z, log_b1), log_b2 - p * z]),
        log_k([z], log_b=log_b1, slopes=[0.0], breaks=plateau),
        rtol=1e-12,
        atol=1e-12,
    )


def test_8_opposing_forces_act_on_good_and_on_bad_learning():
    """A harmful hyperparameter raises y, overfitting raises y, and both stop at the ceiling."""
    for shape in (Shape(harms="large", ceiling=True), Shape(opposing=1, ceiling=True)):
        form, raw, c = form_of(shape, hyperparameters=LR, ceiling=20.0)
        if shape.opposing:
            raw[form.parameters.index("o1_learning_rate")] = 1.0
        rates = {N: np.full(60, 1e7), D: np.full(60, 1e9), "learning_rate": np.exp(np.linspace(-8, 300, 60))}
        curve = predict(form, raw, rates)
        assert curve[-1] == pytest.approx(20.0, rel=1e-3)
        # Nothing passes the ceiling, floor or no floor.
        assert (np.diff(curve)[-50:] >= 0).all() and curve.max() < 20.0 + 1e-9


def test_absent_limits_drop_out_exactly():
    good = np.linspace(-2, 2, 9)
    np.testing.assert_array_equal(
        log_top(log_floor=-math.inf, log_good=good, log_overfit=None, log_ceiling=math.inf), good
    )


def test_same_structures_for_every_task():
    """What is tried depends on how many columns vary and on whether the ceiling is known, never on their names or
    values.
    """
    one = [f.shape for f in LAWS["unsl"].forms(form_of(Shape())[0].frame)]
    renamed = Table(inputs={"a": COLUMNS[N] ** 2, "b": 1 / COLUMNS[D]}, y=1e6 * Y, ceiling=math.inf)
    two = [f.shape for f in LAWS["unsl"].forms(Frame.from_table(renamed))]
    assert [str(s).replace(N, "a").replace(D, "b") for s in one] == [str(s) for s in two]
