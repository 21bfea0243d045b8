"""Reads the files that wandb leaves offline, to compare them with what was to be kept."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 32768
HEADER = 7


@dataclass(kw_only=True)
class OfflineRun:
    """One run as its file tells it."""

    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    host: str = ""
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """History in the order of the file; `_step` is wandb's own."""
    summary: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    """What each metric is drawn along, as defined; empty for one that is an axis."""
    exit_code: int | None = None


def read_offline_runs(folder: str | Path) -> dict[str, OfflineRun]:
    """Every run below a folder, by its identity. A run that has two files is an error: it would be sent twice."""
    from wandb.proto.wandb_internal_pb2 import Record

    runs: dict[str, OfflineRun] = {}
    for path in sorted(Path(folder).rglob("run-*.wandb")):
        run, identity = OfflineRun(), ""
        for data in _records(path.read_bytes()):
            record = Record.FromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                identity = record.run.run_id
                run.name, run.group = record.run.display_name, record.run.run_group
                run.job_type, run.project, run.host = record.run.job_type, record.run.project, record.run.host
                run.tags = tuple(record.run.tags)
                run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "config":
                run.config |= {item.key: json.loads(item.value_json) for item in record.config.update}
            elif kind == "history":
                run.rows.append(_items(record.history.item))
            elif kind == "summary":
                run.summary |= _items(record.summary.update)
            elif kind == "metric":
                run.axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
            elif kind == "exit":
                run.exit_code = record.exit.exit_code
        assert identity not in runs, f"two files for the run {identity}"
        runs[identity] = run
    return runs


def read_offline_points(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """The history of every run below a folder, in its order, without wandb's own columns."""
    return {
        identity: [{name: value for name, value in row.items() if not name.startswith("_")} for row in run.rows]
        for identity, run in read_offline_runs(folder).items()
    }


def _items(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    """The records of LevelDB's log format, after the seven bytes with which wandb begins a file."""
    assert data[:4] == b":W&B", "not a file of wandb"
    position, parts = HEADER, []
    while position + HEADER <= len(data):
        room = BLOCK - position % BLOCK
        if room < HEADER:
            position += room
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + HEADER])
        if kind == 0:
            break
        parts.append(data[position + HEADER : position + HEADER + length])
        position += HEADER + length
        if kind in (1, 4):  # A whole record, or the last part of one.
            yield b"".join(parts)
            parts = []
