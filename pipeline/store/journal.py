"""The files of `journal/`: lines of JSON in the order in which things happened to cells that have not yet ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.errors import PipelineError
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


def from_bytes(name: str, data: bytes) -> list[dict[str, Any]]:
    """The lines of a file. Raises PipelineError where it is not as it was written: none is ever there in part."""
    try:
        lines = [json.loads(line) for line in data.splitlines()]
        for line in told(lines):
            cell_of(line)
        return lines
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(
            f"{FOLDER}/{name} is damaged ({error}): move it out of the store. The cells in it that have not ended are "
            "resumed from their checkpoints"
        ) from error


def cell_of(line: Mapping[str, Any]) -> str:
    return line["id"] if line["event"] in ("begun", "resumed") else line["cell"]


def merged_from(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The files whose place a file has taken."""
    return lines[0]["replaces"] if lines and lines[0]["event"] == "merged" else []


def told(lines: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The lines that speak of a cell."""
    return (line for line in lines if line["event"] != "merged")


def replaced(files: Mapping[str, Sequence[Mapping[str, Any]]]) -> set[str]:
    """Files that are still there although another holds what they say: that says it again, after later news."""
    return {old for lines in files.values() for old in merged_from(lines) if old in files}


def replay(files: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, History]:
    """The cells of a journal's files, of which none replaces another."""
    cells: dict[str, History] = {}
    for name in sorted(files):
        for line in told(files[name]):
            _replay(line, cells)
    return cells


def _replay(line: Mapping[str, Any], cells: dict[str, History]) -> None:
    facts, event, cell = dict(line), line["event"], cell_of(line)
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
    lines = [line for name in sorted(files) for line in told(files[name]) if cell_of(line) in kept]
    return [{"event": "merged", "replaces": sorted(files)}, *lines]
