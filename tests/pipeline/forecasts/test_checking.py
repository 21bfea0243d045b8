"""Scoring: what is due, what may not be scored, and the means by law, distance and date."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas
import pytest
from ledgers import keep_no_fit, law_forecast, make_entry
from rehearsal import make_study, run_study
from scipy import stats

from fitting import Metric
from pipeline import Axis, Growth, Split
from pipeline.errors import PipelineError
from pipeline.forecasts import Ledger, check, check_ledger, draw_check, forecast_held_out
from pipeline.forecasts.due import _excluded
from pipeline.study import NEWEST_ROUND


def rows(**columns):
    return pandas.DataFrame({"size": [8.0], "loss": [2.0], **columns})


def only(facts, name="laws"):
    (row,) = facts[name]
    return row


def test_errors_are_those_of_the_logarithm():
    facts = check([make_entry()], rows(loss=[2.0 * math.exp(0.05)])).to_json()
    row = only(facts)
    assert (facts["scored"], facts["blind"], facts["waiting"]) == (1, 1, 0)
    assert row["bias"] == row["rmsle"] == row["median_error"] == pytest.approx(0.05)
    assert row["held_50"] == 1 and row["held_90"] == 1
    assert row["interval_90"] == pytest.approx(2 * 0.1 * stats.t.ppf(0.95, 8))


@pytest.mark.parametrize("far, held", [(0.70, (1, 1)), (0.71, (0, 1)), (1.85, (0, 1)), (1.87, (0, 0))])
def test_intervals_hold_up_to_their_ends(far, held):
    """Of a t with 8 degrees of freedom the quartile is .7064 and the 95% quantile 1.8595."""
    row = only(check([make_entry()], rows(loss=[2.0 * math.exp(-0.1 * far)])).to_json())
    assert (row["held_50"], row["held_90"]) == held


def test_what_is_not_measured_waits_and_what_is_measured_twice_counts_twice():
    entry = make_entry(targets={"size": [8.0, 16.0, 32.0]}, laws=(law_forecast(median=[2.0, 2.0, 2.0]),))
    facts = check([entry], rows(size=[8.0, 8.0], loss=[2.0, 2.1])).to_json()
    assert (facts["scored"], facts["waiting"]) == (2, 2)


def test_a_metric_where_more_is_better_is_scored_in_its_loss():
    metric = Metric(name="accuracy", direction="higher", best=1.0)
    question = {**make_entry().question, "metric": {**vars(metric), "ceiling": "inf"}}
    entry = make_entry(question=question, laws=(law_forecast(median=[0.8]),))
    row = only(check([entry], rows(accuracy=[0.9])).to_json())
    assert row["bias"] == pytest.approx(math.log(0.1 / 0.2))
    facts = check([entry], rows(accuracy=[1.0])).to_json()
    assert facts["not_scored"] == {"the metric is at its bound, or was not measured": 1}


def test_blind_forecasts_are_kept_apart():
    entry = make_entry(targets={"size": [8.0, 16.0]}, laws=(law_forecast(median=[2.0, 3.0]),), blind=[True, False])
    facts = check([entry], rows(size=[8.0, 16.0], loss=[2.0, 2.0])).to_json()
    assert only(facts)["rmsle"] == 0.0
    assert only(facts, "laws_not_blind")["bias"] == pytest.approx(math.log(2 / 3))


def test_skill_is_the_part_of_the_simplest_laws_crps_that_is_saved():
    simple, rich = law_forecast("m1", [2.0], coefficients=2), law_forecast("unsl", [2.1], coefficients=9)
    facts = check([make_entry(laws=(rich, simple))], rows(loss=[2.1])).to_json()
    by_law = {row["law"]: row for row in facts["laws"]}
    assert facts["simplest"] == "m1"
    assert by_law["m1"]["skill"] == pytest.approx(0.0)
    assert by_law["unsl"]["skill"] == pytest.approx(1 - by_law["unsl"]["crps"] / by_law["m1"]["crps"])
    assert by_law["unsl"]["skill"] > 0


def test_skill_compares_only_what_both_foretold():
    """The simplest law was asked once, about an easy target; the other twice."""
    first = make_entry(number=1, laws=(law_forecast("m1", [2.0]), law_forecast("unsl", [2.0], coefficients=9)))
    second = make_entry(number=2, targets={"size": [16.0]}, laws=(law_forecast("unsl", [9.0], coefficients=9),))
    facts = check([first, second], rows(size=[8.0, 16.0], loss=[2.0, 2.0])).to_json()
    assert {row["law"]: row["skill"] for row in facts["laws"]} == {"m1": pytest.approx(0), "unsl": pytest.approx(0)}


def test_scores_by_distance_and_by_date():
    sizes = [2.0, 5.0, 16.0, 400.0]
    entries = [
        make_entry(number=n, time=f"2026-11-2{n}T10:00:00.000000Z", targets={"size": [size]})
        for n, size in enumerate(sizes, 1)
    ]
    facts = check(entries, rows(size=sizes, loss=[2.0] * 4)).to_json()
    assert [row["distance"] for row in facts["by_distance"]] == ["inside", "1-2x", "2-4x", "beyond 10x"]
    assert [row["date"] for row in facts["by_date"]] == ["2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24"]
    assert sum(row["forecasts"] for row in facts["by_distance"]) == 4


def test_reliability_and_pit_are_of_blind_forecasts():
    errors = np.linspace(-0.3, 0.3, 50)
    entry = make_entry(targets={"size": list(range(10, 60))}, laws=(law_forecast(median=[2.0] * 50),))
    facts = check([entry], rows(size=range(10, 60), loss=2.0 * np.exp(errors))).to_json()
    assert sum(facts["pit"]["cf"]) == 50
    shares = facts["reliability"]["cf"]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx((np.abs(errors) <= 0.1 * stats.t.ppf(0.975, 8)).mean())


def test_a_studys_forecasts_are_due_when_its_held_out_cells_have_run(store):
    study = make_study()
    run_study(study, store, watch=lambda driver: None)
    forecast_held_out(study, store)
    facts = check_ledger(store, store.table(), study=study).to_json()
    assert (facts["scored"], facts["waiting"], facts["not_scored"]) == (24, 0, {})
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"split": Split(held_out="parameters > 3000")}, "split"),
        ({"split": Split(held_out="parameters > 2000", excluded={"early": "step < 20"})}, "excluded"),
        ({"metric": Metric(name="loss", floor=0.1)}, "metric"),
        ({"inputs": ("parameters", "step")}, "inputs"),
    ],
)
def test_a_changed_question_is_named_and_not_scored(store, changes, what):
    study = make_study()
    run_study(study, store)
    forecast_held_out(study, store)
    facts = check_ledger(store, store.table(), study=make_study(**changes)).to_json()
    assert facts["scored"] == 0
    assert facts["not_scored"] == {f"the question changed: {what}": 24}


def test_a_changed_evaluation_set_is_named_and_not_scored(store, monkeypatch):
    study = make_study()
    run_study(study, store)
    forecast_held_out(study, store)
    monkeypatch.setattr(type(study.loaded_trainer), "evaluation_fingerprint", lambda self, config: "another set")
    facts = check_ledger(store, store.table(), study=make_study()).to_json()
    assert facts["scored"] == 0
    assert facts["not_scored"] == {"the evaluation set changed": 24}


def test_a_measurement_that_a_rule_leaves_out_is_named_and_not_scored(store):
    """A run that diverged is no measurement of what was foretold, nor is a point that a rule on the metric drops."""
    axes = [*make_study().axes, Axis("learning_rate", (0.01, 2.0))]
    study = make_study(axes=axes, split=Split(held_out="parameters > 2000", excluded={"bad": "loss > 3.3"}))
    outcome = run_study(study, store)
    assert outcome.diverged == 8
    forecast_held_out(study, store)
    table = store.table()
    held_out = table[table.parameters > 2000]
    diverged = held_out.status == "diverged"
    bad = ~diverged & (held_out.loss > 3.3)
    facts = check_ledger(store, table, study=study).to_json()
    assert bad.sum() > 0
    assert facts["not_scored"] == {"excluded: diverged": diverged.sum(), "excluded: bad": bad.sum()}
    assert facts["scored"] == (~diverged & ~bad).sum()


def test_a_rule_may_speak_of_rounds():
    growth = Growth(axes={"parameters": 2}, target="parameters=1e5, dataset_size=1e5, step=512", budget="1cpu-hours")
    study = make_study(growth=growth, split=Split(held_out=NEWEST_ROUND, excluded={"the grid": "round == 0"}))
    measured = pandas.DataFrame({"cell": [study.cells[0].id], "status": "done"})
    assert list(_excluded(study, measured)) == ["the grid"] and list(_excluded(study, measured[:0])) == []


def test_measurements_without_the_metric_are_refused_in_words():
    with pytest.raises(PipelineError, match="no column 'loss'; did you mean 'los'"):
        check([make_entry()], rows().rename(columns={"loss": "los"}))


def test_a_ledger_that_does_not_hold_is_not_scored(store):
    study = make_study()
    keep_no_fit(store.folder)
    with pytest.raises(PipelineError, match="no forecast of rehearsal was written down yet"):
        check_ledger(store, store.table(), study=study)
    for n in range(2):
        Ledger(store.folder).append(make_entry(fingerprint=str(n)))
    store.folder.remove("ledger/00000001.json")
    checked = check_ledger(store, rows(), study=None)
    assert len(checked.scored) == 0 and "missing" in checked.faults[0]


def test_the_figure_is_an_svg_that_does_not_change(tmp_path):
    facts = check([make_entry()], rows()).to_json()
    draw_check(facts, str(tmp_path / "a.svg"))
    draw_check(facts, str(tmp_path / "b.svg"))
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text() and "Reliability" in text and ">cf<" in text
    with pytest.raises(PipelineError, match="nothing to draw"):
        draw_check(check([make_entry()], rows(size=[9.0])).to_json(), str(tmp_path / "c.svg"))
    with pytest.raises(PipelineError, match="name another file"):
        draw_check(facts, str(tmp_path / "none" / "c.svg"))
