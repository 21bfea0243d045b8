"""The report's facts: true, complete, JSON that its own schema describes, and nothing where there is nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import jsonschema
import numpy as np
import pandas as pd
import pytest
from reported import FEW, HOSTILE, analysis_of, fitted, make_study, records_of

from fitting import Comparison, Metric
from pipeline import Axis, Split
from pipeline.analysis import divide
from pipeline.report import Facts, study_facts
from pipeline.report.facts import Error
from pipeline.report.schema import schema
from pipeline.report.slices import slices
from pipeline.report.tasks import MOST_POINTS


def test_facts_are_json_of_their_schema_and_come_back(whole, facts):
    for one in (facts, whole):
        value = json.loads(json.dumps(one.to_json(), allow_nan=False))
        jsonschema.validate(value, schema(Facts))
        assert Facts.from_json(value).to_json() == value
    assert value["format"] == "unsl-report/2"


def test_the_schema_refuses_what_is_no_fact(facts):
    described = schema(Facts)
    for wrong in (facts.to_json() | {"surprise": 1}, {"name": "x"}, facts.to_json() | {"tasks": "none"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, described)


def test_what_a_study_lacks_is_absent(facts):
    value = facts.to_json()
    assert not {"ledger", "rounds"} & value.keys()


def test_equal_input_gives_equal_facts(facts, study, points, analysis):
    import datetime

    shuffled = points.sample(frac=1, random_state=0, ignore_index=True)
    records = records_of(study, missing=1, diverged=1, failed=2)
    url = "https://tracker.example/lab/unsl/runs/rehearsal-{cell}"
    date = datetime.date(2026, 2, 3)
    again = study_facts(analysis, records=records, points=shuffled, date=date, run_url=url, spend=True)
    assert again == facts


def test_counts_and_scores_are_those_of_the_analysis(facts, analysis):
    (task,) = facts.tasks
    assert (task.fitted, task.held_out) == (len(analysis.divided.fitted), len(analysis.divided.held_out))
    assert task.excluded == {"warm-up": analysis.divided.excluded["warm-up"]}
    by_name = {one.law: one for one in analysis.comparisons}
    assert [law.law for law in task.laws] == sorted(by_name, key=lambda name: by_name[name].rmsle_held_out.value)
    for law in task.laws:
        score = by_name[law.law].rmsle_held_out
        assert law.error_held_out == Error(value=score.value, bar=score.error)
        assert sum(band.points for band in law.bands) == task.held_out
        # The bands' errors are the whole error, split.
        mean = sum(band.points * band.error**2 for band in law.bands) / task.held_out
        assert math.sqrt(mean) == pytest.approx(score.value, rel=1e-6)


def test_predictions_stand_beside_their_points(facts, analysis):
    (task,) = facts.tasks
    best = next(one.fit for one in analysis.comparisons if one.law == task.best.law)
    columns = {name: np.array(values) for name, values in task.points.columns.items()}
    np.testing.assert_allclose(task.best.predicted, best.predict(columns), rtol=1e-5)
    forecast = best.forecast(columns, 0.9)
    np.testing.assert_allclose(task.best.high, forecast.high, rtol=1e-5)
    assert not task.laws[1].high, "one interval is drawn"


def test_the_interval_between_the_places_is_what_a_forecast_says(facts, analysis):
    """Linear here, to bound the spline of the page from both sides."""
    from scipy.interpolate import RegularGridInterpolator

    (task,) = facts.tasks
    interval = task.best.interval
    best = next(one.fit for one in analysis.comparisons if one.law == task.best.law)
    shape = [len(places) for places in interval.places]
    between = RegularGridInterpolator(
        [np.log(places) for places in interval.places], np.log(interval.half).reshape(shape)
    )
    random = np.random.default_rng(0)
    columns = {one.name: np.exp(random.uniform(np.log(one.low), np.log(one.high), 300)) for one in task.columns}
    forecast = best.forecast(columns, 0.9)
    half = np.log(forecast.high / forecast.low) / 2
    guessed = np.exp(between(np.stack([np.log(columns[name]) for name in interval.columns], axis=1)))
    assert np.median(np.abs(np.log(guessed / half))) < 0.05
    reach = {
        name: places[-1] / column.high
        for name, places, column in zip(interval.columns, interval.places, task.columns, strict=True)
    }
    assert reach == pytest.approx({"parameters": 4, "dataset_size": 4, "step": 4, "learning_rate": 1})


def test_cells_are_counted_by_state_and_the_urgent_come_first(facts):
    cells = facts.cells
    assert cells.states == {"diverged": 1, "done": 44, "failed": 2, "not run": 1}
    assert cells.planned == 48 and cells.flops == pytest.approx(4.7e12)
    assert [row.state for row in cells.rows[:4]] == ["failed", "failed", "diverged", "done"]
    assert cells.rows[0].message == HOSTILE
    assert cells.rows[0].url.endswith(f"/runs/rehearsal-{cells.rows[0].id}")
    assert {one.device: one.cells for one in cells.devices} == {"cpu": 47}
    assert [one.command for one in facts.next] == ["unsl status rehearsal --failed", "unsl run rehearsal"]


def test_learning_curves_are_whole_and_carry_their_cell(facts, points, study):
    held_out = {cell.id for cell in study.cells if study.held_out_share(cell) == 1}
    assert {one.cell for one in facts.cells.curves if one.held_out} == held_out & {
        one.cell for one in facts.cells.curves
    }
    assert 0 < sum(one.held_out for one in facts.cells.curves) < len(facts.cells.curves)
    for one in facts.cells.curves:
        part = points[points["cell"] == one.cell]
        assert one.step[0] == part["step"].min() and one.step[-1] == part["step"].max()
        assert list(one.step) == sorted(one.step)


def test_a_law_that_does_not_suit_keeps_its_row_and_its_reason(analysis):
    lame = Comparison(law="lame", fit=None, reason=HOSTILE, rmsle_fit=None, rmsle_held_out=None, seconds=0.0)
    (task,) = study_facts(replace(analysis, comparisons=(lame, *analysis.comparisons))).tasks
    assert task.laws[-1].law == "lame" and task.laws[-1].reason == HOSTILE
    assert task.laws[-1].candidates == 0 < task.laws[0].candidates
    (task,) = study_facts(replace(analysis, comparisons=(lame,))).tasks
    assert task.best is None and task.slices and not task.slices[0].lines[0].median


def test_a_score_that_is_no_number_ranks_last_and_is_null(analysis):
    from fitting import Rmsle

    best, *others = sorted(analysis.comparisons, key=lambda one: one.rmsle_held_out.value)
    broken = replace(best, rmsle_held_out=Rmsle(value=math.nan, error=math.nan, points=9))
    facts = study_facts(replace(analysis, comparisons=(broken, *others)))
    assert facts.tasks[0].laws[-1].law == best.law
    value = facts.to_json()
    json.dumps(value, allow_nan=False)
    jsonschema.validate(value, schema(Facts))


def test_several_tasks_have_a_part_each(analysis):
    facts = study_facts({"sort": analysis, "parity": analysis})
    assert [task.name for task in facts.tasks] == ["sort", "parity"]


def test_a_great_many_points_keep_their_shape(points):
    study = make_study(**FEW)
    many = pd.concat([points.assign(loss=points["loss"] * (1 + k / 1e4)) for k in range(150)], ignore_index=True)
    (task,) = study_facts(analysis_of(study, many)).tasks
    assert task.points.total > 25_000
    assert len(task.points.loss) <= MOST_POINTS
    assert set(task.points.held_out) == {True, False}
    assert all(len(line.x) <= 400 for one in task.slices for line in one.lines)
    assert max(task.points.loss) == pytest.approx(float(many[many["step"] >= 32]["loss"].max()), rel=1e-5)


def test_a_metric_of_which_more_is_better(points):
    metric = Metric(name="accuracy", direction="higher", best=1.0)
    mapped = points.assign(accuracy=1 - points["loss"] / 10)
    facts = study_facts(analysis_of(make_study(**FEW, metric=metric), mapped))
    assert (facts.metric.direction, facts.metric.best) == ("higher", 1.0)
    # Losses as laws see them: the page maps them back.
    assert max(facts.tasks[0].points.loss) < 0.9


def test_hidden_columns_are_held_fixed_in_a_slice():
    study = make_study(
        axes=[Axis("parameters", (1000, 4000, 16000, 64000))],
        seeds=(0,),
        inputs=("step",),
        hyperparameters=(),
        split=Split(held_out="step > 128"),
        fixed={"steps": 4096},
    )
    (task,) = study_facts(analysis_of(study)).tasks
    (one,) = task.slices
    # The laws do not see parameters, but they differ: the slice must say which ones it shows.
    assert (dict(one.at), one.fitted, one.held_out) == ({"parameters": 64_000}, 4, 5)


def test_slices_are_exact_cells_with_both_kinds_of_points(analysis):
    shown = slices(analysis.divided, "parameters", most=2, most_levels=4)
    assert len(shown) == 2
    for one in shown:
        names = [name for name in ("dataset_size", "step", "learning_rate") if name != one.by]
        assert set(one.at) == set(names)
        for name in names:
            assert set(one.rows[name]) == {one.at[name]}
        assert set(one.rows["held_out"]) == {False, True}


def test_a_column_that_does_not_vary_is_named(points):
    one = points[(points["learning_rate"] == 0.003) & (points["parameters"] == 4000)]
    (task,) = study_facts(analysis_of(make_study(split=Split(held_out="step > 100")), one)).tasks
    assert task.idle == ("parameters", "learning_rate")


def test_the_fingerprint_of_the_data_is_of_the_numbers_alone(study, points):
    first = study_facts(fitted(study, divide(study, points))).provenance.data
    again = study_facts(fitted(study, divide(study, points.sample(frac=1, random_state=1)))).provenance.data
    other = study_facts(fitted(study, divide(study, points.assign(loss=points["loss"] * 1.001)))).provenance.data
    assert first == again != other


def test_the_question_and_the_file_are_those_of_the_study():
    from pipeline.study import load_study

    study = load_study("quickstart")
    from pipeline.report.gather import _docstring, _source

    assert _docstring(study).startswith("How do width, data")
    assert "STUDY = Study(" in _source(study)
    assert _docstring(make_study(seeds=(3, 4, 5))) == ""


def test_one_point_per_cell_and_one_law(points):
    last = points[points["step"] == points["step"].max()].drop_duplicates("cell")
    study = make_study(inputs=("parameters",), hyperparameters=(), split=Split(held_out="parameters > 20000"))
    facts = study_facts(analysis_of(study, last, laws=("m2",)), points=last, records=records_of(study))
    jsonschema.validate(facts.to_json(), schema(Facts))
    assert all(len(one.step) == 1 for one in facts.cells.curves)


def test_points_of_no_use_are_no_curve(study, points, analysis):
    broken = points.assign(loss=np.where(points["cell"] == study.cells[0].id, np.nan, points["loss"]))
    facts = study_facts(analysis, points=broken, records=records_of(study))
    assert study.cells[0].id not in {one.cell for one in facts.cells.curves}
    nothing = study_facts(analysis, points=points.assign(loss=np.nan), records=records_of(study))
    assert nothing.cells.curves == ()
