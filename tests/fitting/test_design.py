"""What to measure next: the variance that a measurement takes away, and cells chosen by it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from fitting import FittingError, Table, design, fit
from fitting.design import Field, by_cell

TARGET = {"n": np.array([1e6]), "d": np.array([1e7])}


def table(noise: float = 0.01) -> Table:
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e3, 3e4, 5), np.geomspace(1e4, 3e5, 5)))
    y = (0.5 + 30 * n**-0.35 + 40 * d**-0.4) * np.exp(noise * np.random.default_rng(0).standard_normal(n.size))
    return Table(inputs={"n": n, "d": d}, y=y)


@pytest.fixture(scope="module")
def additive():
    return fit("cf", table(), toward=TARGET)


@pytest.fixture(scope="module")
def unified():
    return fit("unsl", table(), toward=TARGET)


def candidates(size: int = 6):
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e3, 3e5, size), np.geomspace(1e4, 3e6, size)))
    return {"n": n, "d": d}, n * d


def chosen(found, **changes):
    places, cost = candidates()
    return design(found, places, cell=np.arange(cost.size), cost=cost, target=TARGET, **changes)


def test_the_field_knows_what_the_forecast_says(additive):
    field, known = Field(additive), additive.uncertainty(TARGET)
    assert field.variance(field.features(TARGET)) == pytest.approx(known.coefficients + known.structures)
    low, high = known.interval(0.9)
    assert field.half(field.features(TARGET), 0.9) == pytest.approx(float(np.log(high / low)[0]) / 2)


def test_a_measurement_takes_away_what_least_squares_says(additive):
    """With one member: the inverse of the precision matrices' sum, which knows nothing of fields."""
    belief = additive.belief
    alone = replace(
        additive,
        belief=replace(belief, members=(belief.shown,), equation=belief.shown, covariances=belief.covariances[:1]),
    )
    place = {"n": np.array([3e5]), "d": np.array([3e6])}
    form, raw = belief.shown.form, belief.shown.raw
    at, wanted = (
        form.evaluate(raw[None, :], form.frame.coordinates(where))[1][0][:, 0] * belief.stretch * belief.kept**0.5
        for where in (place, TARGET)
    )
    precision = np.linalg.inv(belief.covariances[0]) + np.outer(at, at) / belief.noise**2
    field = Field(alone)
    field.measure(field.features(place))
    assert field.variance(field.features(TARGET))[0] == pytest.approx(wanted @ np.linalg.inv(precision) @ wanted)


def test_members_that_disagree_where_one_may_measure_are_told_apart(unified):
    """Coefficients that are known to the last digit leave the structures alone, which a measurement settles too."""
    belief = unified.belief
    assert len(belief.members) > 1
    sure = replace(unified, belief=replace(belief, covariances=tuple(c * 1e-12 for c in belief.covariances)))
    field = Field(sure)
    targets = field.features(TARGET)
    before = field.variance(targets)
    field.measure(field.features({"n": np.array([8e5]), "d": np.array([8e6])}))
    assert field.variance(targets) < 0.5 * before


def test_the_first_choice_is_the_best_of_all(additive):
    places, cost = candidates()
    first = chosen(additive, most=1, fade=0.0).picks[0]
    halves = []
    for number in range(cost.size):
        field = Field(additive)
        targets = field.features(TARGET)
        before = field.variance(targets)
        field.measure(field.features({name: values[[number]] for name, values in places.items()}))
        halves.append(float(before[0] - field.variance(targets)[0]) / cost[number])
    assert first.candidate == int(np.argmax(halves))


def test_what_is_under_way_is_counted_in(additive):
    places, cost = candidates()
    whole = chosen(additive, most=4)
    first = whole.picks[0].candidate
    pending = {name: values[[first]] for name, values in places.items()}
    others = np.delete(np.arange(cost.size), first)
    rest = design(
        additive,
        {name: values[others] for name, values in places.items()},
        cell=np.arange(others.size),
        cost=cost[others],
        target=TARGET,
        most=3,
        pending=pending,
        pending_cell=np.zeros(1, int),
    )
    assert rest.before == pytest.approx(whole.picks[0].half)
    assert [int(others[pick.candidate]) for pick in rest.picks] == [pick.candidate for pick in whole.picks[1:]]


def test_the_budget_holds_and_every_pick_narrows(additive):
    _, cost = candidates()
    budget = float(np.sort(cost)[:9].sum())
    made = chosen(additive, budget=budget)
    assert made.picks and made.cost <= budget
    halves = [made.before, *(pick.half for pick in made.picks)]
    assert all(later < earlier for earlier, later in itertools.pairwise(halves))
    assert made.after == halves[-1]
    assert len({pick.candidate for pick in made.picks}) == len(made.picks)


def test_a_dear_cell_that_tells_most_is_not_crowded_out(additive):
    """One near the target takes nearly the whole budget, and a cheap one that tells a little fits only without it."""
    places = {"n": np.array([1e3, 9e5]), "d": np.array([1e4, 9e6])}
    made = design(additive, places, cell=np.arange(2), cost=np.array([1e-6, 1.0]), target=TARGET, budget=1.0)
    assert [pick.candidate for pick in made.picks] == [1]


def test_cells_in_another_order_are_the_same_cells(additive):
    places, cost = candidates()
    order = np.random.default_rng(1).permutation(cost.size)
    made = design(
        additive,
        {name: values[order] for name, values in places.items()},
        cell=np.arange(cost.size),
        cost=cost[order],
        target=TARGET,
        most=5,
    )
    assert [int(order[pick.candidate]) for pick in made.picks] == [
        pick.candidate for pick in chosen(additive, most=5).picks
    ]


def test_what_is_far_from_the_target_counts_for_less(additive):
    """Ten thousand times cheaper, and far: taken at its word, the law would have it."""
    places = {"n": np.array([1e3, 5e5]), "d": np.array([1e4, 5e6])}
    how = {"cell": np.arange(2), "cost": np.array([1.0, 1e4]), "target": TARGET, "most": 1}
    first = [design(additive, places, fade=fade, **how).picks[0].candidate for fade in (0.0, 20.0)]
    assert first == [0, 1]


def test_the_nearest_target_is_the_one_that_counts(additive):
    place = {"n": np.array([1e3, 1e3]), "d": np.array([1e4, 2e6])}
    near = {"n": np.array([1e3, 1e6]), "d": np.array([1e4, 1e7])}
    how = {"cell": np.arange(2), "cost": np.ones(2), "most": 2, "fade": 50.0}
    both, far = (design(additive, place, target=target, **how) for target in (near, TARGET))
    assert both.picks[0].candidate == 0 and far.picks[0].candidate == 1


def test_rows_of_one_cell_tell_less_than_those_of_several(additive):
    belief = additive.belief
    alike = replace(additive, belief=replace(belief, design_effect=5.0))
    place = {"n": np.repeat(3e5, 4), "d": np.repeat(3e6, 4)}

    def after(cells: np.ndarray) -> float:
        field = Field(alike)
        for rows in by_cell(field.features(place), cells, int(cells.max()) + 1):
            field.measure(rows)
        return float(field.variance(field.features(TARGET))[0])

    together, apart = after(np.zeros(4, int)), after(np.arange(4))
    assert apart < together


def test_a_long_cell_is_thinned_and_keeps_its_end():
    features = np.arange(40, dtype=float)[:, None]
    (rows,) = by_cell(features, np.zeros(40, int), 1)
    assert rows[0, 0] == 0 and rows[-1, 0] == 39 and len(rows) < 10
    short = by_cell(features[:1], np.zeros(1, int), 1)[0]
    assert short[0, 0] == 0 and not short[1:].any()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cost": np.zeros(2)}, "positive finite"),
        ({"cost": np.ones(1)}, "rows name cells 0 to 1"),
        ({"candidates": {"n": np.ones(2)}}, "no column 'd'"),
    ],
)
def test_what_makes_no_sense_is_refused(additive, changes, message):
    said = {"candidates": {"n": np.ones(2), "d": np.ones(2)}, "cell": np.arange(2), "cost": np.ones(2), **changes}
    with pytest.raises(FittingError, match=message):
        design(additive, said.pop("candidates"), target=TARGET, **said)


def test_the_unified_law_designs_too(unified):
    made = chosen(unified, most=3)
    assert len(made.picks) == 3 and made.after < made.before
