"""A table of measurements as facts, with the laws that were fitted to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report.facts.allocation import Allocation, Setting
from pipeline.report.facts.laws import Error, LawFacts

MOST_DRAWN = 12
"""Columns of a task that have figures of their own; all are in the explorer and can be chosen for the residuals."""


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """How a metric maps to the loss that laws see."""

    name: str
    direction: str = "lower"
    floor: float = 0.0
    best: float | None = None
    ceiling: float | None = None
    """The worst loss, where the metric fixes it."""
    bounded: bool = True
    """Whether there is a worst loss at all."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that the laws read."""

    name: str
    title: str
    """With its unit, for an axis."""
    role: str
    """`input` (scale) or `hyperparameter` (has an optimum)."""
    low: float
    high: float
    fitted_low: float
    fitted_high: float
    levels: tuple[float, ...] = ()
    """The values that occur, where they are few."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Measurements, thinned so that their shape stays: columns of equal length."""

    total: int
    columns: Mapping[str, tuple[float, ...]]
    loss: tuple[float, ...]
    held_out: tuple[bool, ...]
    cells: tuple[str, ...] = ()
    """The cell that each was measured in."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One level of a slice: measurements and what the laws say along it."""

    level: float
    x: tuple[float, ...]
    loss: tuple[float, ...]
    held_out: tuple[bool, ...]
    at: tuple[float, ...] = ()
    """Places of the curves."""
    median: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    second: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SliceFacts:
    """Measurements at exact cells of the grid that differ in two columns alone, and in their seeds."""

    along: str
    by: str | None
    at: Mapping[str, Any]
    """The other columns that vary, each at one value."""
    fitted: int
    held_out: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """One table with the laws that were fitted to it."""

    name: str
    """Empty where a study has one task."""
    fitted: int
    held_out: int
    excluded: Mapping[str, int]
    columns: tuple[Column, ...]
    idle: tuple[str, ...]
    """Columns that the laws read and that do not vary."""
    points: Points
    laws: tuple[LawFacts, ...]
    """Least error on the scored points first; then those without a fit."""
    slices: tuple[SliceFacts, ...]
    allocation: Allocation | None = None
    settings: tuple[Setting, ...] = ()
    """The best hyperparameters along scale, of the best law that reads any."""

    @property
    def drawn(self) -> tuple[Column, ...]:
        """The columns that have figures of their own."""
        return self.columns[:MOST_DRAWN]

    @property
    def scored(self) -> str:
        """Which points the laws are scored on."""
        return "held-out" if self.held_out else "fitted"

    @property
    def best(self) -> LawFacts | None:
        return self.fits[0] if self.fits else None

    @property
    def fits(self) -> tuple[LawFacts, ...]:
        return tuple(law for law in self.laws if law.predicted)

    def score(self, law: LawFacts) -> Error | None:
        return law.error_held_out if self.held_out else law.error_fitted
