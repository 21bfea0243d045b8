"""A study that grows: what it may say, and how its cells and its split read with rounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rehearsal import make_study

from pipeline import Axis, Growth, PipelineError, Split
from pipeline.store import Asked
from pipeline.study import NEWEST_ROUND, larger, parse_until

TARGET = "parameters=1e5, dataset_size=1e5, step=512"


def growing(**changes):
    growth = {"axes": {"parameters": 2}, "target": TARGET, "budget": "1cpu-hours", **changes.pop("growth", {})}
    return make_study(**{"split": Split(held_out=NEWEST_ROUND), "growth": Growth(**growth), **changes})


def cell(parameters: int, dataset_size: int = 2_000, seed: int = 0) -> dict:
    return {"parameters": parameters, "dataset_size": dataset_size, "seed": seed}


def test_before_the_first_round_everything_is_fitted():
    study = growing()
    assert (study.newest, set(study.rounds.values())) == (1, {0})
    assert all(study.planned_points(one).held_out == 0 for one in study.cells)


def test_the_newest_round_is_held_out_and_nothing_else():
    study = growing(grown=((cell(8_000),), (cell(16_000), cell(16_000, seed=1))))
    held_out = {one.config["parameters"] for one in study.cells if study.planned_points(one).held_out}
    assert (study.newest, held_out) == (2, {16_000})
    for one in study.cells:
        points = study.planned_points(one)
        assert not (points.held_out and points.fitted), "a cell is on one side"
    assert [study.rounds[one.id] for one in study.cells[-3:]] == [1, 2, 2]


def test_the_question_reads_the_same_in_every_round():
    before, after = growing(), growing(grown=((cell(8_000),),))
    assert Asked.by(before).digest == Asked.by(after).digest
    assert Asked.by(before).question["growth"]["budget"] == "1cpu-hours"
    assert "growth" not in Asked.by(make_study()).question, "a study that does not grow asks what it asked"


def test_a_grown_cell_that_the_grid_has_by_now_is_the_grids():
    study = growing(grown=((cell(4_000), cell(8_000)),))
    assert len(study.cells) == 9 and study.rounds[study.build([cell(4_000)])[0].id] == 0


def test_a_grown_cell_that_only_drops_is_none():
    study = growing(grown=((cell(8_000), cell(16_000)),), only="parameters < 10000")
    assert max(one.config["parameters"] for one in study.cells) == 8_000


def test_rows_know_where_their_cells_stand():
    study = growing(grown=((cell(8_000),),))
    standing = study.standing([study.cells[0].id, study.cells[-1].id, "of another grid"])
    assert {name: values.tolist() for name, values in standing.items()} == {
        "in_grid": [1, 1, 0],
        "round": [0, 1, 0],
        "newest": [1, 1, 1],
    }
    assert make_study().standing(["x"]).keys() == {"in_grid"}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"growth": {"axes": {"width": 2}}}, "growth, axis 'width' is none of the study's"),
        ({"growth": {"axes": {}}}, "growth needs at least one axis"),
        ({"growth": {"axes": {"parameters": 1}}}, "factors must be at least 1"),
        ({"growth": {"axes": {"parameters": 0.5}}}, "factors must be at least 1"),
        ({"growth": {"axes": {"parameters": (2, 2)}}}, "give one factor"),
        ({"growth": {"rule": "gird"}}, "did you mean 'grid'"),
        ({"growth": {"law": "unsl"}}, "law 'unsl' is none of the study's"),
        ({"growth": {"target": " "}}, "growth needs a target"),
        ({"growth": {"until": "intervall <= 5%"}}, "did you mean 'interval'"),
        ({"growth": {"until": "interval"}}, "until 'interval'"),
        ({"split": Split(held_out="parameters > 2000")}, "must hold out the newest, as in held_out='round == newest'"),
    ],
)
def test_growth_that_makes_no_sense_is_named(changes, message):
    with pytest.raises(PipelineError, match=message):
        growing(**changes).check()


def test_a_trainer_with_a_field_of_that_name_cannot_grow(tmp_path):
    (tmp_path / "own.py").write_text(OWN_TRAINER)
    study = replace(growing(fixed={}), trainer="own.py:TRAINER", folder=str(tmp_path))
    with pytest.raises(PipelineError, match="'round' is a field of its trainer"):
        study.check()


OWN_TRAINER = """
import dataclasses
from trainers.oracle import Oracle, OracleConfig

@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(OracleConfig):
    round: int = 0

class Own(Oracle):
    name = "own"
    Config = Config

TRAINER = Own()
"""


@pytest.mark.parametrize(
    "text, interval, rounds, over",
    [
        ("interval <= 5%", 0.05, 0, True),
        ("interval <= 5%", 0.051, 0, False),
        ("rounds >= 3 or interval < 2.5%", 0.1, 3, True),
        ("rounds >= 3 or interval < 2.5%", 0.024, 0, True),
        ("", 0.0, 100, False),
    ],
)
def test_until(text, interval, rounds, over):
    assert Growth(axes={}, target="", budget="", until=text).is_over(interval=interval, rounds=rounds) is over


def test_a_share_may_be_written_as_such():
    assert parse_until("interval <= 5%").text == parse_until("interval <= 0.05").text


def test_the_next_value_of_an_axis():
    assert larger({"width": 6}, 1.5) == {"width": 9}
    assert larger({"width": 64, "depth": 2}, (2, 1)) == {"width": 128, "depth": 2}
    assert larger({"learning_rate": 0.1}, 3) == {"learning_rate": 0.3}
    assert isinstance(larger({"width": 3}, 1.5)["width"], int)


def test_fields_that_share_an_axis_grow_together():
    study = make_study(
        axes=[Axis("parameters, dataset_size", ((1_000, 2_000), (4_000, 8_000)))],
        split=Split(held_out=NEWEST_ROUND),
        growth=Growth(axes={"parameters, dataset_size": (4, 2)}, target=TARGET, budget="1cpu-hours"),
    )
    study.check()
