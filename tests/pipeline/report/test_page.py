"""The page is one file that needs nothing else, says what the facts say, and survives whatever a study can be."""

from __future__ import annotations

import html.parser
import json
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reported import FEW, HOSTILE, QUICK, analysis_of, fitted, make_study, records_of

from fitting import Comparison, Metric, fit
from pipeline import Axis, PipelineError, Split
from pipeline.analysis import divide
from pipeline.report import panels, render, study_facts, write_report
from pipeline.report.drawing import MetricScale
from pipeline.report.equation import equation
from pipeline.report.facts import Band, LawFacts
from pipeline.report.page import hero_slice, weakness
from pipeline.report.shell import _templates
from pipeline.report.words import duration, exact, log_ticks, number, numbers, times
from pipeline.study import point_columns
from trainers import load_trainer

VOID = ("meta", "br", "input")


def unbalanced(page: str) -> list[str]:
    """Elements that are opened and not closed, or the other way round."""
    open_tags, wrong = [], []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in VOID:
                open_tags.append(tag)

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            if not open_tags or open_tags.pop() != tag:
                wrong.append(tag)

    Reader().feed(page)
    return wrong + open_tags


def without_scripts(page: str) -> str:
    """What a reader without JavaScript has."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def facts_in(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)[1])


def language_study():
    """A study of the language trainer with imagined losses: nothing is trained."""
    study = make_study(
        trainer="language",
        fixed={"steps": 256, "head_size": 16, "depth": 1},
        axes=[Axis("width", (16, 32, 64)), Axis("dataset_size", (4_096, 16_384)), Axis("batch_size", (1_024, 2_048))],
        hyperparameters=("batch_size",),
        split=Split(held_out="dataset_size > 10000"),
    )
    rows = []
    for cell in study.cells:
        loss = 1 + 20 * cell.columns["parameters"] ** -0.3 + 9 * (point_columns(cell)["step"]) ** -0.5
        head = {"cell": cell.id, "status": "done", "trainer": cell.trainer, "version": cell.version, **cell.columns}
        rows.append(pd.DataFrame(head | point_columns(cell) | {"loss": loss, "seconds": 1.0}))
    return study, pd.concat(rows, ignore_index=True)


def test_the_file_needs_nothing_else_and_is_the_same_twice(facts, page, tmp_path):
    write_report(facts, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    still = without_scripts(page)
    assert not re.findall(r"//cdn|@import|<link|<iframe|url\((?!#)", still)
    for target in re.findall(r"(?:src|href)=[\"']?([^\"'> ]+)", still):
        assert target.startswith(("#", "data:", "https://tracker.example/")), target
    assert "default-src &#39;none&#39;" in page
    assert page.count("<script>") == 3, "each library once, and our own script"
    assert len(page) < 3_000_000
    assert unbalanced(page) == []


def test_references_within_figures_have_one_target(page):
    still = without_scripts(page)
    for name in set(re.findall(r"url\(#([^)]+)\)", still)) | set(re.findall(r'href="#([^"]+)"', still)):
        assert f'id="{name}"' in still


def test_the_page_carries_its_facts(facts, page):
    assert facts_in(page) == json.loads(json.dumps(facts.to_json()))


def test_every_law_has_its_row_and_the_best_is_bold(analysis, page):
    still = without_scripts(page)
    for one in analysis.comparisons:
        assert str(one.rmsle_fit) in still and str(one.rmsle_held_out) in still
    best = min(analysis.comparisons, key=lambda one: one.rmsle_held_out.value)
    assert re.search(r'<tr class="best"><td>([^<]+)', still)[1] == best.law
    assert f"<b>{best.law}</b> forecasts the" in still and "<dt>held-out RMSLE</dt>" in still


def test_provenance_says_what_was_asked_and_left_out(analysis, page):
    divided = analysis.divided
    assert f"{len(divided.fitted):,} fitted, {len(divided.held_out):,} held out" in page
    assert f"{divided.excluded['warm-up']:,} warm-up (<code>step &lt; 32</code>)" in page
    assert "parameters &gt; 20000 or step &gt; 200" in page
    assert "2026-02-03" in page and "unsl report rehearsal" in page


def test_a_question_that_was_changed_too_late_is_said_first(analysis):
    changed = replace(analysis, question_changes=["split: step > 100 -> step > 200"])
    text = without_scripts(render(study_facts(changed)))
    assert "changed after something had been measured: split: step &gt; 100 -&gt; step &gt; 200" in text


def test_numbers_are_called_what_the_trainer_counts(page, monkeypatch):
    assert "Unique training examples" in page
    text = without_scripts(render(study_facts(analysis_of(*language_study(), laws=("m2",)))))
    assert "Unique training tokens" in text and "Batch size (tokens a step)" in text
    assert "unique training tokens" in text, "the figures' axes say it too"
    assert "examples" not in text
    monkeypatch.delattr(type(load_trainer("language")), "units")
    text = without_scripts(render(study_facts(analysis_of(*language_study(), laws=("m2",)))))
    assert "<h3>Dataset size</h3>" in text and "tokens" not in text and "unique training" not in text


def test_what_a_user_typed_is_escaped(points):
    name = f"loss {HOSTILE}"
    split = Split(held_out="parameters > 20000", excluded={HOSTILE: "step < 32"})
    study = make_study(metric=Metric(name=name), split=split)
    named = points.rename(columns={"loss": name})
    divided = divide(study, named)
    # No trainer has such a column, so the hostile name is given to what the laws read behind the study's back.
    object.__setattr__(study, "inputs", ("parameters", "dataset_size", HOSTILE))
    object.__setattr__(divided.question, "inputs", study.inputs)
    object.__setattr__(divided, "rows", divided.rows.rename(columns={"step": HOSTILE}).assign(step=1))
    for part in ("fitted", "held_out"):
        table = getattr(divided, part)
        inputs = {HOSTILE if k == "step" else k: v for k, v in table.inputs.items()}
        object.__setattr__(divided, part, replace(table, inputs=inputs))
    analysis = fitted(study, divided, ("m2", "cf"))
    lame = Comparison(law=HOSTILE, fit=None, reason=HOSTILE, rmsle_fit=None, rmsle_held_out=None, seconds=0.0)
    facts = study_facts(
        {HOSTILE: replace(analysis, comparisons=[*analysis.comparisons, lame]), "other": analysis},
        records=records_of(study, failed=3),
        points=named,
        run_url="https://x.example/'\"><script>alert(1)</script>{cell}",
        command=HOSTILE,
        asked=HOSTILE,
    )
    facts = replace(facts, question=HOSTILE, description=HOSTILE, alarms=(HOSTILE,))
    text = render(facts)
    still = without_scripts(text)
    assert "<script" not in still and "-->" not in still
    assert still.count("&lt;script&gt;") > 20
    assert "49" not in re.sub(r"\d+\.\d+|\d{3,}", "", re.search("<h1>.*?</h1>", still)[0]), "no template runs in it"
    assert unbalanced(text) == []
    assert facts_in(text) == json.loads(json.dumps(facts.to_json()))
    for title, panel in panels(facts).items():
        assert "<script" not in panel and unbalanced(panel) == [], title


def test_alarms_are_said_before_all_else(facts, page):
    assert "Alarm" not in without_scripts(page)
    still = without_scripts(render(replace(facts, alarms=("round 3: it drifts",))))
    assert still.index("round 3: it drifts") < still.index("<h1>")


def test_parts_that_a_study_has_are_shown_and_others_leave_no_trace(whole_page, page):
    for anchor in ("ledger", "rounds"):
        assert f'id="{anchor}"' not in page and f'href="#{anchor}"' not in page
    text = whole_page
    for anchor in ("ledger", "allocation", "rounds"):
        assert text.count(f'id="{anchor}"') == 1 == text.count(f'href="#{anchor}"')
    still = without_scripts(text)
    assert "2.4 to 2.6" in still and "inside" in still and "not yet" in still
    assert "<code>192 * parameters * step</code> FLOPs" in still
    assert "narrows 90% from ±8% to ±5%" in still
    assert unbalanced(text) == []


def test_nothing_held_out(points):
    study = make_study(**FEW, split=Split(held_out="parameters > 1e9"))
    text = without_scripts(render(study_facts(analysis_of(study, points))))
    assert "nothing was held out" in text and "The split holds nothing out" in text and "0 held out" in text
    assert "<dt>fitted RMSLE</dt>" in text


def test_no_law_could_be_fitted(analysis):
    lame = Comparison(law="lame", fit=None, reason="no", rmsle_fit=None, rmsle_held_out=None, seconds=0.0)
    text = render(study_facts(replace(analysis, comparisons=(lame,))))
    assert "No law could be fitted" in text and unbalanced(text) == []
    assert 'id="explorer"' not in text and 'id="residuals"' not in text


@pytest.mark.parametrize("metric", [Metric(name="accuracy", direction="higher", best=1.0), Metric(direction="higher")])
def test_a_metric_of_which_more_is_better_is_shown_as_the_user_knows_it(points, metric):
    mapped = points.assign(accuracy=1 - points["loss"] / 10, loss=1 / points["loss"])
    text = render(study_facts(analysis_of(make_study(**FEW, metric=metric), mapped)))
    assert "higher is better" in text
    if metric.best:
        # Mapped losses of .12 to .3 are accuracies of .7 to .88.
        assert ">0.75</text>" in text and ">0.25</text>" not in text


def test_columns_that_form_no_grid_are_drawn_whole(points):
    random = np.random.default_rng(0)
    scattered = points.assign(
        parameters=random.integers(1000, 64000, len(points)), dataset_size=random.integers(1000, 100000, len(points))
    )
    text = render(study_facts(analysis_of(make_study(split=Split(held_out="parameters > 40000")), scattered)))
    assert "they form no grid" in text and unbalanced(text) == []


def test_a_place_that_cannot_be_written_is_one_clear_error(facts, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="cannot be written"):
        write_report(facts, tmp_path / "file" / "report.html")


def test_several_tasks(analysis):
    facts = study_facts({f"task {k}": analysis for k in range(3)})
    text = without_scripts(render(facts))
    assert "forecasts best on 3 of 3 tasks" in text
    assert text.count("<h3>Wins over tasks</h3>") == 1
    assert all(f"<h3>task {k}</h3>" in text for k in range(3))


def test_panels_are_the_still_figures_by_name(facts):
    made = panels(facts)
    assert set(made) == {
        "predictions", "along_parameters", "along_dataset_size", "along_step", "along_learning_rate", "residuals",
        "allocation",
    }  # fmt: skip
    for panel in made.values():
        assert panel.count("<svg") == 1 and "<script" not in panel and unbalanced(panel) == []


def test_the_hero_shows_lines_that_start_fitted_and_go_on_held_out(facts):
    (task,) = facts.tasks
    chosen = task.slices[hero_slice(task)]
    assert any(set(line.held_out) == {True, False} for line in chosen.lines)
    assert {mark for line in chosen.lines for mark in line.held_out} == {True, False}
    assert hero_slice(replace(task, slices=())) is None


def test_where_a_law_fails_is_said(facts):
    (task,) = facts.tasks
    bands = (
        Band(low=1, high=1, points=5, error=0.01, holds=1.0, bias=0.0),
        Band(low=2, high=4, points=5, error=0.2, holds=0.5, bias=-0.15),
    )
    law = LawFacts(law="cf", status="converged", seconds=1.0, bands=bands)
    assert weakness(task, law) == "off by ±22% 2–4× outside, 15% too high on average"
    assert weakness(task, replace(law, bands=bands[:1])) == "off by ±1% inside the fitted range, to either side"
    assert weakness(task, replace(law, bands=())) == ""


def test_an_equation_is_mathematics_with_its_numbers():
    lines = equation("cf", {"E": 1.69, "A_N": 406.4, "alpha_N": 0.34, "A_D": 410.7, "alpha_D": 0.28}, ("N", "D"), "")
    assert len(lines) == 1
    for text in ("1.69", "406", "411", "0.34", "0.28", '"column">N<', '"column">D<'):
        assert text in lines[0]
    lines = equation("m2", {"e": 1e-9, "b": 2e12, "c": 0.5}, (HOSTILE,), f"in {HOSTILE}")
    assert "<script" not in lines[0] and "<mn>10</mn>" in lines[0]
    bend = {"a": 1.0, "b": 2.0, "c0": 0.3, "c1": 0.2, "d1": 100.0, "f1": 0.25}
    (line,) = equation("bnsl", bend, ("N",), "in N, 1 break (faster)")
    assert "<mn>100</mn>" in line and "<mn>4</mn>" in line and "<mn>0.05</mn>" in line, "(1 + (N/d)^(1/f))^(-c f)"
    assert equation("of mine", {"a": 1.0}, ("N",), "") == ()
    assert equation("cf", {"other": 1.0}, ("N",), "") == (), "a law of the same name with other coefficients"


@pytest.mark.parametrize("law", ["unsl", "a3", "bnsl", "m1"])
def test_equations_of_fits_are_balanced(law, analysis):
    made = fit(law, analysis.divided.fitted, recipe=QUICK)
    lines = equation(law, made.coefficients, list(analysis.divided.fitted.columns), made.structure)
    assert lines
    for line in lines:
        assert unbalanced(line) == [] and line.startswith("<math")


@pytest.mark.parametrize(
    ("low", "high"), [(0.31, 0.75), (0.25, 1.9), (1e3, 3.2e4), (1e-5, 1e9), (0.3249, 0.3251), (5, 5), (265, 8449)]
)
def test_ticks_are_few_and_inside(low, high):
    ticks = log_ticks(low, high)
    assert (3 if high > low else 0) <= len(ticks) <= 8
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
    assert len(set(numbers(ticks))) == len(ticks)


def test_over_less_than_a_factor_of_five_ticks_stand_in_equal_steps():
    assert len(set(np.diff(log_ticks(2, 8)))) == 1 < len(log_ticks(2, 8)) - 1
    assert log_ticks(2, 12) == [2, 3, 5, 7, 10]


def test_numbers_are_short_and_true():
    assert [number(v) for v in (0.003, 250, 1000, 16384, 999_999, 7e9, 2e-5, 3e18)] == [
        "0.003", "250", "1k", "16.4k", "1M", "7B", "2e-5", "3e18",
    ]  # fmt: skip
    assert [exact(v) for v in (16384, 0.003, True, "adam", np.int64(5))] == ["16,384", "0.003", "True", "adam", "5"]
    assert [duration(v) for v in (0, 4.25, 100, 5400, 3e5, 7.8e7)] == [
        "0 s", "4.25 s", "1.7 min", "1.5 h", "3.5 days", "903 days",
    ]  # fmt: skip
    assert [times(v) for v in (1.0, 1.12, 3.14159)] == ["±0%", "±12%", "×÷3.14"]


def test_a_count_has_all_its_digits_below_a_hundred_thousand():
    count = _templates().filters["count"]
    assert [count(value) for value in (7, 99_999, 100_000, 2_345_678)] == ["7", "99,999", "100k", "2.35M"]


def test_a_metric_scale_places_better_values_where_they_belong():
    higher = MetricScale(metric=Metric(name="accuracy", direction="higher", best=1.0))
    places, labels = higher.ticks(-math.log(0.5), -math.log(0.01))
    assert {"0.5", "0.9", "0.95", "0.99"} <= set(labels)
    assert higher.place(np.array(0.01)) > higher.place(np.array(0.5))
    assert places[labels.index("0.99")] == pytest.approx(higher.place(np.array(0.01)))
    floored = MetricScale(metric=Metric(floor=0.325))
    assert "0.425" in floored.ticks(math.log(0.01), math.log(0.5))[1]
