"""Boolean expressions: what they mean, and everything they refuse."""

import numpy as np
import pytest

from fitting import FittingError, parse_expression

COLUMNS = {
    "N": np.array([10**8, 10**9, 10**10]),
    "D": np.array([10**12, 10**11, 10**10]),
    "kind": np.array(["vit", "mixer", "vit"]),
    "diverged": np.array([False, True, False]),
}


@pytest.mark.parametrize(
    "text, answer",
    [
        ("N >= 1e9", [False, True, True]),
        ("N >= 1e9 or 6 * N * D > 1e21", [False, True, True]),
        ("6 * N * D > 5.9e20 and not N > 1e9", [True, True, False]),
        ("1e8 < N <= 1e9", [False, True, False]),
        ("kind == 'vit'", [True, False, True]),
        ("kind != 'vit' or N == 1e10", [False, True, True]),
        ("diverged", [False, True, False]),
        ("not diverged and N > 0", [True, False, True]),
        ("N ** 0.5 - D / N + -1 // 2 % 3 < +1e9", [True, True, True]),
        ("N * N * N * D > 1e38", [False, False, True]),
    ],
)
def test_answers(text, answer):
    np.testing.assert_array_equal(parse_expression(text).evaluate(COLUMNS), answer)


def test_names_in_order():
    assert parse_expression("D > N and N > 3 and kind == 'x'").names == ("D", "N", "kind")


def test_row_by_row_equals_column_by_column():
    expression = parse_expression("6 * N * D > 5.9e20 and kind == 'vit' and not diverged")
    whole = expression.evaluate(COLUMNS)
    rows = [expression.evaluate({name: values[i].item() for name, values in COLUMNS.items()}) for i in range(3)]
    assert [bool(row) for row in rows] == whole.tolist() and rows[0].shape == ()


@pytest.mark.parametrize(
    "text, words",
    [
        ("__import__('os').system('true')", "__import__"),
        ("N.real > 1", "N.real"),
        ("N[0] > 1", r"N\[0\]"),
        ("(lambda: 1)() > N", "lambda"),
        ("[x for x in N] > 1", "for x"),
        ("N > 1 if N else D", "if N"),
        ("(M := N) > 1", "M := N"),
        ("f'{N}' == kind", "f'"),
        ("N in (1, 2)", "in"),
        ("N is D", "is"),
        ("N > True", "True"),
        ("N > 1j", "1j"),
        ("N & D > 1", "N & D"),
        ("N + 1", "not a yes/no question"),
        ("3 < 4", "names no column"),
        ("N >", "cannot read"),
        ("", "empty"),
        ("N > 1; D > 1", "cannot read"),
        ("(" * 500 + "N" + ")" * 500 + " > 1", "nested|cannot read"),
        ("-" * 1900 + "N > 1", "nested|cannot read"),
        ("N > " + "1" * 3000, "characters"),
        ("N > \x00", "cannot read"),
    ],
)
def test_refuses(text, words):
    with pytest.raises(FittingError, match=words):
        parse_expression(text)


@pytest.mark.parametrize(
    "text, words",
    [
        ("tokens > 1", "unknown column 'tokens'; the columns are: N, D, kind, diverged"),
        ("kind > 3", "text"),
        ("kind == 3", "text with a number"),
        ("N + kind > 3", "text"),
        ("N and D > 1", "not a yes/no answer"),
        ("(N > 1) + 1 > 2", "cannot be calculated with"),
        ("N > 1" + "0" * 400, "too large"),
    ],
)
def test_refuses_once_columns_are_known(text, words):
    with pytest.raises(FittingError, match=words):
        parse_expression(text).evaluate(COLUMNS)


def test_huge_powers_end_at_once():
    assert not parse_expression("N > 9 ** 9 ** 9 ** 9").evaluate(COLUMNS).any()
