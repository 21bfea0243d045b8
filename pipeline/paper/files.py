"""What is kept of a block that has run, and how its points come back into a store."""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import OutsideError, PipelineError
from pipeline.forecasts import check_ledger
from pipeline.paper.answers import COLUMNS, Answers
from pipeline.paper.budgets import spend
from pipeline.report import versions
from pipeline.store import Folder, Store, pack, unpack
from pipeline.study import Block

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "paper" / "results"
"""What comes with unsl: the blocks that were run."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A block that was run, and what is known of it beside its answers."""

    block: str
    tier: str
    study: str
    made_from: str
    """Changes with the points, the questions and the code."""
    date: str
    """Of the last measurement."""
    machine: str
    """Where the points come from: devices by name."""
    cells: int
    points: int
    training_seconds: float
    fitting_seconds: float
    versions: Mapping[str, str]
    asked: Mapping[str, str]
    """What the study asks: metric, inputs, split."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Questions and tasks without an answer, and why."""
    forecasts: Sequence[Mapping[str, Any]] = ()
    """How the laws did whose forecasts were in the ledger before the cells ran: a row a law."""
    entries: Sequence[Mapping[str, Any]] = ()
    """These entries of the ledger: when they were written, and their hash."""
    spent: Sequence[Mapping[str, Any]] = ()
    """Where the fitted laws spend a budget."""
    rows: Sequence[Mapping[str, Any]] = ()
    """The answers, as in the CSV beside it."""


def committed(block: str, tier: str) -> Path:
    """The points of a block that came with unsl; there may be none."""
    return RESULTS / tier / f"{block}.parquet"


def committed_cells(block: str, tier: str) -> set[str]:
    """The cells that came with unsl: a store that has none is given them."""
    import pandas

    path = committed(block, tier)
    return set(pandas.read_parquet(path, columns=["cell"])["cell"]) if path.is_file() else set()


def restore(store: Store, block: str, tier: str) -> bool:
    """Put the points that came with unsl into a store that has none. Returns whether it did."""
    path = committed(block, tier)
    try:
        return path.is_file() and unpack(store, path.read_bytes())
    except OSError as error:
        raise OutsideError(f"the store {store.folder.path()} cannot be written: {error}") from error


def keep(folder: Path, answers: Answers, store: Store, *, made_from: str) -> Kept:
    """Write a block's points, answers and origin to `folder`/TIER. Raises OSError.

    Where the store has no ledger, as one that was made of points that came with unsl, what an earlier run kept of its
    forecasts from the same cells stays.
    """
    block, tier, study = answers.block.name, answers.tier, answers.study
    records = store.records()
    here = [records[cell.id] for cell in study.cells if cell.id in records]
    forecasts, entries = _forecast(store, answers)
    earlier = read_kept(folder / tier / f"{block}.json") or read_kept(committed(block, tier).with_suffix(".json"))
    if not entries and earlier and earlier.cells == len(here):
        forecasts, entries = earlier.forecasts, earlier.entries
    kept = Kept(
        block=block,
        tier=tier,
        study=study.name,
        made_from=made_from,
        date=datetime.date.fromtimestamp(max(record.updated for record in here)).isoformat(),
        machine=_machine(sorted({record.gpu or record.device or "cpu" for record in here}), earlier),
        cells=len(here),
        points=sum(record.points for record in here),
        training_seconds=round(sum(record.seconds for record in here), 1),
        fitting_seconds=round(answers.seconds, 1),
        versions=versions(),
        asked={
            "metric": study.metric.name,
            "inputs": ", ".join(study.inputs),
            "hyperparameters": ", ".join(study.hyperparameters),
            "tasks": ", ".join(study.tasks),
            "held out": study.split.held_out,
        },
        left_out={
            ", ".join(filter(None, (ask, task))): reason
            for ask, tasks in answers.asks.items()
            for task, reason in tasks.left_out.items()
        },
        forecasts=forecasts,
        entries=entries,
        spent=spend(answers),
        rows=answers.rows(),
    )
    written = Folder(str(folder / tier))
    written.write(f"{block}.parquet", pack(store))
    written.write(f"{block}.csv", to_csv(kept.rows, COLUMNS).encode())
    written.write(f"{block}.json", (json.dumps(asdict(kept), indent=1) + "\n").encode())
    return kept


def read_kept(path: Path) -> Kept | None:
    """What `keep` wrote; None where there is nothing, or what another version wrote."""
    try:
        return Kept(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def to_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def digest(block: Block, tier: str, fingerprint: str) -> str:
    """What answers are made from: points, study and code by their fingerprint, and the block's questions."""
    asked = repr((sorted(block.asked(tier).items()), block.spending.get(tier)))
    return hashlib.sha256(f"{fingerprint}|{asked}".encode()).hexdigest()


def _forecast(store: Store, answers: Answers) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The scores of blind forecasts and the entries that hold them; nothing where there is no ledger."""
    from pipeline.forecasts import Ledger

    try:
        checked = check_ledger(store, store.table(), study=answers.study)
    except PipelineError:  # No forecast was written down.
        return [], []
    scores = checked.to_json()["laws"]
    entries = [
        {
            "number": entry.number,
            "time": entry.time,
            "hash": entry.hash,
            "targets": len(entry),
            "blind": sum(entry.blind),
            "task": ", ".join(f"{name} {value}" for name, value in entry.question.get("task", {}).items()),
        }
        for entry in Ledger(store.folder).entries()
    ]
    return scores, entries


def _machine(devices: Sequence[str], earlier: Kept | None) -> str:
    """Cells say on what they trained; of a CPU, how many cores it had, is known where they did."""
    if devices != ["cpu"]:
        return ", ".join(devices)
    return earlier.machine if earlier else f"{os.cpu_count()} cores of {platform.machine()}"
