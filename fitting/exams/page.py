"""Exam results as one HTML page that needs nothing else: tables, and one figure an exam."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import report
from .definition import HALVES, Sheet, load
from .known_answers import KnownAnswer
from .runner import ExamResult, Score

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
_OTHER_COLOUR = "#555555"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem; color: #1a1a1a; }
h2 { margin-top: 2.2em; border-bottom: 1px solid #ddd; } h3 { margin-bottom: .3em; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
td, th { padding: 2px 9px; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; } td.best { font-weight: 700; background: #fff3e6; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(350px, 1fr)); gap: 1.1rem; }
.row { display: flex; flex-wrap: wrap; gap: 0 3rem; } figure { margin: 0; } figure img { width: 100%; }
figcaption { font-size: 12.5px; color: #444; }
code { font-size: 12px; background: #f5f5f5; padding: 0 3px; }
"""


def html_page(
    results: Sequence[ExamResult], answers: Sequence[KnownAnswer], data: str | Path, *, law: str = "unsl"
) -> str:
    """The page as text. Reads the tables again, for the figures."""
    parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Exams</title><style>{_STYLE}</style>"]
    parts.append(
        "<h1>Exams: held-out accuracy of scaling laws on public tables</h1><p>Every law is fitted to the rows of small "
        "scale and scored on the rows of large scale, which it has not seen. RMSLE is the root mean squared error of "
        "ln y: 0.01 is about one per cent. ± is the root standard log error.</p>"
    )
    for kind in ("several inputs", "one input"):
        for words, some in report.halves(results, kind):
            blocks = [("All laws", report.law_rows(some))]
            if any(r.score(law) for r in some):
                blocks.append((f"Held-out error of {law} to that of others", report.ratio_rows(some, law)))
                blocks.append((f"Exams on which {law} extrapolates best", report.win_rows(some, law)))
            tables = "".join(f"<div><h3>{html.escape(title)}</h3>{_table(*rows)}</div>" for title, rows in blocks)
            parts.append(f"<h2>{kind.capitalize()}: {words}</h2><div class='row'>{tables}</div>")
    if answers:
        parts.append("<h2>Known answers</h2>" + _table(*report.known_answer_rows(answers)))
        parts += [f"<p>{html.escape(line.strip())}</p>" for line in report.note_lines(answers)]
    for kind in ("several inputs", "one input"):
        for half in HALVES:
            some = [r for r in results if r.exam.kind == kind and r.exam.half == half and r.scores]
            if some:
                parts.append(f"<h2>Every exam: {kind}, {half} half</h2>" + _table(*report.exam_rows(some)))
                parts.append("<div class='figures'>" + "".join(_figure(r, data, law) for r in some) + "</div>")
    absent = [f"{r.exam.name}: {r.reason}" for r in results if r.reason] + report.failure_lines(results)
    for title, lines in (("Rows left out", report.excluded_lines(results)), ("Without a score", absent)):
        if lines:
            items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
            parts.append(f"<h2>{title}</h2><ul>{items}</ul>")
    return "\n".join(parts) + "</html>\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in header)

    def cell(text: str) -> str:
        best = text.endswith("*")
        return f"<td{' class=best' if best else ''}>{html.escape(text.rstrip('* '))}</td>"

    body = "".join("<tr>" + "".join(cell(text) for text in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def _figure(result: ExamResult, data: str | Path, law: str) -> str:
    exam = result.exam
    shown = _shown(result, law)
    image = base64.b64encode(draw(result, load(exam, data), shown)).decode()
    rows = f" of the rows <code>{html.escape(exam.rows)}</code>" if exam.rows else ""
    return (
        f"<figure><img alt='{html.escape(exam.name)}' src='data:image/png;base64,{image}'><figcaption><b>"
        f"{html.escape(exam.name)}</b> ({exam.domain}): held out <code>{html.escape(exam.held_out)}</code>{rows}. "
        f"<a href='{html.escape(exam.source.url)}'>{html.escape(exam.source.title)}</a></figcaption></figure>"
    )


def _shown(result: ExamResult, law: str) -> list[Score]:
    """The law in question and the two best others."""
    others = [s for s in result.ranked if s.law != law][:2]
    own = result.score(law)
    return ([own] if own else []) + others


def draw(result: ExamResult, sheet: Sheet, scores: Sequence[Score]) -> bytes:
    """One PNG. One input: the curve and the laws' extrapolations. Several: how far each held-out row is missed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, because importing it costs a second
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter

    figure = Figure(figsize=(5.0, 3.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if result.exam.one_input:
        (name,) = sheet.fitted.columns
        axes.plot(sheet.fitted.columns[name], sheet.fitted.y, "o", ms=3, color="#222222", label="fitted")
        axes.plot(sheet.held_out.columns[name], sheet.held_out.y, "o", ms=3, mfc="none", mew=0.6, color="#888888")
        x = np.concatenate([sheet.fitted.columns[name], sheet.held_out.columns[name]])
        order = np.argsort(x, kind="stable")
        for score in scores:
            if score.predicted:
                axes.plot(x[order], np.concatenate(score.predicted)[order], lw=1.4, **_style(score))
        axes.axvline(sheet.fitted.columns[name].max(), color="#bbbbbb", lw=0.8, ls=":")
        axes.set(xscale="log", yscale="log", xlabel=name, ylabel=result.exam.metric.name)
        axes.yaxis.set_minor_formatter(NullFormatter() if _decades(sheet) > 1 else _short())
        axes.yaxis.set_major_formatter(_short())
        if _decades(sheet) <= 1:
            axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    else:
        axes.axhline(0.0, color="#bbbbbb", lw=0.8)
        for score, marker in zip(scores, "os^", strict=False):
            if score.predicted:
                miss = score.predicted[1] / sheet.held_out.y - 1.0
                axes.plot(sheet.held_out.y, miss, marker, ms=4.5, alpha=0.6, mew=0, **_style(score))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlabel=f"{result.exam.metric.name}, held-out rows", ylabel="predicted / measured - 1")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _style(score: Score) -> dict[str, str]:
    held = score.rmsle_held_out
    return {
        "color": _COLOURS.get(score.law, _OTHER_COLOUR),
        "label": f"{score.law} {held.value:.4f}" if held else score.law,
    }


def _decades(sheet: Sheet) -> float:
    y = np.concatenate([sheet.fitted.y, sheet.held_out.y])
    return float(np.log10(y.max() / y.min()))


def _short():
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value:g}")
