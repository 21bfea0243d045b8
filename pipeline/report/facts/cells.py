"""The training runs behind a table, as facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
