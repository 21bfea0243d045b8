"""Replicates and neighbours are averaged with their weight; nothing is drawn or dropped, the frontier is left whole."""

import math

import numpy as np
import pytest

from fitting import PLAIN, Loss, Table, fit, rmsle
from fitting.condense import condense

RNG = np.random.default_rng(0)
NOWHERE = slice(0, 0)


def mask(rows, where=NOWHERE):
    out = np.zeros(rows, bool)
    out[where] = True
    return out


def test_replicates_are_one_row_of_their_mean_and_number():
    x = np.repeat([1.0, 2.0, 4.0], [3, 1, 2])
    y = np.exp([0.1, 0.2, 0.6, 0.5, -0.1, -0.3])
    done = condense(Table(inputs={"x": x}, y=y), most=99, frontier=mask(6), loss=Loss.MSLE)
    np.testing.assert_allclose(np.log(done.table.y), [0.3, 0.5, -0.2])
    assert done.table.weights.tolist() == [3, 1, 2] and done.table.inputs["x"].tolist() == [1, 2, 4]
    assert done.measured == 6 and done.within == pytest.approx((0.04 + 0.01 + 0.09 + 0.01 + 0.01) / 6)


@pytest.mark.parametrize("law", ["m2", "cf"])
def test_the_mean_of_replicates_has_the_minimum_of_the_rows_themselves(law):
    """The same rows with replicates that differ by a hair in x, so that nothing is averaged."""
    x = np.repeat(np.geomspace(1e2, 1e6, 15), np.arange(1, 16))
    y = (1 + 9 * x**-0.4) * np.exp(0.05 * RNG.standard_normal(x.size))
    apart = x * (1 + 1e-12 * np.arange(x.size))
    one, two = (fit(law, Table(inputs={"x": v}, y=y, ceiling=math.inf), recipe=PLAIN) for v in (x, apart))
    assert one.coefficients == pytest.approx(two.coefficients, rel=1e-4)
    assert one.belief.residual == pytest.approx(two.belief.residual, rel=0.1)
    assert one.rmsle.points == two.rmsle.points == x.size


def test_under_an_absolute_loss_replicates_stay_apart():
    x = np.repeat([1.0, 2.0], 3)
    done = condense(Table(inputs={"x": x}, y=np.exp(x)), most=99, frontier=mask(6), loss=Loss.HUBER)
    assert len(done.table) == 6


def test_a_long_table_is_cut_into_cells_of_near_rows_and_the_frontier_stays_whole():
    rows = 4000
    n, d = np.exp(RNG.uniform(0, 5, (2, rows)))
    y = np.exp(RNG.standard_normal(rows))
    table = Table(inputs={"n": n, "d": d}, y=y)
    frontier = np.log(n * d) > 8.5
    assert 50 < frontier.sum() < 200
    done = condense(table, most=400, frontier=frontier, loss=Loss.MSLE)
    assert len(done.table) == 400 and done.table.weights.sum() == rows and done.measured == rows
    # Every measurement is in some cell.
    assert (done.table.weights * np.log(done.table.y)).sum() == pytest.approx(np.log(y).sum())
    whole = {(a, b, c) for a, b, c in zip(n[frontier], d[frontier], y[frontier], strict=True)}
    kept = set(zip(done.table.inputs["n"], done.table.inputs["d"], done.table.y, strict=True))
    assert whole <= kept
    # Cells are small: within one, ln n and ln d hardly vary, so means of neighbours follow a smooth law.
    smooth = condense(
        Table(inputs={"n": n, "d": d}, y=2 * n**-0.3 * d**-0.2), most=400, frontier=frontier, loss=Loss.MSLE
    ).table
    np.testing.assert_allclose(smooth.y, 2 * smooth.inputs["n"] ** -0.3 * smooth.inputs["d"] ** -0.2, rtol=1e-12)
    assert condense(Table(inputs={"n": n, "d": d}, y=n), most=400, frontier=frontier, loss=Loss.MSLE).within < 0.05


def test_the_order_of_rows_changes_nothing_in_the_cells():
    n = np.exp(RNG.uniform(0, 5, 3000))
    table = Table(inputs={"n": n}, y=np.exp(RNG.standard_normal(n.size)))
    mixed = RNG.permutation(n.size)
    one = condense(table, most=100, frontier=mask(n.size), loss=Loss.MSLE)
    two = condense(table.where(mixed), most=100, frontier=mask(n.size), loss=Loss.MSLE)
    assert one.table.fingerprint == two.table.fingerprint


def test_many_noisy_rows_tell_more_than_a_draw_of_five_hundred():
    """5,000 rows with 20% noise: all of them give a limit that five hundred cannot."""
    rng = np.random.default_rng(1)
    n, d = np.exp(rng.uniform(14, 20, 5000)), np.exp(rng.uniform(16, 23, 5000))
    y = (1.7 + 400 * n**-0.34 + 410 * d**-0.28) * np.exp(0.2 * rng.standard_normal(n.size))
    table = Table(inputs={"N": n, "D": d}, y=y, ceiling=math.inf)
    result = fit("cf", table, recipe=PLAIN)
    assert result.rmsle.points == result.rows == 5000

    def missed(one):
        inside = one.predict({"N": n, "D": d})
        return rmsle(inside, 1.7 + 400 * n**-0.34 + 410 * d**-0.28).value

    draws = [fit("cf", table.where(rng.permutation(5000)[:500]), recipe=PLAIN) for _ in range(4)]
    assert missed(result) < 0.7 * np.mean([missed(one) for one in draws])


def test_weights_of_the_user_count():
    """A row of weight 3 is three rows."""
    x = np.geomspace(1, 1e4, 12)
    y = (0.5 + x**-0.4) * np.exp(0.1 * RNG.standard_normal(12))
    weights = np.where(np.arange(12) % 2 == 0, 3.0, 1.0)
    weighted = fit("m2", Table(inputs={"x": x}, y=y, weights=weights), recipe=PLAIN)
    copies = np.repeat(np.arange(12), weights.astype(int))
    copied = fit("m2", Table(inputs={"x": x[copies]}, y=y[copies]), recipe=PLAIN)
    assert weighted.coefficients == pytest.approx(copied.coefficients, rel=1e-5)
    assert weighted.coefficients["e"] != pytest.approx(
        fit("m2", Table(inputs={"x": x}, y=y), recipe=PLAIN).coefficients["e"], rel=1e-3
    )
