"""The report as one HTML file: templates filled with facts, still figures, and the script that makes them live."""

from __future__ import annotations

import math

from markupsafe import Markup

from pipeline.report import budgets, figures, histories
from pipeline.report.document import inline
from pipeline.report.drawing import MetricScale
from pipeline.report.facts import Allocation, Column, Facts, Optimum, Setting, SliceFacts, TaskFacts
from pipeline.report.shell import POLICY, data, fill, script
from pipeline.report.telling import band_name, value_of, verdict, weakness, wins
from pipeline.report.words import number

LIBRARIES = ("d3.min.js", "plot.umd.min.js")
SCRIPTS = ("law.js", "charts.js", "explorer.js", "allocation.js", "page.js", "tables.js")
MOST_TASKS_SHOWN = 12
"""Tasks with figures of their own; all are in the tables and in the explorer."""


def render(facts: Facts, *, live: str = "") -> str:
    """The report as HTML text. live: address that a served page asks for changes; empty for a file."""
    scale = MetricScale.of(facts.metric)
    return fill(
        "page.html",
        title=f"{facts.name} – scaling {facts.kind}",
        name=facts.name,
        facts=facts,
        live=live,
        policy=POLICY + ("; connect-src 'self'" if live else ""),
        libraries=[script(f"vendor/{name}") for name in LIBRARIES],
        scripts=[script(f"templates/{name}") for name in SCRIPTS],
        data=data(facts.to_json()),
        heroes=[hero_slice(task) for task in facts.tasks],
        still=_Still(facts, scale),
        value=value_of(facts),
        verdict=inline(verdict(facts)),
        wins=wins(facts.tasks),
        weakness=weakness,
        band_name=band_name,
        longest_bar=longest_bar,
        slices_of=slices_of,
        optimum_interval=optimum_interval,
        live_allocations=[_is_live(task) for task in facts.tasks],
        sections=_sections(facts),
        tasks_shown=MOST_TASKS_SHOWN,
    )


def panels(facts: Facts) -> dict[str, str]:
    """Each still figure as a page of its own, by a name for it: what W&B shows beside the whole report."""
    still = _Still(facts, MetricScale.of(facts.metric))
    found: dict[str, str] = {}
    for task in facts.tasks[:MOST_TASKS_SHOWN]:
        figures_of = {"predictions": still.predictions(task)} if task.fits else {}
        figures_of |= {f"along_{column.name}": still.along(task, column) for column in task.drawn}
        figures_of |= {"residuals": still.residuals(task)} if task.fits and task.columns else {}
        figures_of |= {"allocation": still.isoflops(task)} if task.allocation else {}
        figures_of |= {f"best_{one.name}": still.setting(task, one) for one in task.settings}
        for name, svg in figures_of.items():
            title = f"{task.name}_{name}" if task.name else name
            found[title] = fill("panel.html", title=title, figure=svg)
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

    def isoflops(self, task: TaskFacts) -> Markup:
        assert task.allocation is not None
        return Markup(budgets.isoflops(task, task.allocation, self._scale))

    def setting(self, task: TaskFacts, one: Setting) -> Markup:
        return Markup(budgets.setting(task, one))

    def reliability(self) -> Markup:
        assert self._facts.ledger is not None
        return Markup(figures.reliability(self._facts.ledger))

    def skill(self) -> Markup:
        assert self._facts.ledger is not None
        return Markup(histories.skill(self._facts.ledger))

    def drift(self) -> Markup:
        return Markup(histories.drift(self._facts.rounds, self._scale))

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


def longest_bar(task: TaskFacts) -> float:
    """Where the bars of a task's errors end."""
    scores = [score for law in task.fits if (score := task.score(law)) and math.isfinite(score.value)]
    return max((score.value + score.bar for score in scores), default=0.0)


def optimum_interval(one: Allocation, optimum: Optimum, name: str) -> str:
    """The interval of an optimum in words; where it reaches the end of the search, it says so."""
    ends = one.ends.get(name, (0.0, math.inf))
    low, high = optimum.low[name], optimum.high[name]
    before, after = "≤" if low <= ends[0] * 1.001 else "", "≥" if high >= ends[1] * 0.999 else ""
    return f"{before}{number(low)} to {after}{number(high)}"


def _is_live(task: TaskFacts) -> bool:
    """Whether the page can compute the law that allocates."""
    return task.allocation is not None and any(
        law.law == task.allocation.law and law.program is not None for law in task.laws
    )


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
        "allocation": ("Allocation", any(task.allocation or task.settings for task in facts.tasks)),
        "rounds": ("Rounds", bool(facts.rounds)),
        "cells": ("Cells", facts.cells is not None),
        "provenance": ("Provenance", True),
    }
    return [(anchor, title) for anchor, (title, there) in present.items() if there]
