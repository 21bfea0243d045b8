"""Laws that were written for particular quantities: published constants are recovered, and which column is which."""

import math

import numpy as np
import pytest

from fitting import LAWS, PLAIN, FittingError, Frame, Table, compare, fit
from fitting.laws.bnsl import Bnsl
from fitting.laws.coupled import log_coupled
from fitting.laws.data_constrained import log_data_constrained
from fitting.laws.roles import cast

# The published constants of the sources that the modules name.
KAPLAN_ND = dict(scales=(6.4e13, 1.8e13), exponents=(0.076, 0.103), power=0.103)
KAPLAN_NS = dict(scales=(6.5e13, 2.1e3), exponents=(0.077, 0.76), power=1.0)
DATA_CONSTRAINED = dict(
    log_A=6.255414,
    log_B=7.3049974,
    log_E=0.6254804,
    alpha=0.3526596,
    beta=0.3526596,
    log_R_D=math.log(15.387756),
    log_R_N=math.log(5.309743),
)


def grid(low=(1e6, 1e8), high=(1e10, 1e11), side=7):
    axes = [np.geomspace(a, b, side) for a, b in zip(low, high, strict=True)]
    return tuple(v.ravel() for v in np.meshgrid(*axes))


def table(y, **inputs):
    return Table(inputs=inputs, y=y, ceiling=math.inf)


@pytest.mark.parametrize(
    "law, constants, names, low, high",
    [
        ("kaplan_nd", KAPLAN_ND, ("parameters", "tokens"), (1e6, 1e8), (1e10, 1e11)),
        ("kaplan_ns", KAPLAN_NS, ("parameters", "steps"), (1e6, 1e3), (1e10, 1e6)),
    ],
)
def test_kaplan_recovers_its_published_constants(law, constants, names, low, high):
    x = grid(low, high)
    y = np.exp(log_coupled(x, **constants))
    result = fit(law, table(y, **dict(zip(names, x, strict=True))), recipe=PLAIN)
    assert result.rmsle.value < 1e-5
    letters = "ND" if law == "kaplan_nd" else "NS"
    for letter, exponent in zip(letters, constants["exponents"], strict=True):
        assert result.coefficients[f"alpha_{letter}"] == pytest.approx(exponent, rel=1e-2)


def test_hilton_recovers_intrinsic_performance():
    """y = I^-kappa with I^-beta = (Nc/N)^aN + (Ec/E)^aE and 1/beta = 1/aN + 1/aE."""
    a_n, a_e, kappa = 0.6, 0.9, 0.25
    beta = 1 / (1 / a_n + 1 / a_e)
    n, e = grid((1e3, 1e5), (1e8, 1e9))
    y = ((1e5 / n) ** a_n + (1e7 / e) ** a_e) ** (kappa / beta)
    found = fit("hilton", table(y, parameters=n, interactions=e), recipe=PLAIN).coefficients
    expected = {"Nc": 1e5, "alpha_N": a_n, "Ec": 1e7, "alpha_E": a_e, "beta": beta, "kappa": kappa}
    assert found == pytest.approx(expected, rel=1e-3)


def repeated_runs(seed=0, rows=90):
    rng = np.random.default_rng(seed)
    n, u = np.exp(rng.uniform(16, 23, rows)), np.exp(rng.uniform(18, 24, rows))
    return n, u * np.exp(rng.uniform(0, 4.5, rows)), u


def test_data_constrained_recovers_its_published_constants():
    n, d, u = repeated_runs()
    y = np.exp(log_data_constrained(np.log(n), np.log(d), np.log(u), **DATA_CONSTRAINED))
    result = fit("dc", table(y, N=n, D=d, U=u), recipe=PLAIN)
    assert result.rmsle.value < 1e-5
    assert result.structure == "alpha = beta"
    expected = {
        name.removeprefix("log_"): math.exp(v) if name.startswith("log_") else v for name, v in DATA_CONSTRAINED.items()
    }
    assert result.coefficients == pytest.approx(expected, rel=1e-2)


def test_data_constrained_is_plain_where_nothing_repeats():
    """U = D and no excess of parameters: the additive law with the same constants."""
    n, d = np.array([1e7, 1e8]), np.array([1e10, 1e11])
    plain = math.exp(0.6254804) + math.exp(6.255414) * n**-0.3526596 + math.exp(7.3049974) * d**-0.3526596
    found = np.exp(log_data_constrained(np.log(n), np.log(d), np.log(d), **DATA_CONSTRAINED))
    np.testing.assert_allclose(found, plain, rtol=1e-12)


def test_repetition_is_worth_less_and_less():
    n, u = np.log(1e9), np.log(1e9)
    losses = [float(log_data_constrained(n, u + math.log(k), u, **DATA_CONSTRAINED)) for k in (1, 4, 16, 64, 1e6, 1e30)]
    gains = -np.diff(losses)
    assert (gains >= 0).all() and gains[-1] < 1e-6 < gains[0]


@pytest.mark.parametrize(
    "names, expected",
    [
        (("N", "D"), {"parameters": "N", "tokens": "D"}),
        (("tokens_seen", "Model-Size"), {"parameters": "Model-Size", "tokens": "tokens_seen"}),
        (("foo", "bar"), {"parameters": "foo", "tokens": "bar"}),
        (("steps", "n_params"), {"parameters": "n_params", "tokens": "steps"}),
    ],
)
def test_columns_are_cast_by_alias_then_by_order(names, expected):
    x = grid()
    frame = Frame.from_table(table(x[0], **dict(zip(names, x, strict=True))))
    assert cast(frame, ("parameters", "tokens"), law="kaplan_nd") == expected


@pytest.mark.parametrize("law", ["kaplan_nd", "kaplan_ns", "hilton", "dc"])
def test_a_missing_input_is_a_reason_in_a_comparison(law):
    x = np.geomspace(1e6, 1e9, 12)
    (row,) = compare([law], table(x**-0.3, examples=x))
    assert row.fit is None and f"{law} reads" in row.reason and "call it" in row.reason


@pytest.mark.parametrize(
    "columns, expected",
    [
        (("parameters", "examples", "dataset_size"), ("examples", "dataset_size")),
        (("parameters", "tokens", "unique_tokens"), ("tokens", "unique_tokens")),
    ],
)
def test_the_size_of_a_data_set_is_what_is_unique_beside_what_was_read(columns, expected):
    frame = Frame.from_table(table(np.array([1.0, 2.0]), **{name: np.array([1.0, 2.0]) for name in columns}))
    found = cast(frame, ("parameters", "tokens", "unique_tokens"), law="dc")
    assert (found["tokens"], found["unique_tokens"]) == expected


def test_unique_tokens_are_never_guessed():
    n, d = grid()
    frame = Frame.from_table(table(n, parameters=n, tokens=d, width=d[::-1].copy()))
    with pytest.raises(FittingError, match="unique_tokens"):
        LAWS["dc"].forms(frame)


def test_tokens_in_other_units_than_unique_tokens_are_refused():
    n, d, u = repeated_runs()
    frame = Frame.from_table(table(n, N=n, D=d * 1e-9, U=u))
    with pytest.raises(FittingError, match="one unit"):
        LAWS["dc"].forms(frame)


def test_names_of_columns_change_nothing():
    n, d = grid()
    y = 1.7 + 400 * n**-0.34 + 410 * d**-0.28
    one = fit("kaplan_nd", table(y, N=n, D=d), recipe=PLAIN)
    two = fit("kaplan_nd", table(y, foo=n, bar=d), recipe=PLAIN)
    assert one.coefficients == two.coefficients


def test_additive_law_recovers_the_published_constants_under_the_huber_loss_from_any_seed():
    n, d = grid((5e7, 1e9), (1e10, 1e12))
    rng = np.random.default_rng(0)
    y = (1.817 + 482.0 * n**-0.348 + 2085.0 * d**-0.366) * np.where(rng.random(n.size) < 0.1, 1.2, 1.0)
    found = [fit("cf", table(y, N=n, D=d), loss="huber", recipe=PLAIN, seed=seed).coefficients for seed in range(3)]
    for one in found:
        # A tenth of the rows is 20% off, and the Huber loss does not care.
        assert one["E"] == pytest.approx(1.817, rel=2e-3) and one["alpha_N"] == pytest.approx(0.348, rel=5e-3)
        assert one == pytest.approx(found[0], rel=1e-4)


def test_a_broken_law_has_a_form_for_every_order_of_up_to_two_breaks():
    x = np.geomspace(1, 1e6, 12)
    frame = Frame.from_table(table(x**-0.3, x=x))
    structures = [form.structure for form in LAWS["bnsl"].forms(frame)]
    assert [len(Bnsl(breaks=breaks).forms(frame)) for breaks in (0, 1, 2)] == [1, 3, 6]
    assert structures == [
        "in x, 0 breaks",
        "in x, 1 break (faster)",
        "in x, 1 break (slower)",
        "in x, 2 breaks (faster and faster)",
        "in x, 2 breaks (faster and slower)",
        "in x, 2 breaks (slower and slower)",
    ]


def test_the_coupling_of_two_limits_is_never_sharper_than_a_hundredth():
    """Where it is that sharp, return follows the scarcer of the two inputs, as with a corner."""
    x = grid()
    (form,) = LAWS["hilton"].forms(Frame.from_table(table(x[0], parameters=x[0], interactions=x[1])))
    shown = form.coefficients(np.where([name == "q" for name in form.parameters], -1e3, 0.5))
    assert shown["kappa"] / shown["beta"] == pytest.approx(0.01)
