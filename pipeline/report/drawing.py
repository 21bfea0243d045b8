"""How the report's still figures look: colours, axes, and SVG that follows the page into dark mode.

Figures are drawn in logarithms on linear axes, with ticks placed here: that gives one way to treat columns, metrics of
which less is better and metrics of which more is better, and ticks that are a grid's levels where there are few.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from fitting import Metric
from pipeline.report.facts import MetricFacts
from pipeline.report.words import log_ticks, numbers, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that the page replaces by its own, so that one figure reads on white and on black.
INK, MUTED, GRID, PAPER, SHADE = "#15191e", "#5b6570", "#e3e6ea", "#fdfefe", "#ebeef2"
_PAGE_COLOURS = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper", SHADE: "--shade"}
# Okabe and Ito's blue and vermilion: told apart by everyone, legible on both backgrounds.
FITTED, HELD_OUT = "#0b7bb8", "#d55e00"
# Ordered levels: hue and lightness both rise, as in plasma, without its extremes, which vanish on white or on black.
LEVELS = ("#665ddb", "#a845a8", "#de5170", "#f08a3c", "#d9ae2b")
MARKERS = ("o", "s", "^", "D", "v")

WIDTH = 10.8
"""Inches of a figure across the page; text of 8 points then reads like the page's small print at 1200 pixels."""
MOST_VECTORS = 2000
"""Marks of one figure beyond which they become pixels: a mark as a vector takes some 150 bytes."""

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "unsl",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.dpi": 200,
}


@dataclass(frozen=True, kw_only=True)
class MetricScale:
    """Where a metric lies on a figure: logarithmic in the loss that laws see, labelled as users know it, more is up."""

    metric: Metric

    @classmethod
    def of(cls, facts: MetricFacts) -> MetricScale:
        return cls(metric=Metric(name=facts.name, direction=facts.direction, floor=facts.floor, best=facts.best))

    @property
    def label(self) -> str:
        better = "higher is better" if self.metric.direction == "higher" else "lower is better"
        return f"{short(self.metric.name.replace('_', ' '), 30)} ({better})"

    def place(self, loss: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._sign * np.log(np.asarray(loss, float))

    def ticks(self, low: float, high: float, most: int = 6) -> tuple[list[float], list[str]]:
        """Places and labels between two places."""
        metric, sign = self.metric, self._sign
        # Round in the quantity that is logarithmic: the loss, or its inverse where that is how the metric was mapped.
        inverse = metric.direction == "higher" and metric.best is None
        bounds = sorted(math.exp(sign * place * (-1 if inverse else 1)) for place in (low, high))
        losses = [1 / value if inverse else value for value in log_ticks(*bounds, most)]
        labels = numbers([float(metric.from_loss(np.array(loss))) for loss in losses])
        return [sign * math.log(loss) for loss in losses], labels

    def on(self, axis: Any, low: float, high: float, most: int = 6) -> None:
        """Put ticks on an axis (`axes.xaxis` or `axes.yaxis`)."""
        places, labels = self.ticks(low, high, most)
        axis.set_ticks(places, labels=labels)

    @property
    def _sign(self) -> float:
        return -1.0 if self.metric.direction == "higher" else 1.0


def log_x(axes: Axes, values: np.ndarray, *, room: float = 0.04, most: int = 7) -> None:
    """Range and ticks of a column's axis, in natural logarithms: the levels themselves where few and far apart."""
    levels = np.unique(values)
    low, high = math.log(levels[0]), math.log(levels[-1])
    width = (high - low) or 1.0
    axes.set_xlim(low - room * width, high + room * width)
    labels = numbers(levels)
    # Two labels of some five letters need a ninth of an axis between them.
    apart = levels.size == 1 or np.diff(np.log(levels)).min() > width / 9
    if levels.size > most or not apart or max(map(len, labels)) > 5:
        levels = log_ticks(levels[0], levels[-1], most)
        labels = numbers(levels)
    axes.set_xticks(np.log(levels), labels=labels)


def limits(places: Sequence[np.ndarray], room: float = 0.05) -> tuple[float, float]:
    """The range of finite places with some room at both ends."""
    finite = np.concatenate([np.ravel(p)[np.isfinite(np.ravel(p))] for p in places] or [np.zeros(1)])
    if finite.size == 0:
        return -1.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    width = max(high - low, 0.02)
    return low - room * width, high + room * width


def draw(build: Callable[[Figure], None], *, height: float, label: str, width: float = WIDTH) -> str:
    """The figure that `build` draws, as SVG to be put into an HTML page; equal calls give equal text."""
    import matplotlib
    from matplotlib.figure import Figure

    out = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks is measured roughly; the browser draws it with a font of its own.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), layout="constrained")
        build(figure)
        figure.savefig(out, format="svg", metadata={"Date": None})
    return _for_page(out.getvalue(), label)


def _for_page(svg: str, label: str) -> str:
    """Without header, metadata, names of groups and network addresses; with the page's colours and font."""
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}title"):
                parent.remove(child)
        if parent.tag == f"{{{SVG}}}g":
            parent.attrib.pop("id", None)
        if target := parent.attrib.pop(f"{{{XLINK}}}href", None):
            parent.set("href", target)
        if style := parent.get("style"):
            for colour, name in _PAGE_COLOURS.items():
                style = style.replace(colour, f"var({name})")
            parent.set("style", style.replace("'DejaVu Sans'", "var(--font)"))
        if parent.text and not parent.text.strip():
            parent.text = None
        parent.tail = "\n" if parent.tail and not parent.tail.strip() else parent.tail
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode").strip()
