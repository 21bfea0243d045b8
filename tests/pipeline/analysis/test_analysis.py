"""From points to tables: data rules with their counts, the split, replicates, and honest errors."""

from __future__ import annotations

import math

import pytest
from rehearsal import make_study, run_study

from pipeline import Axis, Metric, PipelineError, Split
from pipeline.analysis import analyse, divide


@pytest.fixture
def points(store):
    run_study(make_study(), store)
    return store.table()


def test_rules_are_applied_in_order_with_their_counts(store):
    study = make_study(
        axes=[Axis("learning_rate", (0.01, 2.0)), Axis("parameters", (1_000, 4_000))],
        split=Split(held_out="parameters > 2000", excluded={"early": "step < 64", "never": "step < 0"}),
    )
    run_study(study, store)
    divided = divide(study, store.table())
    diverged = 2 * 2 * 4
    assert divided.excluded == {"diverged": diverged, "early": 4 * 2}
    assert len(divided.fitted) == len(divided.held_out) == 2 * 4


def test_the_split_is_the_study_s(points):
    divided = divide(make_study(), points)
    assert divided.fitted.inputs["parameters"].max() == 1_000
    assert divided.held_out.inputs["parameters"].min() == 4_000
    assert len(divided.fitted) + len(divided.held_out) == len(points)


def test_replicates_differ_in_the_seed_alone(points):
    rows = divide(make_study(), points).rows
    for _, same in rows.groupby("replicate"):
        assert len(same) == 2
        assert same["seed"].nunique() == 2
        assert same[["parameters", "dataset_size", "step"]].drop_duplicates().shape[0] == 1


def test_points_outside_the_grid_take_no_part(points):
    divided = divide(make_study(seeds=(0,)), points)
    assert divided.excluded == {"no longer in the grid": len(points) // 2}


def test_a_metric_of_which_more_is_better_is_mapped(points):
    points["accuracy"] = 1 - points["loss"] / 10
    study = make_study(metric=Metric(name="accuracy", direction="higher", best=1.0, ceiling=math.inf))
    assert divide(study, points).fitted.y == pytest.approx(divide(make_study(), points).fitted.y / 10)


def test_a_metric_at_its_bound_is_excluded(points):
    floor = points["loss"].min()
    divided = divide(make_study(metric=Metric(name="loss", floor=floor)), points)
    assert divided.excluded == {"metric at its bound or missing": 1}


def test_laws_are_fitted_and_scored(points):
    analysis = analyse(make_study(), points, laws=("cf", "m2"))
    assert [row.law for row in analysis.by_name()[""].comparisons] == ["cf", "m2"]
    facts = analysis.to_json()
    assert (facts["rows_fit"], facts["rows_held_out"]) == (24, 24)
    assert all(0 < law["rmsle_held_out"] < 1 and law["rmsle_held_out_error"] > 0 for law in facts["laws"])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"metric": Metric(name="los")}, "no column 'los'; did you mean 'loss'"),
        ({"split": Split(held_out="parameters > 0")}, "0 points to fit and 48 held out"),
    ],
)
def test_what_cannot_be_fitted_is_said(points, changes, message):
    with pytest.raises(PipelineError, match=message):
        divide(make_study(**changes), points)


def test_an_unknown_law_is_named(points):
    with pytest.raises(PipelineError, match="no law 'unls': did you mean 'unsl'"):
        analyse(make_study(), points, laws=("unls",))


def test_the_order_in_which_points_arrived_is_no_part_of_a_fit(points):
    shuffled = points.sample(frac=1.0, random_state=1)
    one, other = divide(make_study(), points), divide(make_study(), shuffled)
    assert one.fitted.y.tolist() == other.fitted.y.tolist()
    assert one.held_out.y.tolist() == other.held_out.y.tolist()
    assert one.fitted.group.tolist() == other.fitted.group.tolist()


def test_a_law_may_be_asked_for_the_mean_of_its_candidates(points):
    equation, mean = analyse(make_study(), points, laws=("m2", "m2-mean")).to_json()["laws"]
    assert (equation["law"], mean["law"]) == ("m2", "m2-mean")
    assert 0 < mean["rmsle_held_out"] < 1


def test_an_empty_store_is_named(store):
    with pytest.raises(PipelineError, match="no points yet: `unsl run rehearsal`"):
        divide(make_study(), store.table())
