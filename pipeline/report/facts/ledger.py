"""Forecasts that were written down before their runs, and what came, as facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """One forecast: what was said of a target, when, and what came."""

    entry: int
    """Number in the ledger."""
    day: str
    law: str
    target: Mapping[str, Any]
    """The columns that vary among the targets of an entry, of all of them; null where its entry has none such."""
    median: float
    low: float
    high: float
    """Of the 90% interval."""
    blind: bool
    """Whether no measurement of the target existed when it was made."""
    measured: float | None = None
    """Absent while it has not been measured."""


@dataclass(frozen=True, kw_only=True)
class LawScore:
    """How a law's blind forecasts did."""

    law: str
    forecasts: int
    error: float
    """Root mean squared error of ln y."""
    bias: float
    held_50: float
    held_90: float
    skill: float | None = None
    """Part of the simplest law's CRPS that it saves."""
    day: str = ""
    """On which they were made; empty for all days together."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often a law's intervals held, by their nominal probability."""

    law: str
    level: tuple[float, ...]
    held: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class LedgerFacts:
    """Forecasts that were written down before their runs, and how they did."""

    forecasts: int
    scored: int
    blind: int
    """Of the scored ones."""
    waiting: int
    entries: int
    first: str
    last: str
    """When the first and the last entry were made, UTC."""
    simplest: str = ""
    not_scored: Mapping[str, int] = field(default_factory=dict)
    """By the reason."""
    faults: tuple[str, ...] = ()
    """What does not hold in the ledger."""
    laws: tuple[LawScore, ...] = ()
    days: tuple[LawScore, ...] = ()
    reliability: tuple[Reliability, ...] = ()
    foretold: tuple[Foretold, ...] = ()
    """Not all where they are very many."""
