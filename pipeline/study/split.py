"""The split: which points are fitted and which are held out, and how many of each a plan foresees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which points are fitted and which are held out as larger scale: fixed before anything is run.

    Both are expressions over the columns of the table, such as `parameters > 1e4 or step > 2000`.
    """

    held_out: str
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Points that are neither fitted nor predicted: the rule's name to its expression. Diverged runs always are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedPoints:
    """How many points a split will fit, hold out and exclude, known before they are measured."""

    fitted: int = 0
    held_out: int = 0
    excluded: int = 0

    def __add__(self, other: PlannedPoints) -> PlannedPoints:
        return PlannedPoints(
            fitted=self.fitted + other.fitted,
            held_out=self.held_out + other.held_out,
            excluded=self.excluded + other.excluded,
        )
