"""What a report says, as data: no HTML, no figures, no fitting. `unsl report --json` writes it, and the page reads it.

Numbers about the metric are losses as laws see them (less is better; see `fitting.Metric`) unless said otherwise: the
page and the figures turn them into what the user measured. A part that a study does not have is absent.

`laws` | `tables` (points, slices, a task) | `allocation` (budgets, hyperparameters) | `cells` | `ledger`, and here what
binds them: `Facts`, with where they come from, the rounds of a study that grows, and what to run next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.report import schema
from pipeline.report.facts.allocation import (
    Allocation,
    Cost,
    Isoflop,
    Optimum,
    Power,
    PublishedSetting,
    Setting,
    SettingLine,
)
from pipeline.report.facts.cells import CellFacts, CellsFacts, Curve, DeviceFacts
from pipeline.report.facts.laws import Band, Coefficient, Error, Hyperbreak, Interval, LawFacts, Program
from pipeline.report.facts.ledger import Foretold, LawScore, LedgerFacts, Reliability
from pipeline.report.facts.tables import MOST_DRAWN, Column, Line, MetricFacts, Points, SliceFacts, TaskFacts

__all__ = [
    "Allocation",
    "Band",
    "CellFacts",
    "CellsFacts",
    "Coefficient",
    "Column",
    "Cost",
    "Curve",
    "DeviceFacts",
    "Error",
    "FORMAT",
    "Facts",
    "Foretold",
    "Power",
    "Hyperbreak",
    "Interval",
    "Isoflop",
    "LEVEL",
    "MOST_DRAWN",
    "LawFacts",
    "LawScore",
    "LedgerFacts",
    "Line",
    "MetricFacts",
    "NextRun",
    "Optimum",
    "Points",
    "Program",
    "Provenance",
    "PublishedSetting",
    "Reliability",
    "Round",
    "Setting",
    "SettingLine",
    "SliceFacts",
    "TaskFacts",
]

FORMAT = "unsl-report/2"
LEVEL = 0.9
"""Probability with which intervals shall hold a new measurement."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the numbers come from, and how to have them again."""

    trainer: str
    command: str
    split: str
    asked: str = ""
    """When the question was first put to the store."""
    question_changes: tuple[str, ...] = ()
    """What of it was changed after something had been measured."""
    axes: Mapping[str, str] = field(default_factory=dict)
    seeds: str = ""
    only: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    """What was excluded, by the rule's name."""
    versions: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    """Fingerprint of the measurements."""
    source: str = ""
    """The study's file."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of a rescaling study."""

    number: int
    date: str
    fitted: int
    held_out: int
    error: Error | None = None
    coefficients: tuple[Coefficient, ...] = ()
    cells: int = 0
    """What it added to the study."""
    spent: str = ""
    """Of its budget, in words."""


@dataclass(frozen=True, kw_only=True)
class NextRun:
    """What to run next, and what it buys."""

    what: str
    buys: str
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A report."""

    format: str = FORMAT
    name: str
    kind: str
    """What it is about: `study`, `table`, `exams`."""
    question: str = ""
    description: str = ""
    date: str = ""
    running: bool = False
    alarms: tuple[str, ...] = ()
    """What should be heard before all else."""
    metric: MetricFacts
    tasks: tuple[TaskFacts, ...]
    provenance: Provenance
    cells: CellsFacts | None = None
    ledger: LedgerFacts | None = None
    rounds: tuple[Round, ...] = ()
    next: tuple[NextRun, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"format": self.format, **schema.to_json(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Facts:
        return schema.from_json(cls, value)
