"""The report of a study: one HTML file that opens from disk, with no network and no script.

It reads as a paper's appendix does: what was asked and run, the table of laws, held-out predictions against
measurements, data and fits along every column, coefficients, residuals. Equal input gives equal bytes.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fitting import Comparison, Fit, Forecast, Rmsle, Table
from pipeline.analysis import Analysis, Divided
from pipeline.errors import PipelineError
from pipeline.report import figures
from pipeline.report.drawing import MetricScale, exact, number, tidy, words
from pipeline.report.facts import headline, versions
from pipeline.report.page import PAGE, Why, enumeration, figure, safe, table
from pipeline.report.slices import Slice, columns, slices
from pipeline.store import CellRecord, Folder
from pipeline.study import Study
from trainers import units

MOST_PANELS, MOST_LINES = 2, 4
"""Panels of a figure along a column, and lines of a panel: more would be smaller or would hide each other."""
MOST_RESIDUALS = 20_000
"""Residuals are drawn for an even selection of this many points: more would add ink, not insight."""
# Names that laws give to the loss at infinite scale and to the worst one.
LIMITS = {
    "a0": "at infinite scale, a<sub>0</sub>",
    "aM": "at worst, a<sub>M</sub>",
    "e0": "at worst, e<sub>0</sub>",
} | {name: f"at infinite scale, {name}" for name in "aeE"}


def write_report(
    analysis: Analysis,
    path: str | os.PathLike,
    *,
    records: Mapping[str, CellRecord] | None = None,
    date: datetime.date | None = None,
) -> None:
    """Write the report of an analysis to a file (a path or any fsspec URL), whole or not at all.

    records: what the store knows of the cells; without it, cells that gave no usable point are not counted. date: shown
    in the headline, left out where None, since equal input shall give equal bytes. Raises PipelineError where the file
    cannot be written.
    """
    folder, slash, name = os.fspath(path).rpartition("/")
    page = render(analysis, records=records, date=date)
    try:
        Folder(folder or slash or ".").write(name, page.encode("utf-8", "xmlcharrefreplace"))
    except OSError as error:
        raise PipelineError(f"the report cannot be written to {path}: {error.strerror or error}") from error


def render(
    analysis: Analysis, *, records: Mapping[str, CellRecord] | None = None, date: datetime.date | None = None
) -> str:
    """The report as HTML text."""
    story = _Story.of(analysis)
    sections = (
        headline(analysis, _findings(story), records, date),
        _laws(story),
        _predictions(story),
        _along(story),
    )
    body = "\n".join((*sections, _coefficients(story), _residuals(story), f"<footer>{versions()}</footer>"))
    return PAGE.replace("{title}", safe(analysis.study.name)).replace("{body}", body)


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A law that could be fitted, with its forecasts for the target."""

    comparison: Comparison
    fit: Fit
    score: Rmsle
    forecast: Forecast
    inside: np.ndarray
    """Whether a point of the target lies in its interval."""

    @property
    def name(self) -> str:
        return safe(self.fit.law)

    @property
    def reach(self) -> str:
        """How far the interval reaches to either side, at the median point."""
        factor = float(np.sqrt(np.median(self.forecast.high / self.forecast.low)))
        return f"±{factor - 1:.0%}" if factor < 2 else f"×÷{number(factor)}"


@dataclass(frozen=True, kw_only=True)
class _Story:
    """An analysis with what every section asks of it."""

    study: Study
    divided: Divided
    target: Table
    """What predictions are shown for: the held-out points, or the fitted ones where nothing is held out."""
    scored: str
    """`held-out` or `fitted`: which points the target holds."""
    laws: tuple[_Fitted, ...]
    """The best on the target first."""
    unfit: tuple[Comparison, ...]
    scale: MetricScale
    units: Mapping[str, str]
    """What columns count, as the trainer declares."""

    @classmethod
    def of(cls, analysis: Analysis) -> _Story:
        divided = analysis.divided
        target = divided.fitted if divided.held_out is None else divided.held_out
        laws, unfit = [], []
        for one in analysis.comparisons:
            score = one.rmsle_fit if divided.held_out is None else one.rmsle_held_out
            if one.fit is None or one.rmsle_fit is None or score is None:
                unfit.append(one)
                continue
            forecast = one.fit.forecast(target.columns, figures.LEVEL)
            inside = (forecast.low <= target.y) & (target.y <= forecast.high)
            laws.append(_Fitted(comparison=one, fit=one.fit, score=score, forecast=forecast, inside=inside))
        return cls(
            study=analysis.study,
            divided=divided,
            target=target,
            scored="fitted" if divided.held_out is None else "held-out",
            laws=tuple(sorted(laws, key=lambda one: one.score.value if np.isfinite(one.score.value) else np.inf)),
            unfit=tuple(unfit),
            scale=MetricScale(metric=analysis.study.metric),
            units=units(analysis.study.loaded_trainer),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """What the laws read."""
        return (*self.study.inputs, *self.study.hyperparameters)


def _findings(story: _Story) -> str:
    """The answer in a sentence."""
    if not story.laws:
        return "<p class=findings>No law could be fitted to these points.</p>"
    best, *others = story.laws
    text = f"<b>{best.name}</b> predicts the {story.scored} points best: RMSLE {best.score}"
    if others:
        text += f", against {others[0].score} of the next law, {others[0].name}"
    return f"<p class=findings>{text}.</p>"


def _laws(story: _Story) -> str:
    first = story.laws[0].score if story.laws else None
    reach = max((one.score.value + one.score.error for one in story.laws if np.isfinite(one.score.value)), default=0.0)
    rows: list[tuple[str, ...]] = []
    kinds = []
    for one in story.laws:
        close = first is not None and one.score.value <= first.value + first.error
        kinds.append("best" if one.score is first else "close" if close else "")
        rows.append(
            (
                one.name,
                safe(one.fit.structure),
                str(one.comparison.rmsle_fit),
                str(one.comparison.rmsle_held_out or "–"),
                _bar(one.score, reach),
                one.reach,
                f"{one.inside.mean():.0%}",
                f"{one.comparison.seconds:.1f}",
                safe(one.fit.status.value),
            )
        )
    rows += [(safe(one.law), Why(safe(one.reason or "not fitted"))) for one in story.unfit]
    scores = ("fitted RMSLE", "held-out RMSLE", f"{story.scored} error", "90% interval", "holds")
    head = ("law", "structure", *scores, "seconds", "status")
    return "\n".join(
        (
            "<h2>Laws</h2>",
            "<p>RMSLE is the root mean squared error of the logarithm: 0.05 is about 5%. ± is the root standard log "
            f"error. Bold: the law with the least {story.scored} error; ≈: laws within its error bar.</p>",
            table(head, rows, kinds=kinds, numbers=(2, 3, 5, 6, 7)),
            f"<p class=note>90% interval: how far it reaches to either side, at the median point; holds: the share of "
            f"{story.scored} points in it. Structure, status and coefficients are those of the candidate that ranks "
            "first; predictions average all that selection kept.</p>",
        )
    )


def _bar(score: Rmsle, reach: float) -> str:
    """The error as a dot with its bar on a line that starts at 0."""
    if not np.isfinite(score.value) or reach <= 0:
        return ""
    x, end = (8 + 150 * value / reach for value in (score.value, score.value + score.error))
    start = max(2 * x - end, 8)
    return (
        '<svg viewBox="0 0 170 16" aria-hidden="true"><path d="M8 8H162" stroke="var(--grid)"/>'
        f'<path d="M{start:.1f} 8H{end:.1f}M{start:.1f} 4V12M{end:.1f} 4V12" stroke="var(--accent)"/>'
        f'<circle cx="{x:.1f}" cy="8" r="3" fill="var(--accent)"/></svg>'
    )


def _predictions(story: _Story) -> str:
    if not story.laws:
        return ""
    held_out = story.divided.held_out is not None
    factor = _factor_outside(story)
    panels = [
        figures.Panel(law=one.fit.law, note=f"RMSLE {one.score}", forecast=one.forecast, band=one is story.laws[0])
        for one in story.laws
    ]
    caption = (
        f"Predictions of the {len(story.target):,} {story.scored} points, a panel a law on equal axes; on the line "
        f"they are right. Vertical lines: the 90% interval of {story.laws[0].name}"
        f"{', for an even selection of points' if len(story.target) > figures.MOST_INTERVALS else ''}. "
    )
    if factor.max() > 1:
        caption += "Colour: the largest factor by which a column of a point leaves the fitted range. "
    caption += "Predictions far outside the range of the measurements stop at the border."
    title = "Held-out predictions" if held_out else "Predictions of the fitted points"
    blocks = [f"<h2>{title}</h2>"]
    if not held_out:
        blocks.append("<p>The split holds nothing out, so no law is tested outside its fit.</p>")
    svg = figures.predictions(panels, story.target.y, factor, story.scale, label=title)
    blocks.append(figure(svg, caption, narrow=len(panels) <= 2))
    if held_out:
        blocks.append(_by_distance(story, factor))
    return "\n".join(blocks)


def _factor_outside(story: _Story) -> np.ndarray:
    """For every point of the target, the largest factor by which a column leaves the fitted range; 1 inside."""
    factor = np.ones(len(story.target))
    for name, values in story.target.columns.items():
        known = story.divided.fitted.columns[name]
        factor = np.maximum(factor, np.maximum(values / known.max(), known.min() / values))
    return factor


def _by_distance(story: _Story, factor: np.ndarray) -> str:
    """Error and coverage of the best law by how far out a point lies, in powers of two."""
    best = story.laws[0]
    squares = np.log(best.forecast.median / story.target.y) ** 2
    # A point exactly a power of two outside belongs to the band that ends there.
    octave = np.ceil(np.log2(factor) - 1e-9).astype(int)

    def row(band: str, mask: np.ndarray) -> tuple[str, ...]:
        return band, f"{mask.sum():,}", f"{np.sqrt(squares[mask].mean()):.4f}", f"{best.inside[mask].mean():.0%}"

    rows = []
    for one in np.unique(octave):
        low, high = number(2.0 ** (one - 1)), number(2.0**one)
        band = "not at all" if one == 0 else f"up to {high}×" if one == 1 else f"{low}× to {high}×"
        rows.append(row(band, octave == one))
    rows.append(row("all", octave >= 0))
    head = ("outside the fitted range", "points", "RMSLE", "90% interval holds")
    return f"<h3>{best.name} by distance</h3>" + table(head, rows, numbers=(1, 2, 3))


def _along(story: _Story) -> str:
    divided = story.divided
    varying = columns(divided)
    best, second = (*(one.fit for one in story.laws), None, None)[:2]
    law = f" Curves: {safe(best.law)} with its 90% interval" if best else ""
    law += f"; dashed: {safe(second.law)}." if second else "." * bool(best)
    blocks = [
        "<h2>Data and fits along every column</h2>",
        "<p>Every mark is one measurement at an exact cell of the grid; seeds are marks of their own. Filled marks "
        f"were fitted, hollow ones held out; where the background is shaded, every point shown is held out.{law}</p>",
    ]
    for name in varying:
        shown = slices(divided, name, most=MOST_PANELS, most_levels=MOST_LINES)
        label = f"{story.study.metric.name} along {name}"
        title = words(name, story.units)
        blocks.append(f"<h3>{safe(title[:1].upper() + title[1:])}</h3>")
        if shown:
            svg = figures.along(shown, best, second, story.columns, story.scale, label=label, units=story.units)
            blocks.append(figure(svg, _slices_in_words(shown), narrow=len(shown) == 1))
        else:
            svg = figures.cloud(divided.rows, name, story.scale, label=label, units=story.units)
            blocks.append(
                figure(svg, f"All points along {safe(name)}: they form no grid, so no slice is drawn.", narrow=True)
            )
    if idle := [name for name in story.columns if name not in varying]:
        blocks.append(f"<p class=note>Not drawn, since every point has the same value: {enumeration(idle)}.</p>")
    return "\n".join(blocks)


def _slices_in_words(shown: Sequence[Slice]) -> str:
    parts = []
    for k, one in enumerate(shown):
        text = f"<b>{('Left: ', 'Right: ')[k]}</b>" if len(shown) > 1 else ""
        levels = enumeration([exact(level) for level in one.levels], bold=False)
        text += f"{'lines' if text else 'Lines'} are {safe(one.by)} {levels}" if one.by else "All points"
        if one.at:
            text += ", at " + ", ".join(f"{safe(name)} = {safe(exact(value))}" for name, value in one.at.items())
        out = int(one.rows["held_out"].sum())
        parts.append(f"{text} ({len(one.rows) - out:,} fitted and {out:,} held-out points).")
    return " ".join(parts)


def _coefficients(story: _Story) -> str:
    if not story.laws:
        return ""
    best = story.laws[0].fit
    terms: dict[str, dict[str, float]] = {}
    for name, value in best.coefficients.items():
        term, column = _term(name, story.columns)
        terms.setdefault(term, {})[column] = value
    used = [name for name in ("", *story.columns) if any(name in row for row in terms.values())]
    rows = [
        (safe(term), *(tidy(f"{row[name]:.4g}") if name in row else "" for name in used)) for term, row in terms.items()
    ]
    head = ("", *("value" if name == "" else f"of {safe(name)}" for name in used))
    averaged = len(best.members)
    which = f"the first of the {averaged} candidates that it averages" if averaged > 1 else "its one candidate"
    text = f"{safe(best.law)} ({safe(best.structure)}): {which}, in the units of the table."
    blocks = ["<h2>Coefficients</h2>", f"<p>{text}</p>", table(head, rows, numbers=range(1, len(head)))]
    if limits := [row for one in story.laws for row in _limits(story, one.fit)]:
        head = ("law", "limit", safe(story.study.metric.name), "its candidates, 5% to 95%")
        blocks += ["<h3>Limits that the laws see</h3>", table(head, limits, numbers=(2, 3))]
    return "\n".join(blocks)


def _term(name: str, names: Sequence[str]) -> tuple[str, str]:
    """`w1_step` as the term `w1` and the column `step`; a coefficient of no column is its own term."""
    ends = [column for column in names if name.endswith(f"_{column}")]
    column = max(ends, key=len, default="")
    return (name.removesuffix(f"_{column}"), column) if column else (name, "")


def _limits(story: _Story, fit: Fit) -> list[tuple[str, ...]]:
    rows = []
    for name, value in fit.coefficients.items():
        if name not in LIMITS or (name == "a" and "e" in fit.coefficients):  # M4's a is an exponent
            continue
        of_members = [member.form.coefficients(member.raw).get(name, np.nan) for member in fit.members]
        low, high = (_in_metric(story, end) for end in np.nanquantile(of_members, (0.05, 0.95)))
        spread = f"{low} to {high}" if len(fit.members) > 1 else ""
        rows.append((safe(fit.law), LIMITS[name], _in_metric(story, value), spread))
    return rows


def _in_metric(story: _Story, loss: float) -> str:
    return f"{float(story.study.metric.from_loss(np.array(loss))):.4g}"


def _residuals(story: _Story) -> str:
    if not story.laws:
        return ""
    best, rows = story.laws[0], story.divided.rows
    if len(rows) > MOST_RESIDUALS:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, MOST_RESIDUALS).round().astype(int)]
    predicted = best.fit.predict({name: rows[name].to_numpy(float) for name in story.columns})
    names = columns(story.divided)
    svg = figures.residuals(rows, predicted, names, label="residuals", units=story.units)
    caption = (
        f"What {best.name} leaves unexplained: the logarithm of measured over predicted loss for every point. A median "
        "away from 0 is misfit; the spread around it is noise. Fitted and held-out points stand side by side."
    )
    if len(rows) < len(story.divided.rows):
        caption += f" An even selection of {len(rows):,} of {len(story.divided.rows):,} points."
    return "<h2>Residuals</h2>\n" + figure(svg, caption, narrow=len(names) == 1)
