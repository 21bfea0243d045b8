"""The still figures of a report, for paper and for readers without JavaScript. Facts in, SVG out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.report.drawing import (
    FITTED,
    GRID,
    HELD_OUT,
    INK,
    LEVELS,
    MARKERS,
    MOST_VECTORS,
    MUTED,
    PAPER,
    SHADE,
    WIDTH,
    MetricScale,
    draw,
    limits,
    log_x,
)
from pipeline.report.facts import LEVEL, CellsFacts, Column, LawFacts, LedgerFacts, Line, SliceFacts, TaskFacts
from pipeline.report.words import number, numbers, short

MOST_INTERVALS = 400
"""Intervals of one panel beyond which they would run into one grey."""
MOST_LAWS = 8
"""Panels of predictions: two rows."""
NARROW = 0.62
"""A panel that stands alone need not be as wide as the page; the page's style says the same."""


def hero(task: TaskFacts, one: SliceFacts, scale: MetricScale) -> str:
    """Measured small, forecast large, what came: one slice, its fitted points and its held-out ones."""
    points = [scale.place(np.array(line.loss)) for line in one.lines]
    curves = [scale.place(np.array(line.median)) for line in one.lines if line.median]
    window = limits(points, room=0.5)
    low, high = limits([*points, *(np.clip(curve, *window) for curve in curves)])

    def build(figure) -> None:
        axes = figure.subplots()
        _panel(axes, one, task, scale, (low, high), pixels=False)
        axes.set_ylabel(scale.label)
        figure.legend(handles=_keys(task, [one], second=False), loc="outside lower left", ncols=3)

    label = f"{scale.metric.name} along {one.along}: measured, forecast and what came"
    return draw(build, height=4.3, width=WIDTH * NARROW, label=label)


def predictions(task: TaskFacts, scale: MetricScale) -> str:
    """Predicted against measured loss for each law on equal axes; colour: by which factor a point leaves the fit."""
    laws = task.fits[:MOST_LAWS]
    scored = np.array(task.points.held_out) if task.held_out else np.ones(len(task.points.loss), bool)
    measured = np.array(task.points.loss)[scored]
    across = min(len(laws), 4)
    down = math.ceil(len(laws) / across)
    truth = scale.place(measured)
    # A law that is far off must not squeeze the others: its points stop at the border of the range of the sound ones.
    wide = limits([truth], room=0.6)
    places = [np.clip(scale.place(np.array(law.predicted)[scored]), *wide) for law in laws]
    low, high = limits([truth, *places])
    pixels = measured.size * len(laws) > MOST_VECTORS
    factor = outside_of(task)[scored]
    shade = np.log(factor)
    order = np.argsort(shade, kind="stable")
    few = np.argsort(truth, kind="stable")[:: measured.size // MOST_INTERVALS + 1]

    def build(figure) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        ramp = LinearSegmentedColormap.from_list("far", LEVELS)
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes, law, place in zip(grid.flat, laws, places, strict=False):
            axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8, zorder=1)
            if law.low:
                ends = [np.clip(scale.place(np.array(end)[scored])[few], low, high) for end in (law.low, law.high)]
                axes.vlines(truth[few], *ends, color=MUTED, alpha=0.3, linewidth=0.7, rasterized=pixels, zorder=2)
            dots = axes.scatter(
                truth[order],
                place[order],
                c=shade[order],
                cmap=ramp,
                vmin=0,
                vmax=max(float(shade.max()), 1e-9),
                s=float(np.clip(60 / measured.size**0.25, 4, 24)),
                linewidths=0,
                alpha=0.75,
                rasterized=pixels,
                zorder=3,
            )
            axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
            axes.set_title(short(law.law, 24), fontweight="bold", pad=14)
            score = task.score(law)
            axes.annotate(
                f"RMSLE {score.value:.4f} ± {score.bar:.4f}" if score else "",
                (0, 1),
                (0, 4),
                xycoords="axes fraction",
                textcoords="offset points",
                color=MUTED,
                fontsize=7.5,
            )
            scale.on(axes.xaxis, low, high, most=5)
            scale.on(axes.yaxis, low, high, most=6)
        for axes in grid.flat[len(laws) :]:
            axes.axis("off")
        for axes in grid.flat[max(len(laws) - across, 0) : len(laws)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel(f"measured {scale.label}", fontsize=8)
        figure.supylabel("predicted", fontsize=8)
        if shade.max() > 0:
            bar = figure.colorbar(dots, ax=grid, aspect=30, pad=0.015, fraction=0.03)
            ticks = _powers_of_two(float(factor.max()))
            bar.set_ticks(np.log(ticks), labels=[f"{number(tick)}×" for tick in ticks])
            bar.set_label("factor outside the fitted range")
            bar.solids.set(alpha=1, rasterized=True, edgecolor="face")
            bar.outline.set_visible(False)

    width = WIDTH if across > 2 else WIDTH * NARROW
    side = min((width - 1.9) / across, 3.2)
    return draw(build, height=0.42 + down * (side + 0.4), width=width, label=f"{task.scored} predictions")


def along(task: TaskFacts, shown: Sequence[SliceFacts], scale: MetricScale) -> str:
    """Measurements and fits along one column, a panel a slice."""
    lines = [line for one in shown for line in one.lines]
    points = [scale.place(np.array(line.loss)) for line in lines]
    drawn = [scale.place(np.array(curve)) for line in lines for curve in (line.median, line.second) if curve]
    # The band may leave the figure; the curves and the points may not.
    window = limits(points, room=0.5)
    low, high = limits([*points, *(np.clip(curve, *window) for curve in drawn)])
    pixels = sum(place.size for place in points) > MOST_VECTORS

    def build(figure) -> None:
        grid = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, one in zip(grid, shown, strict=True):
            _panel(axes, one, task, scale, (low, high), pixels=pixels)
            axes.tick_params(labelleft=True)
        grid[0].set_ylabel(scale.label)
        figure.legend(handles=_keys(task, shown, second=True), loc="outside lower left", ncols=6)

    width = WIDTH if len(shown) > 1 else WIDTH * NARROW
    return draw(build, height=4.5, width=width, label=f"{scale.metric.name} along {shown[0].along}")


def cloud(task: TaskFacts, column: Column, scale: MetricScale) -> str:
    """Every point along one column, where the data are no grid and no slice can be drawn."""
    x, y = np.array(task.points.columns[column.name]), np.array(task.points.loss)
    held_out = np.array(task.points.held_out)

    def build(figure) -> None:
        axes = figure.subplots()
        for mask, colour, name in ((~held_out, FITTED, "fitted"), (held_out, HELD_OUT, "held out")):
            if mask.any():
                axes.scatter(
                    np.log(x[mask]),
                    scale.place(y[mask]),
                    s=8,
                    color=colour,
                    alpha=0.5,
                    linewidths=0,
                    label=name,
                    rasterized=len(y) > MOST_VECTORS,
                )
        low, high = limits([scale.place(y)])
        log_x(axes, x)
        axes.set_ylim(low, high)
        scale.on(axes.yaxis, low, high)
        axes.set_xlabel(short(column.title))
        axes.set_ylabel(scale.label)
        figure.legend(loc="outside lower left", ncols=2, markerscale=2)

    return draw(build, height=4.2, width=WIDTH * NARROW, label=f"{scale.metric.name} along {column.name}")


def residuals(task: TaskFacts, law: LawFacts) -> str:
    """ln(measured / predicted) of the loss against every column, fitted and held-out points side by side."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.log(np.array(task.points.loss) / np.array(law.predicted))
    finite, held_out = np.isfinite(error), np.array(task.points.held_out)
    reach = max(float(np.abs(error[finite]).max(initial=0)), 0.01) * 1.08
    across = min(len(task.drawn), 2)
    down = math.ceil(len(task.drawn) / across)
    parts = ((~held_out, FITTED, -1), (held_out, HELD_OUT, 1))

    def build(figure) -> None:
        from matplotlib.lines import Line2D

        grid = figure.subplots(down, across, sharey=True, squeeze=False)
        for axes, column in zip(grid.flat, task.drawn, strict=False):
            x = np.array(task.points.columns[column.name])
            log_x(axes, x, room=0.06)
            z = np.log(x)
            # Room around a level: a part of the distance to its neighbours, a hair where the column is dense.
            room = max(float(np.diff(np.unique(z)).min(initial=np.inf)), (z.max() - z.min()) / 60)
            room = min(room, (z.max() - z.min()) / 8 or 1.0)
            axes.axhline(0, color=INK, linewidth=0.8)
            for mask, colour, side in parts:
                mask = mask & finite
                if not mask.any():
                    continue
                # The golden ratio spreads points of one level evenly, so that they do not hide each other.
                spread = (np.arange(mask.sum()) * 0.618034 % 1 - 0.5) * 0.24 + 0.17 * side
                axes.scatter(
                    z[mask] + spread * room,
                    error[mask],
                    s=5,
                    color=colour,
                    alpha=0.35,
                    linewidths=0,
                    rasterized=error.size * len(task.drawn) > MOST_VECTORS,
                )
                middle, median = _running_median(z[mask], error[mask])
                axes.plot(
                    middle + 0.17 * side * room,
                    median,
                    color=colour,
                    linewidth=1.2,
                    marker="o",
                    markersize=5,
                    markeredgecolor=PAPER,
                    zorder=4,
                )
            axes.set_ylim(-reach, reach)
            axes.set_xlabel(short(column.title, 30))
        for axes in grid.flat[len(task.drawn) :]:
            axes.axis("off")
        figure.supylabel("ln(measured / predicted)", fontsize=8)
        handles = [
            Line2D([], [], color=colour, marker="o", markersize=4, label=f"{what}: points and their median")
            for (mask, colour, _), what in zip(parts, ("fitted", "held out"), strict=True)
            if mask.any()
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=2)

    return draw(build, height=0.5 + 2.9 * down, width=WIDTH if across > 1 else WIDTH * NARROW, label="residuals")


def learning_curves(cells: CellsFacts, scale: MetricScale) -> str:
    """The learning curves of the cells, thinned."""

    def build(figure) -> None:
        axes = figure.subplots()
        for curve in cells.curves:
            colour = HELD_OUT if curve.held_out else FITTED
            axes.plot(np.log(curve.step), scale.place(np.array(curve.loss)), color=colour, linewidth=0.7, alpha=0.45)
        low, high = limits([scale.place(np.array(curve.loss)) for curve in cells.curves])
        log_x(axes, np.array([step for curve in cells.curves for step in curve.step]))
        axes.set_ylim(low, high)
        scale.on(axes.yaxis, low, high)
        axes.set_xlabel("optimiser steps")
        axes.set_ylabel(scale.label)

    return draw(build, height=4.2, width=WIDTH * NARROW, label="learning curves")


def reliability(ledger: LedgerFacts) -> str:
    """Of intervals of each nominal probability, the share that held."""

    def build(figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(4, 3))
        for k, one in enumerate(ledger.reliability):
            colour, marker = LEVELS[k % len(LEVELS)], MARKERS[k % len(MARKERS)]
            axes.plot(one.level, one.held, color=colour, marker=marker, markersize=3, linewidth=1.2, label=one.law)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="nominal", ylabel="held")
        if ledger.reliability:
            axes.legend(loc="upper left")

    return draw(build, height=3.6, width=3.6, label="reliability of the intervals")


def outside_of(task: TaskFacts) -> np.ndarray:
    """For every point of a task, the largest factor by which a column leaves the fitted range; 1 inside."""
    factor = np.ones(len(task.points.loss))
    for column in task.columns:
        values = np.array(task.points.columns[column.name])
        factor = np.maximum(factor, np.maximum(values / column.fitted_high, column.fitted_low / values))
    # Points are rounded to a few digits, and a rounded level is no extrapolation.
    return np.where(factor < 1 + 1e-4, 1.0, factor)


def _panel(
    axes, one: SliceFacts, task: TaskFacts, scale: MetricScale, span: tuple[float, float], *, pixels: bool
) -> None:
    log_x(axes, np.array([x for line in one.lines for x in line.x]))
    axes.set_ylim(*span)
    scale.on(axes.yaxis, *span)
    _shade_held_out(axes, one)
    for rank, line in enumerate(one.lines):
        _draw_line(axes, line, scale, rank=_rank(rank, len(one.lines)), pixels=pixels)
    axes.set_xlabel(short(title_of(task, one.along)))
    if one.by is not None:
        _level_legend(axes, one, task)


def title_of(task: TaskFacts, name: str) -> str:
    return next((column.title for column in task.columns if column.name == name), name)


def _draw_line(axes, line: Line, scale: MetricScale, *, rank: int, pixels: bool) -> None:
    colour, marker = LEVELS[rank], MARKERS[rank]
    at = np.log(line.at)
    if line.median:
        ends = scale.place(np.array(line.low)), scale.place(np.array(line.high))
        axes.fill_between(at, *ends, color=colour, alpha=0.13, linewidth=0, zorder=2)
        axes.plot(at, scale.place(np.array(line.median)), color=colour, linewidth=1.6, zorder=4)
    if line.second:
        axes.plot(at, scale.place(np.array(line.second)), color=colour, linewidth=1, dashes=(4, 2.5), zorder=3)
    held_out = np.array(line.held_out)
    for mask, face in ((~held_out, colour), (held_out, "none" if pixels else PAPER)):
        axes.scatter(
            np.log(np.array(line.x)[mask]),
            scale.place(np.array(line.loss)[mask]),
            s=13 if held_out.size < 60 else 8,
            marker=marker,
            facecolors=face,
            edgecolors=colour,
            linewidths=0.8,
            alpha=0.3 if pixels else 0.9,
            rasterized=pixels,
            zorder=2.5 if pixels else 5,
        )


def ends_held_out(one: SliceFacts) -> dict[float, bool]:
    """For each value along the axis, smallest first, whether every point shown there is held out."""
    whole: dict[float, bool] = {}
    for line in one.lines:
        for x, held_out in zip(line.x, line.held_out, strict=True):
            whole[x] = whole.get(x, True) and held_out
    return dict(sorted(whole.items()))


def _shade_held_out(axes, one: SliceFacts) -> None:
    """Mark the end of the axis on which every point shown is held out, where there is such an end."""
    whole = ends_held_out(one)
    mask = np.array(list(whole.values()))
    if not mask[-1]:
        return
    z = np.log(list(whole))
    right = axes.get_xlim()[1]
    inside = np.flatnonzero(~mask)
    left = axes.get_xlim()[0] if inside.size == 0 else (z[inside[-1]] + z[inside[-1] + 1]) / 2
    axes.axvspan(left, right, color=SHADE, linewidth=0, zorder=0)


def _level_legend(axes, one: SliceFacts, task: TaskFacts) -> None:
    from matplotlib.lines import Line2D

    ranks = [_rank(k, len(one.lines)) for k in range(len(one.lines))]
    labels = numbers([line.level for line in one.lines])
    handles = [
        Line2D([], [], color=LEVELS[rank], marker=MARKERS[rank], markersize=4, linewidth=1.6, label=label)
        for rank, label in zip(ranks, labels, strict=True)
    ]
    legend = axes.legend(
        handles=handles,
        title=short(title_of(task, one.by or "")),
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(handles),
        alignment="left",
        borderpad=0,
        columnspacing=1.4,
        handlelength=1.6,
    )
    legend.get_title().set_color(MUTED)


def _keys(task: TaskFacts, shown: Sequence[SliceFacts], *, second: bool) -> list[Any]:
    """What marks and lines mean, whatever their colour."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    held_out = {mark for one in shown for line in one.lines for mark in line.held_out}
    dot = {"linestyle": "none", "marker": "o", "markersize": 4, "markeredgecolor": MUTED}
    keys: list[Any] = []
    if False in held_out:
        keys.append(Line2D([], [], markerfacecolor=MUTED, label="fitted", **dot))
    if True in held_out:
        keys.append(Line2D([], [], markerfacecolor="none", label="held out", **dot))
    if any(list(ends_held_out(one).values())[-1] for one in shown):
        keys.append(Patch(facecolor=SHADE, edgecolor=GRID, linewidth=0.6, label="all held out"))
    if task.fits:
        keys.append(Line2D([], [], color=MUTED, linewidth=1.6, label=short(task.fits[0].law, 20)))
        keys.append(Patch(facecolor=MUTED, alpha=0.25, label=f"{LEVEL:.0%} interval"))
    if second and len(task.fits) > 1:
        keys.append(Line2D([], [], color=MUTED, linewidth=1, dashes=(4, 2.5), label=short(task.fits[1].law, 20)))
    return keys


def _powers_of_two(most: float) -> list[float]:
    """1, 2, 4, ... up to `most`, or every second, third, ... of them, so that there are at most seven."""
    octaves = int(math.log2(most) + 1e-9)
    return [2.0**k for k in range(0, octaves + 1, octaves // 7 + 1)]


def _rank(k: int, levels: int) -> int:
    """Colour of the k-th of some levels: the ends of the palette are always used."""
    return round(k * (len(LEVELS) - 1) / max(levels - 1, 1)) if levels > 1 else 0


def _running_median(z: np.ndarray, values: np.ndarray, most: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Medians at the levels of a column, or in bins of equal width where it has many."""
    levels = np.unique(z)
    edges = levels if levels.size <= most else np.linspace(levels[0], levels[-1], most + 1)[:-1]
    bins = np.searchsorted(edges, z, side="right") - 1
    filled = np.unique(bins)
    middles = np.array([z[bins == one].mean() for one in filled])
    return middles, np.array([np.median(values[bins == one]) for one in filled])
