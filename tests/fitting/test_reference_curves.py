"""The released estimators' procedures, on curves of which the answer is known."""

import numpy as np
import pytest

from fitting.exams.reference_curves import reference_m1, reference_m2, reference_m3

X = np.geomspace(1e3, 1e7, 30)
FAR = np.array([1e8, 1e9])


def test_m1_is_a_line():
    np.testing.assert_allclose(reference_m1(X, 2.0 * X**-0.3)(FAR), 2.0 * FAR**-0.3, rtol=1e-9)


def test_m2_finds_its_limit():
    found = reference_m2(X, 0.2 + 3.0 * X**-0.4)(FAR)
    np.testing.assert_allclose(found, 0.2 + 3.0 * FAR**-0.4, rtol=1e-2)


def test_m2_goes_to_m1_where_there_is_no_limit():
    y = 2.0 * X**-0.3
    np.testing.assert_allclose(reference_m2(X, y)(FAR), reference_m1(X, y)(FAR), rtol=1e-6)


@pytest.mark.parametrize("g", [0.0, 1e-6])
def test_m3_follows_the_curve(g):
    y = 5.0 * (1 / X + g) ** 0.35
    np.testing.assert_allclose(reference_m3(X, y)(X), y, rtol=3e-2)
