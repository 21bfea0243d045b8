"""Targets: every held-out point of a study, places that people name, and which measurement is of which."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from rehearsal import make_study, run_study

from fitting import Metric
from pipeline import Split
from pipeline.analysis import Question
from pipeline.errors import PipelineError
from pipeline.forecasts import held_out_targets, named_targets

QUESTION = Question(about="a table", metric=Metric(name="loss"), inputs=("N", "D"), hyperparameters=("lr",))


def test_held_out_targets_are_the_points_that_will_be_measured(store):
    split = Split(held_out="parameters > 2000 or step > 200", excluded={"warm-up": "step < 30"})
    study = make_study(split=split)
    targets = held_out_targets(study)
    run_study(study, store)
    table = store.table()
    held_out = table[((table.parameters > 2000) | (table.step > 200)) & (table.step >= 30)]
    assert set(zip(targets.columns["cell"], targets.columns["step"], strict=True)) == set(
        zip(held_out.cell, held_out.step, strict=True)
    )
    assert targets.measured(table).all() and len(targets) == len(held_out)
    assert not targets.measured(table[table.step < 30]).any()
    for name in ("parameters", "dataset_size", "learning_rate", "step", "inference_steps", "examples", "flops"):
        assert len(targets.columns[name]) == len(targets), "every column that is known is written down"


def test_named_targets_are_read_as_people_write_them():
    targets = named_targets(["N=7e9, D = 1.4e11,lr=3e-4", "N=1e9,D=2e10,lr=1e-3"], QUESTION, ["N", "D", "lr", "loss"])
    assert targets.columns == {"N": [7e9, 1e9], "D": [1.4e11, 2e10], "lr": [3e-4, 1e-3]}


@pytest.mark.parametrize(
    "texts, message",
    [
        (["N=7e9, DD=1, lr=1"], "there is no column 'DD'; did you mean 'D'"),
        (["N=seven, D=1, lr=1"], "N is 'seven', which is not a number"),
        (["N=-1, D=1, lr=1"], "laws are defined for positive finite numbers"),
        (["N=nan, D=1, lr=1"], "laws are defined for positive finite numbers"),
        (["N=inf, D=1, lr=1"], "laws are defined for positive finite numbers"),
        (["N=0, D=1, lr=1"], "laws are defined for positive finite numbers"),
        (["N=1, D=1"], "must say lr too"),
        (["N=1, N=2, D=1, lr=1"], "says N twice"),
        (["N 1"], "write COLUMN=NUMBER"),
        ([""], "--at is empty"),
        (["N=1,D=1,lr=1", "N=1,D=1,lr=1.0"], "names one place twice"),
        (["N=1,D=1,lr=1", "N=2,D=1,lr=1,step=3"], "must name the same columns"),
    ],
)
def test_a_bad_target_is_refused_in_words(texts, message):
    with pytest.raises(PipelineError, match=message.replace("'", "'")) as refused:
        named_targets(texts, QUESTION, ["N", "D", "lr", "step"])
    assert "\n" not in str(refused.value)


def test_a_measurement_is_known_by_what_was_named():
    targets = named_targets(["N=3e5,D=1e6,lr=1e-3", "N=4e5,D=1e6,lr=1e-3"], QUESTION, [])
    rows = pandas.DataFrame({"N": [300_000, 300_000, 5], "D": [1_000_000] * 3, "lr": [0.001 + 1e-16, 0.002, 0.001]})
    assert targets.measured(rows).tolist() == [True, False]
    assert targets.measured(rows.drop(columns="lr")).tolist() == [False, False]
    assert targets.measured(pandas.DataFrame()).tolist() == [False, False]


def test_numbers_of_every_size_are_matched_by_their_digits():
    from pipeline.forecasts.targets import matches

    sizes = np.array([1e-9, 3.0000000001e-4, 0.1 + 0.2, 1, 999_999_999_999, 1e300])
    targets, rows = matches({"x": sizes}, ["x"], pandas.DataFrame({"x": sizes * (1 + 1e-13)}))
    assert targets.tolist() == rows.tolist() == list(range(sizes.size))
    assert matches({"x": sizes}, ["x"], pandas.DataFrame({"x": sizes * (1 + 1e-6)}))[0].size == 0
