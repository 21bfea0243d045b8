"""How numbers and columns are written on a page and in its figures, and where ticks go on a logarithmic axis."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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


def times(factor: float) -> str:
    """How far an interval of that factor reaches: `±12%`, beyond a factor of two `×÷3.1`."""
    return f"±{factor - 1:.0%}" if factor < 2 else f"×÷{number(factor)}"


def duration(seconds: float) -> str:
    """`48 s`, `12 min`, `3.4 h`, `5.1 days`."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size * 1.5:
            return f"{number(seconds / size, 2 if seconds < 100 * size else 3)} {unit}"
    return f"{number(seconds)} s"


def enumeration(texts: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1]))) if texts else ""


def listed(values: Sequence[Any], most: int = 12) -> str:
    """The values of an axis, the middle of a long list left out."""
    texts = [
        " × ".join(exact(v) for v in value) if isinstance(value, tuple | list) else exact(value) for value in values
    ]
    if len(texts) <= most:
        return ", ".join(texts)
    return ", ".join([*texts[: most - 2], "…", texts[-1]]) + f" ({len(values):,} values)"


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
