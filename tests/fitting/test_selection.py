"""Selection: where the frontier is, and that nothing beyond the fitted rows is looked at."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fitting import LAWS, FittingError, Frame, Loss, Recipe, Table, compare, fit
from fitting.candidates import Rows
from fitting.distil import _places
from fitting.selection import by_frontier, frontier_rows, scale_coordinate
from fitting.solver import Ending

N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 7), np.geomspace(1e7, 1e10, 4)))
QUICK = Recipe(ridges=(1e-3, 1e-5), own_ridges=(), starts=2, budget=15)


def table_of(y=None, seed=0):
    if y is None:
        y = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(0.01 * np.random.default_rng(seed).standard_normal(N.size))
    return Table(inputs={"parameters": N, "tokens": D}, y=y, ceiling=math.inf)


def test_the_coordinate_runs_from_0_to_1_along_all_inputs():
    q = scale_coordinate(table_of(), None)
    assert q.min() == 0 and q.max() == 1
    assert q[np.argmax(N * D)] == 1
    np.testing.assert_allclose(q[np.argmax(N / D)], 0.5)


def test_the_coordinate_points_towards_what_is_wanted():
    """Rows wanted at more parameters and the same tokens: only parameters count."""
    q = scale_coordinate(table_of(), {"parameters": np.array([1e11]), "tokens": np.exp([np.log(D).mean()])})
    np.testing.assert_allclose(q, (np.log(N) - np.log(1e6)) / np.log(1e3), atol=1e-9)


def test_towards_smaller_rows_all_inputs_count_alike():
    np.testing.assert_array_equal(
        scale_coordinate(table_of(), {"parameters": np.array([1e3]), "tokens": np.array([1e3])}),
        scale_coordinate(table_of(), None),
    )


def test_what_is_wanted_must_be_positive():
    with pytest.raises(FittingError, match="parameters"):
        fit("cf", table_of(), toward={"parameters": np.array([-1.0]), "tokens": np.array([1e9])})


@pytest.mark.parametrize("levels, expected", [(2, 1 / 2), (4, 1 / 4), (7, 2 / 7), (8, 2 / 8)])
def test_the_frontier_is_whole_levels(levels, expected):
    q = np.repeat(np.linspace(0, 1, levels), 5)
    mask = frontier_rows(q, 0.25)
    assert mask.mean() == pytest.approx(expected)
    assert q[mask].min() > q[~mask].max()


def test_without_a_frontier_one_candidate_predicts_alone():
    """Four rows, and three coefficients: none can be spared."""
    x = np.geomspace(1, 1e3, 4)
    result = fit("m2", Table(inputs={"x": x}, y=1 + x**-0.5 + 0.01 * np.array([1, -1, -1, 1])), recipe=QUICK)
    assert len(result.belief.members) == 1


def test_the_mean_is_followed_on_the_rows_and_as_much_on_the_way_beyond_their_largest_quarter():
    """Without a target: as far beyond as half the table reaches, in four steps from each of the ten largest rows."""
    x, q = np.linspace(-1, 1, 40), np.linspace(0, 1, 40)
    rows = Rows(z={"x": x}, log_y=-x, weights=np.ones(40), q=q, measured=40, within=0.0)
    places, weights = _places(rows, None, ("x",))
    np.testing.assert_array_equal(places["x"][:40], x)
    np.testing.assert_allclose(np.sort(places["x"][40:]), np.sort(np.add.outer((0.25, 0.5, 0.75, 1.0), x[30:]), None))
    assert weights[:40].sum() == pytest.approx(1) and weights[40:].sum() == pytest.approx(1)


def test_a_single_level_has_no_frontier():
    assert not frontier_rows(np.zeros(9), 0.25).any()


def test_held_out_measurements_are_not_looked_at():
    table = table_of()
    big = N > 2e8
    fitted, honest = table.where(~big), table.where(big)
    nonsense = Table(inputs=honest.inputs, y=honest.y * 1000, ceiling=math.inf)
    one, two = (compare(["a1"], fitted, held, recipe=QUICK)[0] for held in (honest, nonsense))
    assert one.fit.coefficients == two.fit.coefficients
    assert one.rmsle_held_out.value < 0.1 < two.rmsle_held_out.value


def test_one_law_that_fails_does_not_stop_the_others():
    table = Table(inputs={"steps": N}, y=table_of().y)
    results = compare(["dc", "m2"], table, recipe=QUICK)
    assert results[0].fit is None and results[0].reason and results[1].fit is not None
    with pytest.raises(FittingError, match="unknown law 'm22'; the laws are: unsl"):
        compare(["m22"], table)


def test_laws_of_one_input_read_the_one_that_matters():
    y = 1.0 + 50 * D**-0.3
    assert fit("m2", table_of(y), recipe=QUICK).structure == "in tokens"


def test_a_million_rows_are_all_fitted():
    rng = np.random.default_rng(0)
    n = np.exp(rng.uniform(10, 20, 1_000_000))
    table = Table(inputs={"steps": n}, y=(1 + 40 * n**-0.3) * np.exp(0.01 * rng.standard_normal(n.size)))
    result = fit("m2", table)
    assert result.rows == result.rmsle.points == 1_000_000
    # A draw of five hundred rows knows this to half a per cent.
    assert result.predict({"steps": 1e10}) == pytest.approx(1 + 40 * 1e10**-0.3, rel=5e-4)


def rows_of(table, q):
    return Rows.from_table(table, Frame.from_table(table), q, measured=len(table), within=0.0)


def test_the_frontier_does_not_leak_into_the_fits_that_it_ranks():
    """Centre, hull, floor and ceiling included: with other measurements there, the same candidates meet it."""
    table = table_of()
    q = scale_coordinate(table, None)
    frontier = frontier_rows(q, QUICK.frontier)
    other = table_of(np.where(frontier, table.y / 3, table.y))
    law, everything = LAWS["a1"], replace(QUICK, shortlist=1.0)
    one, two = (
        {m.key: m.raw for m in by_frontier(law, t, rows_of(t, q), recipe=everything, loss=Loss.MSLE, seed=0).shortlist}
        for t in (table, other)
    )
    assert len(one) == len(two) > 10
    for key, raw in one.items():
        np.testing.assert_array_equal(raw, two[key])


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_equation_that_is_shown_is_taken_to_its_minimum(share):
    """Three steps a level are too few for any candidate, but the coefficients that people read are a minimum's."""
    belief = fit("a1", table_of(), recipe=replace(QUICK, budget=3, emphasis=(0.0,), share=share)).belief
    if share:
        assert {m.ending for m in belief.members} == {Ending.BUDGET_SPENT}
    assert belief.equation.ending is Ending.CONVERGED


def test_a_tenth_of_the_candidates_predicts():
    every = fit("cf", table_of(), recipe=Recipe(shortlist=1.0, share=1.0)).belief.members
    assert len(every) == 14, "seven ridges, with and without emphasis"
    assert len(fit("cf", table_of()).belief.members) == round(len(every) / 10)
