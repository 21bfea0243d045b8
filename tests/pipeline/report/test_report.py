"""The report is one file that needs nothing else, says what is true, and survives whatever a study can be."""

import datetime
import html.parser
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fitting import Comparison, Metric, Recipe, compare
from pipeline import Axis, PipelineError, Split, Study
from pipeline.analysis import Analysis, Divided, divide
from pipeline.report import render, write_report
from pipeline.report.drawing import MetricScale, exact, log_ticks, number, numbers
from pipeline.report.facts import headline
from pipeline.report.slices import slices
from pipeline.store import CellRecord
from pipeline.study import point_columns
from trainers import load_trainer
from trainers.contract import Point

QUICK = Recipe(ridges=(1e-3, 1e-6), own_ridges=(), starts=2, emphasis=(0.0,), budget=20)
"""Sound enough to be drawn, in a fraction of a second."""
FEW = {"inputs": ("parameters", "step"), "hyperparameters": ()}
HOSTILE = "<script>alert('x')</script> & \"--> $\\frac{1}$ _日本"


class NoDoor:
    """A context without checkpoints."""

    device = "cpu"

    def load(self, cell):
        return None

    def save(self, cell, checkpoint):
        pass

    def checkpoint_due(self):
        return False

    def should_stop(self):
        return False


def make_study(**changes) -> Study:
    settings = {
        "name": "rehearsal",
        "trainer": "oracle",
        "fixed": {"steps": 256},
        "axes": [
            Axis("parameters", (1000, 4000, 16000, 64000)),
            Axis("dataset_size", (1000, 10000, 100000)),
            Axis("learning_rate", (0.003, 0.03)),
        ],
        "seeds": (0, 1),
        "inputs": ("parameters", "dataset_size", "step"),
        "hyperparameters": ("learning_rate",),
        "metric": Metric(),
        "split": Split(held_out="parameters > 20000 or step > 200", excluded={"warm-up": "step < 32"}),
    }
    return Study(**settings | changes)


def points_of(study: Study) -> pd.DataFrame:
    """The table that a store would hold."""
    trainer = load_trainer(study.trainer)
    rows = []
    for event in trainer.train([trainer.Config(**cell.config) for cell in study.cells], NoDoor()):
        if isinstance(event, Point):
            cell = study.cells[event.cell]
            head = {"cell": cell.id, "status": "done", "trainer": cell.trainer, "version": cell.version, **cell.columns}
            names = ("step", "inference_steps", "examples", "flops", "seconds")
            rows.append({**head, **{name: getattr(event, name) for name in names}, **event.metrics})
    # Seconds are measured, and differ from run to run.
    return pd.DataFrame(rows).assign(seconds=1.0)


def fitted(study: Study, divided: Divided, laws: Sequence[str] = ("m2", "cf")) -> Analysis:
    comparisons = compare(laws, divided.fitted, divided.held_out, recipe=QUICK)
    return Analysis(study=study, divided=divided, comparisons=comparisons)


def analysis_of(study: Study, points: pd.DataFrame | None = None, laws: Sequence[str] = ("m2", "cf")) -> Analysis:
    return fitted(study, divide(study, points_of(study) if points is None else points), laws)


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study()


@pytest.fixture(scope="module")
def points(study) -> pd.DataFrame:
    return points_of(study)


@pytest.fixture(scope="module")
def analysis(study, points) -> Analysis:
    return analysis_of(study, points, laws=("m2", "cf", "a1"))


@pytest.fixture(scope="module")
def small(points) -> Analysis:
    """Two columns for the laws; the others vary unseen."""
    return analysis_of(make_study(**FEW), points)


@pytest.fixture(scope="module")
def page(analysis) -> str:
    return render(analysis)


def unbalanced(page: str) -> list[str]:
    """Elements that are opened and not closed, or the other way round."""
    open_tags, wrong = [], []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "br"):
                open_tags.append(tag)

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            if not open_tags or open_tags.pop() != tag:
                wrong.append(tag)

    Reader().feed(page)
    return wrong + open_tags


def language_study() -> tuple[Study, pd.DataFrame]:
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


def test_numbers_are_called_what_the_trainer_counts(page, monkeypatch):
    assert "Unique training examples" in page
    text = render(analysis_of(*language_study(), laws=("m2",)))
    assert "Unique training tokens" in text and "Batch size (tokens a step)" in text
    assert "unique training tokens" in text, "the figures' axes say it too"
    assert "examples" not in text
    monkeypatch.delattr(type(load_trainer("language")), "units")
    text = render(analysis_of(*language_study(), laws=("m2",)))
    assert "<h3>Dataset size</h3>" in text and "tokens" not in text and "unique training" not in text


def test_the_file_needs_nothing_else_and_is_the_same_twice(analysis, page, tmp_path):
    write_report(analysis, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert not re.findall(r"https?:|//cdn|@import|<script|<link|<iframe|url\((?!#)", page)
    for target in re.findall(r"(?:src|href)=[\"']?([^\"'> ]+)", page):
        assert target.startswith(("#", "data:")), target
    assert len(page) < 3_000_000
    assert unbalanced(page) == []


def test_references_within_figures_have_one_target(page):
    for name in set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page)):
        assert f'id="{name}"' in page


def test_every_law_has_its_row_and_the_best_is_bold(analysis, page):
    for one in analysis.comparisons:
        assert f"<td>{one.law}</td>" in page
        assert str(one.rmsle_fit) in page and str(one.rmsle_held_out) in page
    best = min(analysis.comparisons, key=lambda one: one.rmsle_held_out.value)
    assert re.search(r'<tr class="best"><td>([^<]+)', page)[1] == best.law


def test_the_headline_counts_what_there_is(analysis, study, page):
    divided = analysis.divided
    assert f"{len(divided.fitted):,} fitted, {len(divided.held_out):,} held out" in page
    assert f"{divided.excluded['warm-up']:,} warm-up (<code>step &lt; 32</code>)" in page
    assert "parameters &gt; 20000 or step &gt; 200" in page
    records = {
        cell.id: CellRecord(
            id=cell.id,
            trainer="oracle",
            version=1,
            config=cell.config,
            columns=cell.columns,
            flops_per_step=1e9,
            status=status,
            step=100,
            seconds=1800,
        )
        for cell, status in zip(study.cells[:-1], ["diverged", "failed", "failed"] + ["done"] * 44, strict=True)
    }
    text = headline(analysis, "", records, datetime.date(2026, 2, 3))
    assert "2026-02-03" in text
    assert "44 done, 1 diverged, 2 failed, 1 not run, of 48" in text
    assert "4.7e12 training FLOPs, 23.5 hours" in text


def test_a_law_that_does_not_suit_keeps_its_row_and_its_reason(small):
    lame = Comparison(law="lame", fit=None, reason=HOSTILE, rmsle_fit=None, rmsle_held_out=None, seconds=0.0)
    text = render(replace(small, comparisons=(lame, *small.comparisons)))
    assert "<td>lame</td><td class=why" in text and "&lt;script&gt;" in text and "<script" not in text
    text = render(replace(small, comparisons=(lame,)))
    assert "No law could be fitted" in text and unbalanced(text) == []


def test_what_a_user_typed_is_escaped(points):
    name = f"loss {HOSTILE}"
    split = Split(held_out="parameters > 20000", excluded={HOSTILE: "step < 32"})
    study = make_study(metric=Metric(name=name), split=split)
    divided = divide(study, points.rename(columns={"loss": name}))
    # No trainer has such a column, so the hostile name is given to what the laws read behind the study's back.
    object.__setattr__(study, "inputs", ("parameters", "dataset_size", HOSTILE))
    object.__setattr__(divided.question, "inputs", study.inputs)
    object.__setattr__(divided, "rows", divided.rows.rename(columns={"step": HOSTILE}).assign(step=1))
    tables = [
        type(table)(
            inputs={HOSTILE if k == "step" else k: v for k, v in table.inputs.items()},
            hyperparameters=table.hyperparameters,
            y=table.y,
            group=table.group,
        )
        for table in (divided.fitted, divided.held_out)
    ]
    object.__setattr__(divided, "fitted", tables[0])
    object.__setattr__(divided, "held_out", tables[1])
    text = render(fitted(study, divided, ("m2", "cf")))
    assert "<script" not in text and "-->" not in text
    assert text.count("&lt;script&gt;") > 5
    assert unbalanced(text) == []


def test_nothing_held_out(points):
    text = render(analysis_of(make_study(**FEW, split=Split(held_out="parameters > 1e9")), points))
    assert "nothing out" in text and "0 held out" in text and "least fitted error" in text


def test_one_input_and_no_hyperparameters():
    study = make_study(
        axes=[Axis("parameters", (1000, 4000, 16000, 64000))],
        seeds=(0,),
        inputs=("step",),
        hyperparameters=(),
        split=Split(held_out="step > 128"),
        fixed={"steps": 4096},
    )
    text = render(analysis_of(study))
    # The laws do not see parameters, but they differ: the slice must say which ones it shows.
    assert "All points, at parameters = 64,000 (4 fitted and 5 held-out points)" in text
    assert text.count("<figure") == 3


@pytest.mark.parametrize("metric", [Metric(name="accuracy", direction="higher", best=1.0), Metric(direction="higher")])
def test_a_metric_of_which_more_is_better_is_shown_as_the_user_knows_it(points, metric):
    mapped = points.assign(accuracy=1 - points["loss"] / 10, loss=1 / points["loss"])
    text = render(analysis_of(make_study(**FEW, metric=metric), mapped))
    assert "higher is better" in text
    if metric.best:
        # Mapped losses of .12 to .3 are accuracies of .7 to .88.
        assert ">0.75</text>" in text and ">0.25</text>" not in text


def test_columns_that_form_no_grid_are_drawn_whole(points):
    random = np.random.default_rng(0)
    scattered = points.assign(
        parameters=random.integers(1000, 64000, len(points)), dataset_size=random.integers(1000, 100000, len(points))
    )
    text = render(analysis_of(make_study(split=Split(held_out="parameters > 40000")), scattered))
    assert "they form no grid" in text


def test_a_column_that_does_not_vary_is_named(points):
    one = points[(points["learning_rate"] == 0.003) & (points["parameters"] == 4000)]
    text = render(analysis_of(make_study(split=Split(held_out="step > 100")), one))
    assert "same value: <b>parameters</b> and <b>learning_rate</b>" in text


def test_many_points_become_pixels(points):
    many = pd.concat([points.assign(loss=points["loss"] * (1 + k / 1e4)) for k in range(150)], ignore_index=True)
    text = render(analysis_of(make_study(**FEW), many))
    assert "data:image/png" in text and len(text) < 3_000_000
    assert "An even selection of 20,000 of" in text


def test_a_place_that_cannot_be_written_is_one_clear_error(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="cannot be written"):
        write_report(small, tmp_path / "file" / "report.html")


def test_slices_are_exact_cells_with_both_kinds_of_points(analysis):
    shown = slices(analysis.divided, "parameters", most=2, most_levels=4)
    assert len(shown) == 2
    for one in shown:
        names = [name for name in ("dataset_size", "step", "learning_rate") if name != one.by]
        assert set(one.at) == set(names)
        for name in names:
            assert set(one.rows[name]) == {one.at[name]}
        assert set(one.rows["held_out"]) == {False, True}


@pytest.mark.parametrize(
    ("low", "high"), [(0.31, 0.75), (0.25, 1.9), (1e3, 3.2e4), (1e-5, 1e9), (0.3249, 0.3251), (5, 5), (265, 8449)]
)
def test_ticks_are_few_and_inside(low, high):
    ticks = log_ticks(low, high)
    assert (3 if high > low else 0) <= len(ticks) <= 8
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
    assert len(set(numbers(ticks))) == len(ticks)


def test_numbers_are_short_and_true():
    assert [number(v) for v in (0.003, 250, 1000, 16384, 999_999, 7e9, 2e-5, 3e18)] == [
        "0.003", "250", "1k", "16.4k", "1M", "7B", "2e-5", "3e18",
    ]  # fmt: skip
    assert [exact(v) for v in (16384, 0.003, True, "adam", np.int64(5))] == ["16,384", "0.003", "True", "adam", "5"]


def test_a_metric_scale_places_better_values_where_they_belong():
    higher = MetricScale(metric=Metric(name="accuracy", direction="higher", best=1.0))
    places, labels = higher.ticks(-math.log(0.5), -math.log(0.01))
    assert {"0.5", "0.9", "0.95", "0.99"} <= set(labels)
    assert higher.place(np.array(0.01)) > higher.place(np.array(0.5))
    assert places[labels.index("0.99")] == pytest.approx(higher.place(np.array(0.01)))
    floored = MetricScale(metric=Metric(floor=0.325))
    assert "0.425" in floored.ticks(math.log(0.01), math.log(0.5))[1]
