"""The still figures and the lines of best settings, looked at before they become SVG."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from reported import QUICK

from fitting import Table, fit
from fitting.laws.unsl import Shape, UnslForm
from pipeline.report import figures, histories
from pipeline.report.allocation import setting_facts
from pipeline.report.drawing import MetricScale, log_x


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """Every figure that is asked for."""
    made = []

    def draw(build, **_) -> str:
        made.append(Figure())
        build(made[-1])
        return ""

    for module in (figures, histories):
        monkeypatch.setattr(module, "draw", draw)
    return made


@pytest.mark.parametrize("copies", [1, 50])
def test_every_prediction_has_its_interval_or_some_hundreds_of_many(facts, drawn, copies):
    (task,) = facts.tasks

    def again(values):
        return tuple(values) * copies

    points = replace(
        task.points,
        columns={name: again(values) for name, values in task.points.columns.items()},
        **{name: again(getattr(task.points, name)) for name in ("loss", "held_out")},
    )
    laws = tuple(replace(law, **{n: again(getattr(law, n)) for n in ("predicted", "low", "high")}) for law in task.laws)
    figures.predictions(replace(task, points=points, laws=laws), MetricScale.of(facts.metric))
    scored = copies * sum(task.points.held_out)
    (intervals,) = (c for c in drawn[0].axes[0].collections if hasattr(c, "get_segments"))
    shown = len(intervals.get_segments())
    assert shown == scored if copies == 1 else figures.MOST_INTERVALS / 2 < shown <= figures.MOST_INTERVALS < scored


def test_what_is_saved_is_a_percentage(whole, drawn):
    histories.skill(whole.ledger)
    (axes,) = drawn[0].axes
    assert axes.yaxis.get_major_formatter()(0.25, 0) == "25%"


def test_levels_are_named_where_they_are_few():
    axes = Figure().add_subplot()
    log_x(axes, np.array([1_000.0, 8_000.0, 64_000.0]))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1k", "8k", "64k"]
    assert np.exp(axes.get_xticks()) == pytest.approx([1_000, 8_000, 64_000])


class Harmed:
    """A law that finds a rate too small as well as too large."""

    name = "harmed"

    def forms(self, frame):
        return [UnslForm(frame=frame, shape=Shape(harms="both"))]


def test_the_best_rate_is_drawn_for_the_least_the_middle_and_the_largest_of_another_input():
    n, d, rate = (one.ravel() for one in np.meshgrid([1e6, 1e7, 1e8], [1e7, 1e8, 1e9], np.geomspace(1e-4, 1, 9)))
    best = 0.5 * n**-0.2 * (d / 1e8) ** 0.1
    y = 1.5 + 60 * n**-0.3 + 60 * d**-0.3 + 0.05 * ((rate / best) ** 0.7 + (best / rate) ** 0.7)
    table = Table(inputs={"N": n, "D": d}, hyperparameters={"rate": rate}, y=y, ceiling=math.inf)
    divided = SimpleNamespace(
        question=SimpleNamespace(inputs=("N", "D"), hyperparameters=("rate",)),
        rows=pd.DataFrame({"N": n, "D": d, "rate": rate}),
        fitted=table,
    )
    found = fit(Harmed(), table, recipe=QUICK)
    (setting,) = setting_facts([found], divided, {})
    assert (setting.name, setting.along, setting.by) == ("rate", "N", "D")
    assert [line.level for line in setting.lines] == pytest.approx([1e7, 1e8, 1e9])
    for line in setting.lines:
        here = found.optima({"N": np.array(line.x), "D": np.full(len(line.x), line.level)})["rate"]
        assert line.value == pytest.approx(here.value, rel=1e-3)
