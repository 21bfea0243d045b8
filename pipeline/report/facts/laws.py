"""A law as facts: how it was fitted, how well it forecasts, and what it is, so that a page can compute it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Error:
    """A root mean squared log error, and its error bar."""

    value: float
    bar: float


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """A number of the equation with its 90% interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Program:
    """ln of the predicted loss as a list of instructions over ln of the columns; `page.js` runs it."""

    columns: tuple[str, ...]
    constants: tuple[float, ...]
    code: tuple[tuple[int, ...], ...]
    """Operation, then its operands: k is register k (first the columns, then a result an instruction), -k-1 constant
    k. The last instruction is the answer."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Half the width of the interval in ln of the loss, on a grid of places; between them it is interpolated."""

    columns: tuple[str, ...]
    places: tuple[tuple[float, ...], ...]
    """For each column its places, rising."""
    half: tuple[float, ...]
    """The last column runs fastest."""


@dataclass(frozen=True, kw_only=True)
class Hyperbreak:
    """A plane in ln of the columns where the law bends: sum of weights times ln x = place."""

    weights: Mapping[str, float]
    place: float


@dataclass(frozen=True, kw_only=True)
class Band:
    """How a law does at one distance outside the fitted range."""

    low: float
    """The largest factor by which a column of these points leaves the fitted range lies between these two."""
    high: float
    points: int
    error: float
    holds: float
    """Share of the points in the 90% interval."""
    bias: float
    """Mean of ln (measured / predicted)."""


@dataclass(frozen=True, kw_only=True)
class LawFacts:
    """A law: how it was fitted, how well it forecasts and what it is."""

    law: str
    status: str
    seconds: float
    reason: str = ""
    """Why there is no fit."""
    structure: str = ""
    candidates: int = 0
    """Equations that predict together; the coefficients are those of the first."""
    error_fitted: Error | None = None
    error_held_out: Error | None = None
    reach: float | None = None
    """Factor by which the 90% interval reaches to either side, at the median scored point."""
    holds: float | None = None
    """Share of the scored points in it."""
    bands: tuple[Band, ...] = ()
    coefficients: tuple[Coefficient, ...] = ()
    equation: tuple[str, ...] = ()
    """MathML, a line each."""
    latex: str = ""
    """With the coefficients by name; of the best law."""
    program: Program | None = None
    interval: Interval | None = None
    breaks: tuple[Hyperbreak, ...] = ()
    predicted: tuple[float, ...] = ()
    """At the task's points."""
    low: tuple[float, ...] = ()
    """Ends of the interval there, of the best law."""
    high: tuple[float, ...] = ()
