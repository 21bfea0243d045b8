"""The still figures of an allocation: isoFLOP curves with the optimum's path, and hyperparameters along scale."""

from __future__ import annotations

import numpy as np

from pipeline.report.drawing import INK, LEVELS, MARKERS, MUTED, SHADE, WIDTH, MetricScale, draw, limits, log_x
from pipeline.report.facts import Allocation, Setting, TaskFacts
from pipeline.report.figures import NARROW, title_of
from pipeline.report.words import log_ticks, number, numbers, short

AROUND = 10.0
"""By what factor the figure goes beyond the path of the optimum; `allocation.js` says the same."""
DASHES = ((5, 2), (1, 1.5))
"""Of the lines that others have published."""


def isoflops(task: TaskFacts, one: Allocation, scale: MetricScale) -> str:
    """Least loss along one column, a curve a budget; the optimum of each with its interval."""
    best = np.array([optimum.at[one.along] for optimum in one.path])
    low, high = best.min() / AROUND, best.max() * AROUND
    shown = [(np.array(curve.x), np.array(curve.loss), curve.budget) for curve in one.curves]
    shown = [(x[(low <= x) & (x <= high)], loss[(low <= x) & (x <= high)], budget) for x, loss, budget in shown]
    optima = scale.place(np.array([optimum.loss for optimum in one.path]))
    # A curve may climb out of the figure far from its optimum; the optima may not.
    window = limits([optima], room=1.2)
    places = [np.clip(scale.place(loss), *window) for _, loss, _ in shown]
    span = limits([optima, *places])

    def build(figure) -> None:
        axes = figure.subplots()
        for k, (x, loss, budget) in enumerate(shown):
            colour = ramp(k, len(shown))
            axes.plot(np.log(x), scale.place(loss), color=colour, linewidth=1.3, label=number(budget))
            ends = one.path[k].low[one.along], one.path[k].high[one.along]
            axes.plot(np.log(np.clip(ends, low, high)), [optima[k]] * 2, color=colour, linewidth=4, alpha=0.3)
        axes.plot(np.log(best), optima, color=INK, linewidth=1, marker="o", markersize=4.5, zorder=5, label="optimum")
        log_x(axes, np.array([low, high]), room=0.0)
        axes.set_ylim(*span)
        scale.on(axes.yaxis, *span)
        axes.set_xlabel(short(title_of(task, one.along)))
        axes.set_ylabel(scale.label)
        legend = figure.legend(loc="outside right center", title=one.cost.unit)
        legend.get_title().set_color(MUTED)

    label = f"{scale.metric.name} along {one.along} at equal cost, and the optimum of each budget"
    return draw(build, height=4.3, width=WIDTH * NARROW, label=label)


def setting(task: TaskFacts, one: Setting) -> str:
    """The best value of a hyperparameter along scale, with its interval, and what others have published."""
    own = [line for line in one.lines if not line.source]
    others = [line for line in one.lines if line.source]
    x = np.array([value for line in one.lines for value in line.x])
    values = np.log([value for line in own for value in line.value] + list(one.tested))
    low, high = values.min() - 1.2, values.max() + 1.2
    drawn = np.log([value for line in others for value in line.value])
    span = limits([np.array([low, high]), drawn], room=0.03)
    by = short((one.by or "").replace("_", " "), 18)

    def build(figure) -> None:
        axes = figure.subplots()
        axes.axhspan(*np.log(one.tested), color=SHADE, linewidth=0, zorder=0, label="fitted")
        for k, line in enumerate(own):
            look = {"color": ramp(k, len(own)), "marker": MARKERS[k % len(MARKERS)], "markersize": 3.5}
            name = one.law if line.level is None else f"{by} {number(line.level)}"
            at = np.log(line.x)
            axes.fill_between(at, np.log(line.low), np.log(line.high), color=look["color"], alpha=0.12, linewidth=0)
            axes.plot(at, np.log(line.value), linewidth=1.5, label=name, **look)
        for line, dashes in zip(others, DASHES * len(others), strict=False):
            axes.plot(np.log(line.x), np.log(line.value), color=MUTED, dashes=dashes, linewidth=1.3, label=line.source)
        log_x(axes, x)
        axes.set_ylim(*span)
        _log_y(axes, *span)
        axes.set_xlabel(short(title_of(task, one.along)))
        axes.set_ylabel(short(f"best {title_of(task, one.name)}"))
        figure.legend(loc="outside right center")

    return draw(build, height=3.8, width=WIDTH * NARROW, label=f"the best {one.name} along {one.along}")


def ramp(k: int, of: int) -> str:
    """A colour between the ends of the palette, by the rank of an ordered level."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    return to_hex(LinearSegmentedColormap.from_list("levels", LEVELS)(k / max(of - 1, 1)))


def _log_y(axes, low: float, high: float) -> None:
    ticks = log_ticks(float(np.exp(low)), float(np.exp(high)))
    axes.set_yticks(np.log(ticks), labels=numbers(ticks))
