"""Rungs: steps at which runs pause until it is decided which of them go on.

A run that is stopped at a rung keeps its points and its checkpoint, so whoever wants it later carries it on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.store import Held
from pipeline.study import Cell


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What was decided of paused cells, each named once."""

    go_on: Sequence[str] = ()
    held: Sequence[Held] = ()


class Rungs(Protocol):
    """Asked several times a second, and told of every event as a listener: no method may take long."""

    def admit(self, cells: Sequence[Cell], reached: Mapping[str, int]) -> Sequence[Cell]:
        """Take note of cells that will run, with their last steps. Returns those that stand at a rung, undecided."""

    def until(self, cell: Cell, reached: int) -> int:
        """The step at which a cell is to pause next; 0 where it runs to its end."""

    def pause(self, cells: Sequence[Cell], reached: Mapping[str, int]) -> None:
        """These stand at their rung."""

    def verdicts(self, *, hungry: bool, idle: bool) -> Verdicts:
        """What was decided since. hungry: no job waits, so that workers will need those that go on. idle: none runs
        either, so that nobody else will come to a rung."""
