"""What a law would spend a budget on, and which hyperparameters it would choose, as facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run costs: scale times the product of its columns, each to its power."""

    text: str
    """As `unsl allocate --cost` takes it."""
    unit: str
    scale: float
    powers: Mapping[str, float]
    off: float
    """By what part a measured run costs more or less, at most."""


@dataclass(frozen=True, kw_only=True)
class Power:
    """The power to which a best value goes with the budget or an input: `name`, with its 90% interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best use of one budget."""

    budget: float
    loss: float
    loss_low: float
    """Ends of the interval of a measurement there."""
    loss_high: float
    at: Mapping[str, float]
    low: Mapping[str, float] = field(default_factory=dict)
    """Ends of the optimum's own interval, of each column that is free."""
    high: Mapping[str, float] = field(default_factory=dict)
    beyond: float
    """The largest factor by which one of its columns leaves the fitted range."""
    edges: tuple[str, ...] = ()
    """Columns that nothing but the end of the search holds."""


@dataclass(frozen=True, kw_only=True)
class Isoflop:
    """The least loss along one column where every run costs the same."""

    budget: float
    x: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Columns that minimise the loss under a cost, along budgets."""

    law: str
    cost: Cost
    along: str
    """The column of the curves."""
    free: tuple[str, ...]
    """The columns that are chosen; the last spends what the others leave."""
    ends: Mapping[str, tuple[float, ...]]
    """Between which values each of them is sought, but for the last."""
    fixed: Mapping[str, float]
    """Columns that cost nothing, each at the largest value measured."""
    path: tuple[Optimum, ...]
    curves: tuple[Isoflop, ...]
    growth: tuple[Power, ...]
    """Of each free column with the budget."""
    measured: float
    """What the dearest run that was measured has cost."""


@dataclass(frozen=True, kw_only=True)
class SettingLine:
    """The best value of a hyperparameter along one column. Places without a minimum within reach are left out."""

    x: tuple[float, ...]
    value: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    level: float | None = None
    """Of the column that tells lines apart."""
    source: str = ""
    """Who published it; empty for the law that was fitted here."""


@dataclass(frozen=True, kw_only=True)
class PublishedSetting:
    """A law of a hyperparameter that others have published, of language models in units of their own."""

    source: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The best value of a hyperparameter as a function of scale."""

    law: str
    name: str
    along: str
    by: str | None
    at: Mapping[str, float]
    """The other columns."""
    lines: tuple[SettingLine, ...]
    growth: tuple[Power, ...]
    """Its powers in the inputs."""
    tested: tuple[float, ...]
    """The least and the largest value that were fitted."""
    published: tuple[PublishedSetting, ...] = ()
