"""Figures as SVG: are the intervals right (reliability and PIT), and where is a budget best spent (isoFLOP curves)?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fitting import Allocations, Metric
from pipeline.errors import PipelineError

COLOURS = ("#c1440e", "#1f5f8b", "#5b8c2a", "#8a5aa8", "#8c7a2a", "#3a3a3a")
CURVE_REACH, CURVE_PLACES = 12.0, 61
"""An isoFLOP curve goes from a twelfth of the optimum to twelve times it, in so many places."""
INK, FAINT = "#222222", "#bbbbbb"


def draw_check(facts: Mapping[str, Any], path: str) -> None:
    """From `Check.to_json`. Raises PipelineError where there is nothing to draw, or the file cannot be written."""
    laws = [name for name in facts["reliability"] if name != "level"]
    if not laws:
        raise PipelineError("no blind forecast has been scored yet: there is nothing to draw")
    with _figure(path, 1, 2, figsize=(8.0, 3.6)) as (left, right):
        levels = facts["reliability"]["level"]
        left.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
        for law, colour in zip(laws, COLOURS * len(laws), strict=False):
            left.plot(levels, facts["reliability"][law], color=colour, marker="o", markersize=2.5, label=law)
            counts = facts["pit"][law]
            whole = sum(counts)
            edges = [i / len(counts) for i in range(len(counts) + 1)]
            right.stairs([count / whole * len(counts) for count in counts], edges, color=colour, label=law)
        left.set(xlabel="level of the interval", ylabel="share that held", xlim=(0, 1), ylim=(0, 1))
        left.set_title("Reliability: on the line, intervals are honest", loc="left", fontsize=9)
        left.legend(frameon=False)
        right.axhline(1, color=FAINT, linewidth=1)
        right.set(xlabel="place in the forecast distribution", ylabel="density", xlim=(0, 1))
        right.set_title("PIT: flat where all is right", loc="left", fontsize=9)


def draw_allocation(found: Allocations, metric: Metric, column: str, path: str) -> None:
    """The metric along one column at each budget, the others at their best, and the path of the optimum with its
    interval. Raises PipelineError where the column is not free, or the file cannot be written."""
    if column not in found.exponents:
        raise PipelineError(f"{column} is not free: there is no curve along it to draw")
    with _figure(path, 1, 1, figsize=(6.4, 4.2)) as axes:
        for one, colour in zip(found.optima, _shades(len(found.optima)), strict=True):
            values = one.at[column] * np.geomspace(1 / CURVE_REACH, CURVE_REACH, CURVE_PLACES)
            curve = metric.from_loss(found.curve(one.budget, column, values))
            axes.plot(values, curve, color=colour, linewidth=1.2, label=f"{one.budget:.3g}")
            axes.plot(one.intervals[column], [metric.from_loss(one.y)] * 2, color=colour, linewidth=4, alpha=0.35)
        best = [[one.at[column], float(metric.from_loss(one.y))] for one in found.optima]
        axes.plot(*zip(*best, strict=True), color=INK, marker="o", markersize=4, linewidth=1, label="optimum")
        slope, low, high = found.exponents[column]
        axes.set(xscale="log", xlabel=column, ylabel=metric.name)
        axes.set_title(
            f"{found.law}: {column} grows as budget^{slope:.2f} ({found.level:.0%}: {low:.2f} to {high:.2f})",
            loc="left",
            fontsize=9,
        )
        axes.legend(frameon=False, title=found.cost, title_fontsize=8, fontsize=8)


@contextmanager
def _figure(path: str, rows: int, columns: int, *, figsize: tuple[float, float]) -> Iterator[Any]:
    """Axes to draw on, written to a file in the end: the same file for the same facts."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    settings = {"svg.fonttype": "none", "svg.hashsalt": "unsl", "font.size": 9, "axes.spines.top": False}
    with pyplot.rc_context({**settings, "axes.spines.right": False, "axes.edgecolor": INK}):
        figure, axes = pyplot.subplots(rows, columns, figsize=figsize, layout="constrained")
        try:
            yield axes
            figure.savefig(path, format="svg", metadata={"Date": None})
        except OSError as error:
            raise PipelineError(f"{path} cannot be written ({error.strerror}): name another file") from error
        finally:
            pyplot.close(figure)


def _shades(count: int) -> list[Any]:
    """From light to dark as budgets grow."""
    from matplotlib import colormaps

    return [colormaps["YlOrBr"](0.35 + 0.6 * i / max(count - 1, 1)) for i in range(count)]
