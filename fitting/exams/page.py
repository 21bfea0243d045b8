"""What a page of exam results says, part by part: tables, and a figure an exam. How it looks, who shows it decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import report
from .definition import HALVES, Exam, Sheet, load
from .known_answers import KnownAnswer
from .runner import ExamResult, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Laws that have a colour of their own in every figure (Okabe and Ito's palette, safe for colour-blind readers).
_COLOURS = {
    "unsl": "#d55e00",
    "a3": "#0072b2",
    "cf": "#009e73",
    "dc": "#cc79a7",
    "bnsl": "#56b4e9",
    "m4": "#e69f00",
    "m2": "#999999",
}
_OTHER_COLOUR = "#7a7a7a"
# Marks of one figure beyond which they are better pixels than vectors.
_MOST_MARKS = 1000


@dataclass(frozen=True, kw_only=True)
class ExamTable:
    """A table of text. A cell that ends in `*` is the best of its row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class ExamFigure:
    """One exam. draw: puts it on axes of matplotlib, in the colours that are set there."""

    exam: Exam
    draw: Callable[[Axes], None]


@dataclass(frozen=True, kw_only=True)
class ExamPart:
    """A part of the page."""

    title: str
    tables: Sequence[ExamTable] = ()
    figures: Sequence[ExamFigure] = ()
    lines: Sequence[str] = ()


def page_parts(
    results: Sequence[ExamResult], answers: Sequence[KnownAnswer], data: str | Path, *, law: str = "unsl"
) -> list[ExamPart]:
    """The parts in their order. Reads the tables again, when the figures are drawn."""
    parts = []
    for kind in ("several inputs", "one input"):
        for words, some in report.halves(results, kind):
            tables = [("All laws", report.law_rows(some))]
            if any(r.score(law) for r in some):
                tables.append((f"Held-out error of {law} to that of others", report.ratio_rows(some, law)))
                tables.append((f"Exams on which {law} extrapolates best", report.win_rows(some, law)))
            parts.append(ExamPart(title=f"{kind.capitalize()}: {words}", tables=[_table(*one) for one in tables]))
    if answers:
        table = _table("", report.known_answer_rows(answers))
        lines = [line.strip() for line in report.note_lines(answers)]
        parts.append(ExamPart(title="Known answers", tables=[table], lines=lines))
    for kind in ("several inputs", "one input"):
        for half in HALVES:
            some = [r for r in results if r.exam.kind == kind and r.exam.half == half and r.scores]
            if some:
                parts.append(
                    ExamPart(
                        title=f"Every exam: {kind}, {half} half",
                        tables=[_table("", report.exam_rows(some))],
                        figures=[ExamFigure(exam=r.exam, draw=partial(_draw, r, data, law)) for r in some],
                    )
                )
    absent = [f"{r.exam.name}: {r.reason}" for r in results if r.reason] + report.failure_lines(results)
    for title, lines in (("Rows left out", report.excluded_lines(results)), ("Without a score", absent)):
        if lines:
            parts.append(ExamPart(title=title, lines=[line.strip() for line in lines]))
    return parts


def _table(title: str, rows: tuple[Sequence[str], Sequence[Sequence[str]]]) -> ExamTable:
    return ExamTable(title=title, header=rows[0], rows=rows[1])


def _draw(result: ExamResult, data: str | Path, law: str, axes: Axes) -> None:
    """One input: the curve and the laws' extrapolations. Several: how far each held-out row is missed."""
    from matplotlib import rcParams  # here, because importing it costs a second
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    sheet, quiet = load(result.exam, data), rcParams["axes.edgecolor"]
    scores = [score for score in _shown(result, law) if score.predicted]
    many = len(sheet.held_out) + len(sheet.fitted) > _MOST_MARKS
    if result.exam.one_input:
        (name,) = sheet.fitted.columns
        marks = {"markersize": 3, "rasterized": many}
        inside, outside = sheet.fitted.columns[name], sheet.held_out.columns[name]
        axes.plot(inside, sheet.fitted.y, "o", color=rcParams["text.color"], label="fitted", **marks)
        axes.plot(outside, sheet.held_out.y, "o", mfc="none", mew=0.6, color=quiet, **marks)
        x = np.concatenate([inside, outside])
        order = np.argsort(x, kind="stable")
        for score in scores:
            axes.plot(x[order], np.concatenate(score.predicted)[order], linewidth=1.4, **_style(score))
        axes.axvline(inside.max(), color=quiet, linewidth=0.8, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel=result.exam.metric.name)
        _plain_ticks(axes, sheet)
    else:
        axes.axhline(0.0, color=quiet, linewidth=0.8)
        for score, marker in zip(scores, "os^", strict=False):
            miss = score.predicted[1] / sheet.held_out.y - 1.0
            axes.plot(
                sheet.held_out.y, miss, marker, markersize=4.5, alpha=0.6, mew=0, rasterized=many, **_style(score)
            )
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel=f"{result.exam.metric.name}, held-out rows", ylabel="predicted / measured - 1")
    axes.legend(fontsize=8, frameon=False)


def _shown(result: ExamResult, law: str) -> list[Score]:
    """The law in question and the two best others."""
    others = [s for s in result.ranked if s.law != law][:2]
    own = result.score(law)
    return ([own] if own else []) + others


def _style(score: Score) -> dict[str, str]:
    held = score.rmsle_held_out
    return {
        "color": _COLOURS.get(score.law, _OTHER_COLOUR),
        "label": f"{score.law} {held.value:.4f}" if held else score.law,
    }


def _plain_ticks(axes: Axes, sheet: Sheet) -> None:
    """0.5 rather than 5x10^-1 on the vertical axis, and more of them where it spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    y = np.concatenate([sheet.fitted.y, sheet.held_out.y])
    short = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(short)
    if y.max() > 10 * y.min():
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.yaxis.set_minor_formatter(short)
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
