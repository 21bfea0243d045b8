"""What a fit says, for people: the equation, its coefficients with their errors, how well it fits, and what to mind."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Residuals of neighbours that are more alike than this say that the law does not follow the rows.
_ALIKE = 0.3
# A residual this many standard deviations out is worth a look: one in some 16,000 is, by chance.
_FAR = 4.0


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """One coefficient in the units of the table: half the width of its 68% interval, and its 90% interval."""

    name: str
    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """`print(fit.summary())`. equation and latex are the formula with its coefficients by name; see `coefficients` for
    their values. warnings: what a careful reader would ask about.
    """

    law: str
    status: str
    structure: str
    equation: str
    latex: str
    coefficients: tuple[Coefficient, ...]
    diagnostics: Mapping[str, str]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        rows = [("", "value", "error", "90% interval", "")]
        rows += [
            (c.name, f"{c.value:.5g}", f"{c.error:.2g}", f"{c.low:.4g}", f"to {c.high:.4g}") for c in self.coefficients
        ]
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        table = ["  ".join([row[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(row[1:], widths[1:], strict=True))])
                 for row in rows]  # fmt: skip
        wide = max((len(name) for name in self.diagnostics), default=0)
        return "\n".join(
            [
                f"{self.law}: {self.structure} ({self.status})",
                "",
                f"    y = {self.equation}",
                "",
                *(line.rstrip() for line in table),
                "",
                *(f"{name.ljust(wide)}  {value}" for name, value in self.diagnostics.items()),
                *([""] if self.warnings else []),
                *(f"mind: {warning}" for warning in self.warnings),
            ]
        )


def diagnostics(residuals: np.ndarray, scale: np.ndarray) -> dict[str, float]:
    """Of residuals in ln y, rows in any order: their root mean square, skewness and excess kurtosis (0 for normal
    noise), and how alike those of neighbours along the scale are (0 for independent noise).
    """
    spread = float(residuals.std())
    if residuals.size < 3 or spread == 0:
        return {"rms": spread, "skewness": 0.0, "kurtosis": 0.0, "neighbours": 0.0}
    unit = (residuals - residuals.mean()) / spread
    ordered = unit[np.argsort(scale, kind="stable")]
    return {
        "rms": float(np.sqrt(np.mean(residuals**2))),
        "skewness": float((unit**3).mean()),
        "kurtosis": float((unit**4).mean() - 3.0),
        "neighbours": float((ordered[1:] * ordered[:-1]).mean()),
    }


def residual_warnings(residuals: np.ndarray, found: Mapping[str, float]) -> list[str]:
    out = []
    if found["neighbours"] > max(_ALIKE, 2.0 / math.sqrt(residuals.size)):
        out.append(f"residuals of neighbours are alike (correlation {found['neighbours']:.2f}): the law misses a bend")
    spread = float(residuals.std())
    far = int((np.abs(residuals - residuals.mean()) > _FAR * spread).sum()) if spread > 0 else 0
    if far:
        rows = "row stands" if far == 1 else "rows stand"
        out.append(f"{far} {rows} more than {_FAR:g} standard deviations off: look at them, or fit with loss='huber'")
    return out


_GREEK = ("alpha", "beta", "kappa")


def latex(equation: str, names: Sequence[str]) -> str:
    """The equation in LaTeX; `names` are the columns, set upright."""

    def word(match: re.Match[str]) -> str:
        text = match.group(0)
        if text in names:
            return rf"\mathrm{{{_escaped(text)}}}"
        head, _, tail = text.partition("_")
        if not tail and (split := re.fullmatch(r"([A-Za-z]+)(\d+|[A-Z]|[a-z])", head)) and split.group(1) not in _GREEK:
            head, tail = split.groups()
        head = rf"\{head}" if head in _GREEK else head
        return f"{head}_{{{_escaped(tail)}}}" if tail else head

    parts = []
    for piece in re.split(r"(\^\([^()]*\)|\^-?\w+)", equation):
        body = re.sub(r"[A-Za-z]\w*", word, piece.lstrip("^").strip("()") if piece.startswith("^") else piece)
        parts.append(f"^{{{body}}}" if piece.startswith("^") else body)
    return "".join(parts).replace(" * ", r" \, ").replace("*", r" \, ")


def _escaped(text: str) -> str:
    return text.replace("_", r"\_")
