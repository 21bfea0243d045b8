"""Tables, metrics and scores."""

import math
from dataclasses import replace

import numpy as np
import pandas
import pytest

from fitting import PLAIN, FittingError, Metric, Table, fit, rmsle

GOOD = {"inputs": {"n": [1.0, 2.0, 3.0]}, "y": [3.0, 2.0, 1.0]}


def test_where_picks_rows_of_every_column():
    table = Table(**GOOD, hyperparameters={"lr": [0.1, 0.2, 0.3]}, group=np.array([0, 0, 1]), ceiling=9.0)
    some = table.where(np.array([True, False, True]))
    assert len(some) == 2 and some.ceiling == 9.0
    assert (
        some.inputs["n"].tolist() == [1, 3]
        and some.hyperparameters["lr"].tolist() == [0.1, 0.3]
        and some.group.tolist() == [0, 1]
    )


def test_columns_cannot_be_changed_behind_its_back():
    source = np.array([3.0, 2.0, 1.0])
    table = Table(inputs=GOOD["inputs"], y=source)
    source[0] = -1
    assert table.y[0] == 3.0
    with pytest.raises(ValueError):
        table.y[0] = 5


@pytest.mark.parametrize(
    "change, words",
    [
        ({"y": [1.0, -1.0, 2.0]}, "'y'.*row 1"),
        ({"y": [1.0, float("nan"), 2.0]}, "'y'.*row 1"),
        ({"y": [1.0, 2.0]}, "'n' has 3 rows, y has 2"),
        ({"inputs": {"n": [0.0, 1.0, 2.0]}}, "'n'.*row 0"),
        ({"inputs": {"n": ["a", "b", "c"]}}, "'n'.*not a number"),
        ({"inputs": {}}, "no input"),
        ({"hyperparameters": {"n": [1.0, 2.0, 3.0]}}, "one or the other"),
        ({"ceiling": -1.0}, "ceiling"),
        ({"group": np.array([0.5, 1.0, 2.0])}, "group"),
        ({"inputs": {"n": np.ones((3, 1))}}, "shape"),
    ],
)
def test_refuses(change, words):
    with pytest.raises(FittingError, match=words):
        Table(**{**GOOD, **change})


@pytest.mark.parametrize(
    "metric, value, loss",
    [
        (Metric(name="loss"), 2.5, 2.5),
        (Metric(name="loss", floor=0.5), 2.5, 2.0),
        (Metric(name="accuracy", direction="higher", best=1.0, ceiling=0.9), 0.75, 0.25),
        (Metric(name="return", direction="higher", floor=-10.0), 30.0, 0.025),
    ],
)
def test_metric_there_and_back(metric, value, loss):
    assert metric.to_loss(np.array([value]))[0] == pytest.approx(loss)
    assert metric.from_loss(metric.to_loss(np.array([value])))[0] == pytest.approx(value)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"direction": "up"}, "'lower' or 'higher'"),
        ({"ceiling": 0.0}, "ceiling"),
        ({"best": 1.0}, "floor"),
        ({"floor": math.inf}, "finite"),
    ],
)
def test_metric_refuses(arguments, words):
    with pytest.raises(FittingError, match=words):
        Metric(**arguments)


def test_rmsle_and_its_error():
    score = rmsle(np.exp([0.1, -0.2, 0.3]), np.ones(3))
    squares = np.array([0.01, 0.04, 0.09])
    assert score.value == pytest.approx(math.sqrt(squares.mean()))
    assert score.error == pytest.approx(math.sqrt(squares.mean() + squares.std() / math.sqrt(3)) - score.value)
    assert str(score) == f"{score.value:.4f} ± {score.error:.4f}" and score.points == 3
    nothing = rmsle(np.ones(0), np.ones(0))
    assert math.isnan(nothing.value) and nothing.points == 0


def test_the_fingerprint_is_of_the_measurements_not_of_how_they_are_listed():
    rng = np.random.default_rng(0)
    n, y, group = np.repeat([1.0, 2.0, 4.0], 2), rng.uniform(1, 2, 6), np.array([0, 0, 1, 1, 2, 2])
    first = Table(inputs={"n": n}, y=y, group=group)
    order = rng.permutation(6)
    assert Table(inputs={"n": n[order]}, y=y[order], group=7 - 2 * group[order]).fingerprint == first.fingerprint
    assert Table(inputs={"n": n}, y=y, group=np.array([0, 0, 1, 2, 2, 2])).fingerprint != first.fingerprint
    others = {"y": y + 1e-9}, {"weights": np.ones(6)}, {"weights": np.arange(1.0, 7.0)}, {"counts": np.full(6, 9.0)}
    prints = {replace(first, **change).fingerprint for change in ({}, *others)}
    assert len(prints) == 1 + len(others)


FRAME = {
    "n": [1e6, 1e7, 1e8, 1e6],
    "lr": [1e-3, 1e-3, 1e-4, 1e-3],
    "accuracy": [0.5, 0.75, 1.0, 0.6],
    "size": ["s", "m", "l", "s"],
    "trials": [100, 100, 100, 100],
}
ACCURACY = Metric(name="accuracy", direction="higher", best=1.0, ceiling=0.9)


def test_a_table_from_a_data_frame():
    table = Table.from_frame(
        pandas.DataFrame(FRAME), metric=ACCURACY, inputs=["n"], hyperparameters=["lr"], group=["size"], count="trials"
    )
    np.testing.assert_allclose(table.y, [50.5 / 101, 25.5 / 101, 0.5 / 101, 40.5 / 101])
    assert table.ceiling == 0.9 and list(table.inputs) == ["n"] and list(table.hyperparameters) == ["lr"]
    assert table.group[0] == table.group[3] and len(set(table.group.tolist())) == 3
    assert table.counts.tolist() == [100] * 4
    plain = Table.from_frame(pandas.DataFrame(FRAME)[:2], metric="lr", inputs=["n"], weights="trials")
    assert plain.y.tolist() == [1e-3, 1e-3] and plain.weights.tolist() == [100, 100]


def test_a_data_frame_is_as_good_as_a_mapping():
    frame = pandas.DataFrame(FRAME)
    assert Table(inputs=frame[["n"]], hyperparameters=frame[["lr"]], y=frame["trials"]).y.tolist() == [100.0] * 4


@pytest.mark.parametrize(
    "change, words",
    [
        ({"inputs": ["m"]}, "no column 'm'; the columns are: n, lr"),
        ({"inputs": ["size"]}, "not a number"),
        ({"metric": ACCURACY}, "row 2"),
        ({"metric": "trials", "count": "n"}, "not between 0 and 1"),
        ({"metric": Metric(name="n", direction="higher"), "count": "trials"}, "best=1"),
    ],
)
def test_a_data_frame_that_cannot_be_used_says_why(change, words):
    with pytest.raises(FittingError, match=words):
        Table.from_frame(pandas.DataFrame(FRAME), **{"metric": "lr", "inputs": ["n"], **change})


def test_rates_at_their_bound_are_data():
    """Errors that fall below one in the 200 that are tried: without those rows the rest say that they do not fall."""
    rng = np.random.default_rng(0)
    x, trials = np.repeat(np.geomspace(1, 1e4, 12), 4), 200
    truth = 0.5 * x**-0.75
    failures = rng.binomial(trials, truth)
    frame = {"x": x, "error": failures / trials, "n": np.full(x.size, trials)}
    kept = failures > 0
    assert kept.mean() < 0.9
    dropped = fit("m1", Table(inputs={"x": x[kept]}, y=frame["error"][kept]), recipe=PLAIN)
    counted = fit("m1", Table.from_frame(frame, metric="error", inputs=["x"], count="n"), recipe=PLAIN)
    off = [abs(math.log(float(one.predict({"x": 1e5})) / (0.5 * 1e5**-0.75))) for one in (dropped, counted)]
    assert off[0] > 0.8 > 0.3 > off[1]
