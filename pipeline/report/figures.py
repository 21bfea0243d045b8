"""The figures of a report: held-out predictions, data and fits along a column, residuals. Values in, SVG out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fitting import Fit, Forecast
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
    number,
    numbers,
    short,
    words,
)
from pipeline.report.slices import Slice

LEVEL = 0.9
"""Probability with which intervals shall hold a new measurement."""
CURVE = 90
"""Places along a curve."""
MOST_INTERVALS = 400
"""Intervals of one panel beyond which they would run into one grey."""
NARROW = 0.62
"""A panel that stands alone need not be as wide as the page; the page's style says the same."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One law against the measurements."""

    law: str
    note: str
    forecast: Forecast
    band: bool
    """Whether its interval is drawn."""


def predictions(
    panels: Sequence[Panel], measured: np.ndarray, factor: np.ndarray, scale: MetricScale, *, label: str
) -> str:
    """Predicted against measured loss for each law on equal axes; colour: by which factor a point leaves the fit."""
    across = min(len(panels), 4)
    down = math.ceil(len(panels) / across)
    truth = scale.place(measured)
    # A law that is far off must not squeeze the others: its points stop at the border of the range of the sound ones.
    wide = limits([truth], room=0.6)
    places = [np.clip(scale.place(panel.forecast.median), *wide) for panel in panels]
    low, high = limits([truth, *places])
    pixels = measured.size * len(panels) > MOST_VECTORS
    shade = np.log(factor)
    order = np.argsort(shade, kind="stable")
    few = np.argsort(truth, kind="stable")[:: measured.size // MOST_INTERVALS + 1]

    def build(figure) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        ramp = LinearSegmentedColormap.from_list("far", LEVELS)
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        for axes, panel, place in zip(grid.flat, panels, places, strict=False):
            axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8, zorder=1)
            if panel.band:
                ends = [np.clip(scale.place(end)[few], low, high) for end in (panel.forecast.low, panel.forecast.high)]
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
            axes.set_title(short(panel.law, 24), fontweight="bold", pad=14)
            axes.annotate(
                panel.note,
                (0, 1),
                (0, 4),
                xycoords="axes fraction",
                textcoords="offset points",
                color=MUTED,
                fontsize=7.5,
            )
            scale.on(axes.xaxis, low, high, most=5)
            scale.on(axes.yaxis, low, high, most=6)
        for axes in grid.flat[len(panels) :]:
            axes.axis("off")
        for axes in grid.flat[max(len(panels) - across, 0) : len(panels)]:
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
    return draw(build, height=0.42 + down * (side + 0.4), width=width, label=label)


def along(
    slices: Sequence[Slice],
    best: Fit | None,
    second: Fit | None,
    names: Sequence[str],
    scale: MetricScale,
    *,
    label: str,
    units: Mapping[str, str],
) -> str:
    """Measurements and fits along one column, a panel a slice."""
    curves = [_curves(one, names, best, second) for one in slices]
    points = [scale.place(one.rows["loss"].to_numpy(float)) for one in slices]
    drawn = [scale.place(curve) for panel in curves for level in panel for curve in level["shown"]]
    # The band may leave the figure; the curves and the points may not.
    window = limits(points, room=0.5)
    low, high = limits([*points, *(np.clip(curve, *window) for curve in drawn)])
    pixels = sum(place.size for place in points) > MOST_VECTORS

    def build(figure) -> None:
        grid = figure.subplots(1, len(slices), sharey=True, squeeze=False)[0]
        for axes, one, panel in zip(grid, slices, curves, strict=True):
            x = one.rows[one.along].to_numpy(float)
            log_x(axes, x)
            axes.set_ylim(low, high)
            scale.on(axes.yaxis, low, high)
            axes.tick_params(labelleft=True)
            _shade_held_out(axes, one)
            for rank, (level, lines) in enumerate(zip(one.levels, panel, strict=True)):
                _draw_level(
                    axes, one.of(level), one.along, lines, scale, rank=_rank(rank, len(one.levels)), pixels=pixels
                )
            axes.set_xlabel(short(words(one.along, units)))
            if one.by is not None:
                _level_legend(axes, one, units)
        grid[0].set_ylabel(scale.label)
        figure.legend(handles=_keys(best, second, slices), loc="outside lower left", ncols=6)

    return draw(build, height=4.5, width=WIDTH if len(slices) > 1 else WIDTH * NARROW, label=label)


def cloud(rows: Any, column: str, scale: MetricScale, *, label: str, units: Mapping[str, str]) -> str:
    """Every point along one column, where the data are no grid and no slice can be drawn."""

    def build(figure) -> None:
        axes = figure.subplots()
        for held_out, colour, name in ((False, FITTED, "fitted"), (True, HELD_OUT, "held out")):
            part = rows[rows["held_out"] == held_out]
            if len(part):
                x, y = np.log(part[column].to_numpy(float)), scale.place(part["loss"].to_numpy(float))
                axes.scatter(
                    x, y, s=8, color=colour, alpha=0.5, linewidths=0, label=name, rasterized=len(rows) > MOST_VECTORS
                )
        low, high = limits([scale.place(rows["loss"].to_numpy(float))])
        log_x(axes, rows[column].to_numpy(float))
        axes.set_ylim(low, high)
        scale.on(axes.yaxis, low, high)
        axes.set_xlabel(short(words(column, units)))
        axes.set_ylabel(scale.label)
        figure.legend(loc="outside lower left", ncols=2, markerscale=2)

    return draw(build, height=4.2, width=WIDTH * NARROW, label=label)


def residuals(rows: Any, predicted: np.ndarray, names: Sequence[str], *, label: str, units: Mapping[str, str]) -> str:
    """ln(measured / predicted) of the loss against every column, fitted and held-out points side by side."""
    error = np.log(rows["loss"].to_numpy(float) / predicted)
    finite = np.isfinite(error)
    reach = max(float(np.abs(error[finite]).max(initial=0)), 0.01) * 1.08
    across = min(len(names), 2)
    down = math.ceil(len(names) / across)
    parts = ((~rows["held_out"].to_numpy(bool), FITTED, -1), (rows["held_out"].to_numpy(bool), HELD_OUT, 1))

    def build(figure) -> None:
        from matplotlib.lines import Line2D

        grid = figure.subplots(down, across, sharey=True, squeeze=False)
        for axes, name in zip(grid.flat, names, strict=False):
            x = rows[name].to_numpy(float)
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
                    s=6 if len(rows) < 5000 else 3,
                    color=colour,
                    alpha=0.35,
                    linewidths=0,
                    rasterized=len(rows) * len(names) > MOST_VECTORS,
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
            axes.set_xlabel(short(words(name, units), 30))
        for axes in grid.flat[len(names) :]:
            axes.axis("off")
        figure.supylabel("ln(measured / predicted)", fontsize=8)
        handles = [
            Line2D([], [], color=colour, marker="o", markersize=4, label=f"{what}: points and their median")
            for (mask, colour, _), what in zip(parts, ("fitted", "held out"), strict=True)
            if mask.any()
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=2)

    return draw(build, height=0.5 + 2.9 * down, width=WIDTH if across > 1 else WIDTH * NARROW, label=label)


def _curves(one: Slice, names: Sequence[str], best: Fit | None, second: Fit | None) -> list[dict[str, Any]]:
    """For each level, the best law's forecast and the runner-up's prediction along the slice, as losses."""
    values = one.rows[one.along].to_numpy(float)
    x = np.geomspace(values.min(), values.max(), CURVE)
    out = []
    for level in one.levels:
        columns: Mapping[str, Any] = {
            name: x if name == one.along else np.full(CURVE, level if name == one.by else one.at.get(name, np.nan))
            for name in names
        }
        forecast = best.forecast(columns, LEVEL) if best else None
        other = second.predict(columns) if second else None
        shown = [curve for curve in (forecast.median if forecast else None, other) if curve is not None]
        out.append({"x": np.log(x), "best": forecast, "second": other, "shown": shown})
    return out


def _draw_level(axes, rows, column, lines, scale: MetricScale, *, rank: int, pixels: bool) -> None:
    colour, marker = LEVELS[rank], MARKERS[rank]
    if lines["best"] is not None:
        ends = scale.place(lines["best"].low), scale.place(lines["best"].high)
        axes.fill_between(lines["x"], *ends, color=colour, alpha=0.13, linewidth=0, zorder=2)
        axes.plot(lines["x"], scale.place(lines["best"].median), color=colour, linewidth=1.6, zorder=4)
    if lines["second"] is not None:
        axes.plot(lines["x"], scale.place(lines["second"]), color=colour, linewidth=1, dashes=(4, 2.5), zorder=3)
    for held_out, face in ((False, colour), (True, "none" if pixels else PAPER)):
        part = rows[rows["held_out"] == held_out]
        axes.scatter(
            np.log(part[column].to_numpy(float)),
            scale.place(part["loss"].to_numpy(float)),
            s=13 if len(rows) < 60 else 8,
            marker=marker,
            facecolors=face,
            edgecolors=colour,
            linewidths=0.8,
            alpha=0.3 if pixels else 0.9,
            rasterized=pixels,
            zorder=2.5 if pixels else 5,
        )


def _ends_held_out(one: Slice) -> Any:
    """For each value along the axis, smallest first, whether every point shown there is held out."""
    return one.rows.groupby(one.along, sort=True)["held_out"].all()


def _shade_held_out(axes, one: Slice) -> None:
    """Mark the end of the axis on which every point shown is held out, where there is such an end."""
    whole = _ends_held_out(one)
    if not whole.iloc[-1]:
        return
    z = np.log(whole.index.to_numpy(float))
    right = axes.get_xlim()[1]
    inside = np.flatnonzero(~whole.to_numpy())
    left = axes.get_xlim()[0] if inside.size == 0 else (z[inside[-1]] + z[inside[-1] + 1]) / 2
    axes.axvspan(left, right, color=SHADE, linewidth=0, zorder=0)


def _level_legend(axes, one: Slice, units: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    ranks = [_rank(k, len(one.levels)) for k in range(len(one.levels))]
    labels = numbers(one.levels)
    handles = [
        Line2D([], [], color=LEVELS[rank], marker=MARKERS[rank], markersize=4, linewidth=1.6, label=label)
        for rank, label in zip(ranks, labels, strict=True)
    ]
    legend = axes.legend(
        handles=handles,
        title=short(words(one.by or "", units)),
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(handles),
        alignment="left",
        borderpad=0,
        columnspacing=1.4,
        handlelength=1.6,
    )
    legend.get_title().set_color(MUTED)


def _keys(best: Fit | None, second: Fit | None, slices: Sequence[Slice]) -> list:
    """What marks and lines mean, whatever their colour."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    held_out = [bool(value) for one in slices for value in one.rows["held_out"].unique()]
    dot = {"linestyle": "none", "marker": "o", "markersize": 4, "markeredgecolor": MUTED}
    keys: list = []
    if False in held_out:
        keys.append(Line2D([], [], markerfacecolor=MUTED, label="fitted", **dot))
    if True in held_out:
        keys.append(Line2D([], [], markerfacecolor="none", label="held out", **dot))
    if any(_ends_held_out(one).iloc[-1] for one in slices):
        keys.append(Patch(facecolor=SHADE, edgecolor=GRID, linewidth=0.6, label="all held out"))
    if best:
        keys.append(Line2D([], [], color=MUTED, linewidth=1.6, label=short(best.law, 20)))
        keys.append(Patch(facecolor=MUTED, alpha=0.25, label=f"{LEVEL:.0%} interval"))
    if second:
        keys.append(Line2D([], [], color=MUTED, linewidth=1, dashes=(4, 2.5), label=short(second.law, 20)))
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
