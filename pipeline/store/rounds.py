"""Rounds of a study that grows: the home of the cells that its file does not name.

    STORE/STUDY/rounds/0003.json           what round 3 adds, and why: before the first of its cells runs
    STORE/STUDY/rounds/0003-closed.json    what came of it
    STORE/STUDY/rounds/0003-reported.json  that its report was written and sent

All are created complete, once, and never changed. A number is taken by one round alone, whoever else tries to begin
it at the same moment; what a file says beside its cells is the business of `pipeline.rescale`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import gmtime, strftime
from typing import Any

from pipeline.errors import PipelineError
from pipeline.store.files import Folder

FOLDER = "rounds"
CLOSED, REPORTED = "-closed", "-reported"


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round, begun and perhaps closed."""

    number: int
    """From 1."""
    cells: Sequence[Mapping[str, Any]]
    """The values of the axes and the seed of each cell that it adds."""
    opened: str = ""
    """UTC, as `2026-11-22T10:15:00Z`, by the clock of the machine that began it."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was known and decided when it began."""
    closed: Mapping[str, Any] | None = None
    """What came of it; None while it is under way. `left` names the cells that its budget did not cover."""
    reported: bool = False

    @property
    def added(self) -> tuple[Mapping[str, Any], ...]:
        """Its cells without those that it left: another round may choose them again."""
        left = (self.closed or {}).get("left", [])
        return tuple(cell for cell in self.cells if cell not in left)


def read_rounds(folder: Folder) -> list[Round]:
    """All rounds in their order. Raises PipelineError where one is missing or damaged, and OSError."""
    names = folder.names(FOLDER, ending=".json")
    found = folder.read_all(f"{FOLDER}/{name}" for name in names)
    numbers = [int(name[:4]) for name in names if re.fullmatch(r"\d{4,}\.json", name)]
    if numbers != list(range(1, len(numbers) + 1)):
        gap = next(number for number in range(1, len(numbers) + 1) if number not in numbers)
        raise PipelineError(
            f"{folder.path(_name(gap))} is missing: bring it back, the cells of later rounds build on it"
        )
    return [
        Round(
            number=number,
            **_load(_name(number), found),
            closed=_load(_name(number, CLOSED), found) if _name(number, CLOSED) in found else None,
            reported=_name(number, REPORTED) in found,
        )
        for number in numbers
    ]


def open_round(folder: Folder, number: int, cells: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> bool:
    """Begin a round; False where somebody else has begun it. Raises OSError."""
    return _create(folder, _name(number), {"opened": _now(), "cells": list(cells), "facts": dict(facts)})


def close_round(folder: Folder, number: int, facts: Mapping[str, Any]) -> bool:
    """Say what came of a round; False where that is said already. Raises OSError."""
    return _create(folder, _name(number, CLOSED), {"closed": _now(), **facts})


def mark_reported(folder: Folder, number: int) -> None:
    """Say that a round's report was written. Raises OSError."""
    _create(folder, _name(number, REPORTED), {"reported": _now()})


def _create(folder: Folder, name: str, value: Mapping[str, Any]) -> bool:
    return folder.create(name, json.dumps(value, indent=1, allow_nan=False).encode())


def _load(name: str, found: Mapping[str, bytes]) -> dict[str, Any]:
    try:
        value = json.loads(found[name])
        if not isinstance(value, dict):
            raise ValueError("no object")
        return value
    except (KeyError, ValueError) as error:
        raise PipelineError(f"{name} is damaged ({error}): bring it back from a copy of the store") from error


def _name(number: int, ending: str = "") -> str:
    return f"{FOLDER}/{number:04d}{ending}.json"


def _now() -> str:
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
