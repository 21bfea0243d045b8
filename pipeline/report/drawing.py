"""How the report's figures look: colours, numbers, logarithmic ticks, and SVG that follows the page into dark mode.

Figures are drawn in logarithms on linear axes, with ticks placed here: that gives one way to treat columns, metrics of
which less is better and metrics of which more is better, and ticks that are a grid's levels where there are few.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fitting import Metric

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

_WORDS = {
    "parameters": "parameters",
    "parameters_without_embeddings": "parameters without embeddings",
    "step": "optimiser steps",
    "steps": "optimiser steps",
    "flops": "training FLOPs",
    "seconds": "training seconds",
}
_WORDS_WITH_UNIT = {
    "dataset_size": "unique training {}",
    "examples": "training {}, repeats included",
    "batch_size": "batch size ({} a step)",
}


def words(column: str, units: Mapping[str, str]) -> str:
    """A column's axis title. `units` are those that its trainer declares, by column."""
    if unit := units.get(column):
        return _WORDS_WITH_UNIT.get(column, column.replace("_", " ") + " ({})").format(unit)
    return _WORDS.get(column) or column.replace("_", " ")


def short(text: str, most: int = 40) -> str:
    """A name that fits on a figure. The page itself always has it in full."""
    return text if len(text) <= most else text[: most - 1] + "…"


def number(value: float, digits: int = 3) -> str:
    """A few digits for an axis: `250`, `4k`, `1.3M`, `7B`, `0.003`, `2e-5`."""
    size = abs(value)
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if scale * 0.9995 <= size < scale * 999.5:
            return f"{value / scale:.{digits}g}{letter}"
    return tidy(f"{value:.{digits}g}")


def numbers(values: Sequence[float]) -> list[str]:
    """Labels that are as short as they can be and still differ."""
    for digits in range(3, 12):
        labels = [number(value, digits) for value in values]
        if len(set(labels)) == len(set(values)):
            break
    return labels


def exact(value: Any) -> str:
    """A value of the grid for a caption: `16,000`, `0.003`, `adam`."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{value:,.0f}"
    return tidy(f"{value:.6g}")


def tidy(text: str) -> str:
    """1e-05 as 1e-5."""
    return re.sub(r"e([+-])0*(\d)", lambda m: "e" + m[1].replace("+", "") + m[2], text)


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers within [low, high] that lie well on a logarithmic axis, at most about `most` of them."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    choices = [
        [10.0**k * m for k in decades for m in digits] for digits in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
    ]
    choices += [[10.0**k for k in decades if k % stride == 0] for stride in (2, 3, 5, 10, 20)]
    edge = 1e-9
    for choice in choices:
        inside = [value for value in choice if low * (1 - edge) <= value <= high * (1 + edge)]
        if len(inside) <= most:
            break
    # Over less than a factor of five, equal steps are the more familiar ones.
    return inside if len(inside) >= 3 and high / low > 5 else _even_ticks(low, high, most)


def _even_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers at equal distances, for a range too short for powers."""
    rough = max((high - low) / (most + 1), abs(high) * 1e-9)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [round(k * step, 15) for k in range(first, last + 1)]


@dataclass(frozen=True, kw_only=True)
class MetricScale:
    """Where a metric lies on a figure: logarithmic in the loss that laws see, labelled as users know it, more is up."""

    metric: Metric

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
    import html

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = svg.replace("xlink:href", "href").replace("'DejaVu Sans'", "var(--font)")
    for colour, name in _PAGE_COLOURS.items():
        svg = svg.replace(colour, f"var({name})")
    head, rest = svg.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    return f'<svg {box[0]} role="img" aria-label="{html.escape(label)}">' + re.sub(r"\n\s*", "\n", rest)
