"""The files of `journal/`: lines of JSON in the order in which things happened to cells that have not yet ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.store.events import Event, from_json, to_json
from pipeline.store.history import History

FOLDER, ENDING = "journal", ".jsonl"


def begun(description: Mapping[str, Any]) -> dict[str, Any]:
    """A driver has begun a cell."""
    return {"event": "begun", **description}


def resumed(cell: str, at: float, step: int) -> dict[str, Any]:
    """A driver has taken a cell up that an earlier one left at a step."""
    return {"event": "resumed", "id": cell, "resumed": at, "resumed_step": step}


def happened(event: Event, at: float) -> dict[str, Any]:
    return {"at": at, **to_json(event)}


def to_bytes(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def from_bytes(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def cell_of(line: Mapping[str, Any]) -> str:
    return line["id"] if line["event"] in ("begun", "resumed") else line["cell"]


def replay(files: Mapping[str, list[dict[str, Any]]]) -> dict[str, History]:
    """The cells of a journal's files. Those that another file has replaced say nothing any more."""
    replaced = {name for lines in files.values() for line in lines[:1] for name in line.get("replaces", ())}
    cells: dict[str, History] = {}
    for name in sorted(files.keys() - replaced):
        for line in files[name]:
            _replay(line, cells)
    return cells


def _replay(line: Mapping[str, Any], cells: dict[str, History]) -> None:
    facts = dict(line)
    if (event := facts["event"]) == "merged":
        return
    cell = cell_of(line)
    if event == "begun":
        del facts["event"]
        cells.setdefault(cell, History(description=facts))
    elif cell in cells and event == "resumed":
        cells[cell].resumed, cells[cell].resumed_step = facts["resumed"], facts["resumed_step"]
    elif cell in cells:
        cells[cell].take(from_json({name: value for name, value in facts.items() if name != "at"}), facts["at"])


def merge(files: Mapping[str, list[dict[str, Any]]], *, keep: Iterable[str]) -> list[dict[str, Any]]:
    """Several files as one: what they say of some cells, after the names of the files."""
    kept = set(keep)
    lines = [line for name in sorted(files) for line in files[name] if line["event"] != "merged"]
    return [{"event": "merged", "replaces": sorted(files)}, *(line for line in lines if cell_of(line) in kept)]
