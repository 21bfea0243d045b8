"""Studies: the grid, the identity of its cells, and every way to describe one wrongly."""

from __future__ import annotations

import importlib

import pytest
from rehearsal import make_study

from pipeline import Axis, Metric, PipelineError, Split, load_study
from pipeline.study import identity, known_studies


def test_the_grid_is_the_product_of_axes_and_seeds():
    study = make_study()
    assert len(study.cells) == 2 * 2 * 2
    assert {(c.config["parameters"], c.config["dataset_size"], c.config["seed"]) for c in study.cells} == {
        (n, d, s) for n in (1_000, 4_000) for d in (2_000, 8_000) for s in (0, 1)
    }


def test_fields_can_share_an_axis():
    study = make_study(axes=[Axis("parameters, dataset_size", ((1_000, 2_000), (4_000, 8_000)))])
    assert {(c.config["parameters"], c.config["dataset_size"]) for c in study.cells} == {(1_000, 2_000), (4_000, 8_000)}


def test_only_keeps_part_of_the_grid():
    study = make_study(only="dataset_size >= 2 * parameters")
    assert {(c.config["parameters"], c.config["dataset_size"]) for c in study.cells} == {
        (1_000, 2_000),
        (1_000, 8_000),
        (4_000, 8_000),
    }


def test_identity_is_of_literals_alone():
    assert identity("oracle", 1, {"a": 1, "b": 0.5}) == identity("oracle", 1, {"b": 0.5, "a": 1})
    assert identity("oracle", 1, {"a": 1}) != identity("oracle", 2, {"a": 1})
    assert identity("oracle", 1, {"a": 1}) != identity("oracle", 1, {"a": 2})
    integer, real = (make_study(fixed={"steps": 512, "learning_rate": 1 * one}) for one in (0.5, 0.50))
    assert [c.id for c in integer.cells] == [c.id for c in real.cells]


def test_identity_does_not_move_between_releases():
    """A changed hash would run every finished cell again."""
    assert identity("parity", 1, {"width": 8, "learning_rate": 0.003}) == "e03ae73749d61c38"


def test_a_whole_number_names_the_same_cell_in_a_float_field():
    one, other = (make_study(fixed={"steps": 512, "ceiling": value}) for value in (4, 4.0))
    assert [cell.id for cell in one.cells] == [cell.id for cell in other.cells]


@pytest.mark.parametrize(
    "split, shares",
    [("parameters > 2000", {0.0, 1.0}), ("step > 200", {2 / 6}), ("parameters > 2000 or step > 200", {2 / 6, 1.0})],
)
def test_the_split_is_known_before_anything_runs(split, shares):
    study = make_study(split=Split(held_out=split))
    assert {study.held_out_share(cell) for cell in study.cells} == shares


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"axes": [Axis("paramters", (1,))]}, "axis 'paramters'.*did you mean 'parameters'"),
        ({"fixed": {"stepz": 1}}, "fixed 'stepz'.*did you mean 'steps'"),
        ({"fixed": {"parameters": 5}}, "sets parameters twice"),
        ({"trainer": "oracel"}, "did you mean 'oracle'"),
        ({"axes": [Axis("parameters", ())]}, "no cells"),
        ({"axes": [Axis("parameters", (5, 5))]}, "same cell twice"),
        ({"axes": [Axis("parameters", (0,))]}, "parameters = 0 must be at least 1 .in the cell with parameters 0"),
        ({"axes": [Axis("parameters", ("many",))]}, "parameters = 'many' must be int"),
        ({"axes": [Axis("parameters", (1.5,))]}, "parameters = 1.5 must be int"),
        ({"axes": [Axis("learning_rate", (float("nan"),))]}, "learning_rate = nan must be finite"),
        ({"axes": [Axis("parameters, batch_size", ((1, 2, 3),))]}, "axis 'parameters, batch_size': .1, 2, 3.*2 values"),
        ({"seeds": ()}, "at least one seed"),
        ({"axes": [Axis("seed", (1, 2))]}, "in `seeds` and nowhere else"),
        ({"split": Split(held_out="width > 3")}, "held_out: unknown column 'width'"),
        ({"split": Split(held_out="parameters >")}, "held_out: cannot read"),
        ({"split": Split(held_out="__import__('os')")}, "held_out: .*not allowed"),
        ({"split": Split(held_out="step > 2", excluded={"early": "stp < 2"})}, "'early': 'stp'.*did you mean 'step'"),
        ({"inputs": ("parametres",)}, "input 'parametres'.*did you mean 'parameters'"),
        ({"only": "parameters < 0"}, "no cells"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(changes, message):
    with pytest.raises(PipelineError, match=message):
        _ = make_study(**changes).cells


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "../up", "a b", "x" * 65])
def test_a_name_cannot_leave_the_store(name):
    with pytest.raises(PipelineError, match="study name"):
        make_study(name=name)


@pytest.mark.parametrize("name", ["quikstart", "no-such-study", "../quickstart", "os"])
def test_an_unknown_study_is_named(name):
    with pytest.raises(PipelineError, match=f"there is no study '{name}'"):
        load_study(name)


def test_an_unknown_tier_is_named():
    with pytest.raises(PipelineError, match="study 'quickstart' has no tier 'gpu': it has no tiers"):
        load_study("quickstart", "gpu")


@pytest.mark.parametrize("name", known_studies())
def test_every_tier_unfolds_under_a_name_of_its_own(name):
    tiers = getattr(importlib.import_module(f"experiments.{name}"), "TIERS", {})
    studies = [load_study(name, tier) for tier in tiers]
    assert len({study.name for study in studies}) == len(studies)
    for study in studies:
        study.check()


@pytest.mark.parametrize("name", known_studies())
def test_every_study_unfolds(name):
    study = load_study(name)
    assert study.name.replace("-", "_") == name
    shares = [study.held_out_share(cell) for cell in study.cells]
    assert min(shares) < 1, "something to fit"
    assert max(shares) > 0 or study.growth, "something to forecast, if not before the first round"
    assert isinstance(study.metric, Metric)
