"""What a report says, as data: no HTML, no figures, no fitting. `unsl report --json` writes it, and the page reads it.

Numbers about the metric are losses as laws see them (less is better; see `fitting.Metric`) unless said otherwise: the
page and the figures turn them into what the user measured. A part that a study does not have is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.report import schema

FORMAT = "unsl-report/1"
LEVEL = 0.9
"""Probability with which intervals shall hold a new measurement."""


@dataclass(frozen=True, kw_only=True)
class Error:
    """A root mean squared log error, and its error bar."""

    value: float
    bar: float


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
    program: Program | None = None
    interval: Interval | None = None
    breaks: tuple[Hyperbreak, ...] = ()
    predicted: tuple[float, ...] = ()
    """At the task's points."""
    low: tuple[float, ...] = ()
    """Ends of the interval there, of the best law."""
    high: tuple[float, ...] = ()


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


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A cell's learning curve, thinned."""

    cell: str
    step: tuple[float, ...]
    loss: tuple[float, ...]
    held_out: bool


@dataclass(frozen=True, kw_only=True)
class CellFacts:
    """One training run."""

    id: str
    state: str
    config: Mapping[str, Any]
    """What varies in the study."""
    parameters: int
    step: int
    points: int
    seconds: float
    flops: float
    device: str
    held_out: float
    """Share of its points that the split holds out."""
    failure: str = ""
    message: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class DeviceFacts:
    """What one kind of device did."""

    device: str
    cells: int
    seconds: float
    flops_per_second: float


@dataclass(frozen=True, kw_only=True)
class CellsFacts:
    """The training runs behind the points."""

    planned: int
    states: Mapping[str, int]
    """How many are `done`, `diverged`, `failed`, `started`, `not run`."""
    seconds: float
    flops: float
    flops_planned: float
    rows: tuple[CellFacts, ...] = ()
    """Those that need a look first, then the longest; not all where they are very many."""
    curves: tuple[Curve, ...] = ()
    devices: tuple[DeviceFacts, ...] = ()


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
class Foretold:
    """One forecast: what was said of a target, when, and what came."""

    entry: int
    """Number in the ledger."""
    day: str
    law: str
    target: Mapping[str, Any]
    """The columns that vary among the targets."""
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


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best use of one budget."""

    budget: float
    loss: float
    at: Mapping[str, float]
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Inputs that minimise the loss under a cost, along budgets."""

    law: str
    cost: str
    """The cost as an expression over columns."""
    path: tuple[Optimum, ...]


@dataclass(frozen=True, kw_only=True)
class Round:
    """One turn of a rescaling study."""

    number: int
    date: str
    fitted: int
    held_out: int
    error: Error | None = None
    coefficients: tuple[Coefficient, ...] = ()


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
    allocation: Allocation | None = None
    rounds: tuple[Round, ...] = ()
    next: tuple[NextRun, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"format": self.format, **schema.to_json(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Facts:
        return schema.from_json(cls, value)
