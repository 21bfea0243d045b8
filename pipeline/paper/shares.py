"""On how many tasks each law is best, beside what the paper says of its own tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.analysis import shares_won
from pipeline.study import Block

PUBLISHED = {"vision": 0.6087, "language": 0.8889}
"""Of the paper's tasks, those on which the unified law extrapolates best: 14 of 23, and 8 of 9."""
COMPARED = ("unsl", "a1", "a2", "a3", "cf", "dc")
"""The laws of several inputs that the paper compares."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Of one family of tasks."""

    family: str
    tasks: int
    won: Mapping[str, float]
    """By law, the share of the tasks on which its held-out error is least."""
    published: float | None
    """The paper's share of the unified law, of its own tasks."""


def shares(rows: Iterable[Mapping[str, Any]], blocks: Mapping[str, Block]) -> list[Shares]:
    """Shares by family, and over all blocks, from rows in `COLUMNS`.

    A task is one metric of one task of a block: questions that vary a block's hull or its number of points are none.
    """
    scores: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        ask = blocks[row["block"]].asked(row["tier"]).get(row["ask"])
        counts = ask is not None and not (ask.held_out or ask.excluded or ask.points)
        if counts and row["law"] in COMPARED and row["rmsle_held_out"] != "":
            key = (row["block"], row["ask"], row["task"])
            scores.setdefault(key, {})[row["law"]] = float(row["rmsle_held_out"])
    families: dict[str, list[dict[str, float]]] = {"vision": [], "language": [], "others": [], "all": []}
    for (block, _, _), found in scores.items():
        families[blocks[block].family or "others"].append(found)
        families["all"].append(found)
    return [
        Shares(family=family, tasks=len(found), won=shares_won(found, COMPARED), published=PUBLISHED.get(family))
        for family, found in families.items()
        if found
    ]
