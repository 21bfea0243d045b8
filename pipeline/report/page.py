"""The report as one HTML file: templates filled with facts, still figures, and the script that makes them live.

The page asks nothing of any network, and its own policy forbids it. Everything that a user typed is escaped by the
templates; what they take as it is (`Markup`) was made here.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from pipeline.report import figures
from pipeline.report.drawing import MetricScale
from pipeline.report.facts import Column, Facts, LawFacts, SliceFacts, TaskFacts
from pipeline.report.words import duration, enumeration, exact, number, tidy, times

HERE = Path(__file__).parent
LIBRARIES = ("d3.min.js", "plot.umd.min.js")
SCRIPTS = ("law.js", "charts.js", "explorer.js", "page.js")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing from anywhere."""
MOST_TASKS_SHOWN = 12
"""Tasks with figures of their own; all are in the tables and in the explorer."""


def render(facts: Facts, *, live: str = "") -> str:
    """The report as HTML text. live: address that a served page asks for changes; empty for a file."""
    scale = MetricScale.of(facts.metric)
    return (
        _templates()
        .get_template("page.html")
        .render(
            facts=facts,
            live=live,
            policy=POLICY + ("; connect-src 'self'" if live else ""),
            style=Markup((HERE / "templates" / "page.css").read_text("utf-8")),
            libraries=[_script((HERE / "vendor" / name).read_text("utf-8")) for name in LIBRARIES],
            scripts=[_script((HERE / "templates" / name).read_text("utf-8")) for name in SCRIPTS],
            data=_data(facts.to_json()),
            heroes=[hero_slice(task) for task in facts.tasks],
            still=_Still(facts, scale),
            value=lambda loss: exact(float(f"{float(scale.metric.from_loss(np.array(loss))):.4g}")),
            wins=wins(facts.tasks),
            sections=_sections(facts),
            tasks_shown=MOST_TASKS_SHOWN,
        )
    )


def panels(facts: Facts) -> dict[str, str]:
    """Each still figure as a page of its own, by a name for it: what W&B shows beside the whole report."""
    still = _Still(facts, MetricScale.of(facts.metric))
    template = _templates().get_template("panel.html")
    style = Markup((HERE / "templates" / "page.css").read_text("utf-8"))
    found: dict[str, str] = {}
    for task in facts.tasks[:MOST_TASKS_SHOWN]:
        figures_of = {"predictions": still.predictions(task)} if task.fits else {}
        figures_of |= {f"along_{column.name}": still.along(task, column) for column in task.columns}
        figures_of |= {"residuals": still.residuals(task)} if task.fits and task.columns else {}
        for name, svg in figures_of.items():
            title = f"{task.name}_{name}" if task.name else name
            found[title] = template.render(title=title, style=style, figure=svg)
    return found


class _Still:
    """The still figures, drawn when a template asks for them."""

    def __init__(self, facts: Facts, scale: MetricScale):
        self._facts, self._scale = facts, scale

    def hero(self, task: TaskFacts, one: SliceFacts) -> Markup:
        return Markup(figures.hero(task, one, self._scale))

    def predictions(self, task: TaskFacts) -> Markup:
        return Markup(figures.predictions(task, self._scale))

    def along(self, task: TaskFacts, column: Column) -> Markup:
        shown = slices_of(task, column)
        if shown:
            return Markup(figures.along(task, shown, self._scale))
        return Markup(figures.cloud(task, column, self._scale))

    def residuals(self, task: TaskFacts) -> Markup:
        return Markup(figures.residuals(task, task.fits[0]))

    def reliability(self) -> Markup:
        assert self._facts.ledger is not None
        return Markup(figures.reliability(self._facts.ledger))

    def curves(self) -> Markup:
        assert self._facts.cells is not None
        return Markup(figures.learning_curves(self._facts.cells, self._scale))


def slices_of(task: TaskFacts, column: Column) -> list[SliceFacts]:
    return [one for one in task.slices if one.along == column.name]


def hero_slice(task: TaskFacts) -> int | None:
    """The slice that shows most of a forecast: lines that start fitted and go on held out, and how far they go."""
    best, rank = None, (-1, 0.0)
    for k, one in enumerate(task.slices):
        both = sum(len(set(line.held_out)) == 2 for line in one.lines)
        fitted = [x for line in one.lines for x, out in zip(line.x, line.held_out, strict=True) if not out]
        outside = [x for line in one.lines for x, out in zip(line.x, line.held_out, strict=True) if out]
        step = max(outside) / max(fitted) if fitted and outside else 0.0
        if (score := (both, step)) > rank:
            best, rank = k, score
    return best


def wins(tasks: tuple[TaskFacts, ...]) -> dict[str, int]:
    """On how many tasks each law is best, the winner first."""
    counted = Counter({law.law: 0 for task in tasks for law in task.fits})
    counted.update(task.best.law for task in tasks if task.best)
    return dict(counted.most_common())


def weakness(task: TaskFacts, law: LawFacts) -> str:
    """Where a law fails most, in words."""
    if not law.bands:
        return ""
    worst = max(law.bands, key=lambda band: band.error)
    where = "inside the fitted range" if worst.high <= 1 else f"{band_name(worst.low, worst.high)} outside"
    off = f"off by {times(math.exp(worst.error))} {where}"
    if abs(worst.bias) < 0.005:
        return f"{off}, to either side"
    return f"{off}, {abs(worst.bias):.0%} too {'high' if worst.bias < 0 else 'low'} on average"


def band_name(low: float, high: float) -> str:
    return "inside" if high <= 1 else f"up to {number(high)}×" if high <= 2 else f"{number(low)}–{number(high)}×"


def longest_bar(task: TaskFacts) -> float:
    """Where the bars of a task's errors end."""
    scores = [score for law in task.fits if (score := task.score(law)) and math.isfinite(score.value)]
    return max((score.value + score.bar for score in scores), default=0.0)


def _sections(facts: Facts) -> list[tuple[str, str]]:
    """Anchors and titles of the sections that this report has."""
    fits = any(task.fits for task in facts.tasks)
    present = {
        "explorer": ("Explorer", any(law.program for task in facts.tasks for law in task.laws)),
        "laws": ("Laws", True),
        "predictions": ("Predictions", fits),
        "along": ("Along every column", True),
        "residuals": ("Residuals", fits),
        "ledger": ("Ledger", facts.ledger is not None),
        "allocation": ("Allocation", facts.allocation is not None),
        "rounds": ("Rounds", bool(facts.rounds)),
        "cells": ("Cells", facts.cells is not None),
        "provenance": ("Provenance", True),
    }
    return [(anchor, title) for anchor, (title, there) in present.items() if there]


def _data(value: Any) -> Markup:
    """JSON that no parser of HTML takes for anything else."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _script(text: str) -> Markup:
    return Markup(text.replace("</script", "<\\/script").replace("<!--", "<\\!--"))


@cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {
        "number": number,
        "exact": exact,
        "count": lambda value: f"{value:,}" if value < 100_000 else number(value),
        "times": times,
        "duration": duration,
        "enumeration": enumeration,
        "scientific": lambda value: tidy(f"{value:.3g}"),
        "error": lambda error: f"{error.value:.4f} ± {error.bar:.4f}" if error else "–",
        "exp": math.exp,
        "worst": lambda bands: max((band.error for band in bands), default=0.0),
        "percent": lambda share: f"{share:.0%}",
        "mathml": Markup,  # made by `equation`, which escapes the names in it
    }
    made.globals |= {
        "weakness": weakness,
        "band_name": band_name,
        "longest_bar": longest_bar,
        "slices_of": slices_of,
    }
    return made
