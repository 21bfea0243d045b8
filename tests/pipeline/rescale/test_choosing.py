"""The cells that a study could grow by, and which of them a round takes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from rehearsal import make_study, run_study

from pipeline import Axis, Growth, PipelineError, Split
from pipeline.rescale import beyond_the_grid, cheapest, learn, most_telling
from pipeline.study import NEWEST_ROUND

TARGET = "parameters=1e5, dataset_size=1e5, step=512"


def growing(**changes):
    growth = Growth(axes={"parameters": 2, "dataset_size": 4}, target=TARGET, budget="1cpu-hours")
    return make_study(**{"split": Split(held_out=NEWEST_ROUND), "growth": growth, **changes})


def sizes(candidates) -> set[tuple[int, int]]:
    return {(one.settings["parameters"], one.settings["dataset_size"]) for one in candidates}


def test_one_step_beyond_the_grid_in_every_axis_that_grows():
    found = beyond_the_grid(growing())
    assert sizes(found) == {(8_000, 2_000), (8_000, 8_000), (8_000, 32_000), (1_000, 32_000), (4_000, 32_000)}
    assert len(found) == 10, "each with both seeds"
    assert not {one.cell.id for one in found} & {cell.id for cell in growing().cells}


def test_an_axis_that_does_not_grow_keeps_its_values():
    growth = Growth(axes={"parameters": 2}, target=TARGET, budget="1cpu-hours")
    assert sizes(beyond_the_grid(growing(growth=growth))) == {(8_000, 2_000), (8_000, 8_000)}


def test_what_a_round_added_is_where_the_next_goes_on():
    grown = (({"parameters": 8_000, "dataset_size": 2_000, "seed": 0},),)
    found = sizes(beyond_the_grid(growing(grown=grown)))
    assert (16_000, 2_000) in found and (8_000, 8_000) in found
    assert (16_000, 32_000) in found and (1_000, 128_000) not in found


def test_the_studys_rule_bounds_its_growth():
    assert sizes(beyond_the_grid(growing(only="parameters <= 4000"))) == {(1_000, 32_000), (4_000, 32_000)}
    assert beyond_the_grid(growing(only="parameters <= 4000 and dataset_size <= 8000")) == []


def test_what_the_trainer_refuses_is_left_out():
    growth = Growth(axes={"learning_rate": 1e308}, target=TARGET, budget="1cpu-hours")
    axes = [Axis("learning_rate", (10.0, 100.0))]
    study = growing(axes=axes, growth=growth, hyperparameters=("learning_rate",))
    with pytest.raises(PipelineError, match="the trainer refuses every cell"):
        beyond_the_grid(study)


def test_an_axis_of_words_cannot_grow():
    growth = Growth(axes={"fault": 2}, target=TARGET, budget="1cpu-hours")
    with pytest.raises(PipelineError, match="'fault' cannot grow"):
        beyond_the_grid(growing(axes=[*growing().axes, Axis("fault", ("none",))], growth=growth))


def test_the_cheapest_are_taken_as_far_as_the_budget_goes():
    candidates = [replace(one, cost=cost) for one, cost in zip(beyond_the_grid(growing()), range(1, 11), strict=True)]
    chosen = cheapest(candidates[::-1], budget=6.5)
    assert [one.cost for one in chosen.chosen] == [1, 2, 3] and chosen.cost == 6
    assert len(cheapest(candidates, budget=1e9).chosen) == 10
    assert cheapest(candidates, budget=6).cost == 6, "to the last of it"


@pytest.fixture
def measured(store):
    study = growing()
    run_study(study, store)
    learnt = learn(study, store, [TARGET])
    return study, store, learnt.knowledge, learnt.fits["cf"]


def test_the_most_telling_narrow_the_forecast_and_keep_to_the_budget(measured):
    study, store, known, asked = measured
    candidates = [replace(one, cost=float(one.settings["parameters"])) for one in beyond_the_grid(study)]
    choice = most_telling(study, asked, candidates, budget=20_000)
    assert choice.chosen and choice.cost <= 20_000
    assert choice.design.before == pytest.approx(known.laws["cf"].said[0].half)
    assert choice.design.after < choice.design.before


def test_a_cell_that_is_under_way_is_not_paid_for_twice(measured):
    study, store, _, asked = measured
    candidates = [replace(one, cost=1.0) for one in beyond_the_grid(study)]
    alone = most_telling(study, asked, candidates, most=1)
    (first,) = alone.chosen
    others = [one for one in candidates if one is not first]
    with_it = most_telling(study, asked, others, most=1, pending=[first.cell])
    assert with_it.design.before == pytest.approx(alone.design.after)
    both = most_telling(study, asked, candidates, most=2)
    assert with_it.chosen[0].cell.id == both.chosen[1].cell.id


def test_what_is_known_is_written_down_and_read_back(measured):
    study, store, known, _ = measured
    assert type(known).from_json(json.loads(json.dumps(known.to_json()))) == known
    assert known.rows == len(store.table()) and np.isfinite(known.interval("cf"))
    assert known.interval("unsl") == np.inf
    silent = replace(known, laws={"cf": replace(known.laws["cf"], said=())})
    assert silent.interval("cf") == np.inf, "a law without a forecast of every target"
