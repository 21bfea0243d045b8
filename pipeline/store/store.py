"""The store of a study: the truth about which cells have run and what they measured.

    STORE/STUDY/points/00000007.parquet   points of finished cells, a row a point with the cell's whole configuration;
                                          the cells themselves, those without points too, are in the file's metadata
    STORE/STUDY/journal/00000042.jsonl    events of cells that are not finished, in the order in which they arrived
    STORE/STUDY/checkpoints/CELL/         state of unfinished cells (written by workers)
    STORE/STUDY/driver.json               who is writing
    STORE/STUDY/fit.json                  the last fit, for W&B (written by `unsl report`)

The driver alone writes points and journal, always whole files. An event is in the journal before anyone else hears of
it. When a cell ends, its points move into Parquet and its journal goes. Whatever the moment of a crash, a point is in
one of the two or in both; a reader takes a finished cell from Parquet alone, so none is seen twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pipeline.errors import OutsideError, PipelineError
from pipeline.store.events import Ended, Event, Failed, Measured, Used, from_json, to_json
from pipeline.store.files import Folder
from pipeline.store.lease import Lease, is_alive, read_holder
from pipeline.study import Cell

METADATA = b"unsl_cells"
"""Key of the Parquet metadata that lists a file's cells as JSON."""
MOST_ROWS = 5_000
"""Points that are turned into one Parquet file, give or take a cell's: they are a few kilobytes each meanwhile."""


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """What the store knows of one cell."""

    id: str
    trainer: str
    version: int
    config: Mapping[str, Any]
    columns: Mapping[str, Any]
    flops_per_step: float
    status: str
    """`done` or `diverged` once finished; else `failed`, or `started`."""
    step: int = 0
    """The last step measured."""
    seconds: float = 0.0
    points: int = 0
    device: str = ""
    updated: float = 0.0
    """When the driver last heard of it, in Unix seconds."""
    resumed: float = 0.0
    """When a driver last took it up again, in Unix seconds; 0 if none ever did."""
    resumed_step: int = 0
    """The last step measured by then."""
    bytes: int = 0
    """GPU memory that it took, its part of its cohort's; 0 where it was not measured."""
    gpu: str = ""
    gpu_bytes: int = 0
    failure: str = ""
    message: str = ""
    traceback: str = ""

    @property
    def finished(self) -> bool:
        return self.status in ("done", "diverged")


@dataclass(kw_only=True)
class _Open:
    """A cell that is not yet in Parquet: its description and its events so far."""

    record: dict[str, Any]
    points: dict[tuple[int, int], Measured] = field(default_factory=dict)
    used: Used | None = None
    last: Ended | Failed | None = None
    updated: float = 0.0
    resumed: float = 0.0
    resumed_step: int = 0

    @property
    def step(self) -> int:
        return max((step for step, _ in self.points), default=0)

    def add(self, event: Event, at: float) -> bool:
        """Take in an event heard at a Unix time; False if it says nothing new."""
        self.updated = max(self.updated, at)
        if isinstance(event, Measured):
            if event.key in self.points:
                return False
            self.points[event.key] = event
            self.last = None if isinstance(self.last, Failed) else self.last
            return True
        if isinstance(event, Used):
            self.used = event
        else:
            self.last = event
        return True

    def summary(self) -> CellRecord:
        latest = max((event.point for event in self.points.values()), key=lambda point: point.step, default=None)
        facts: dict[str, Any] = {"status": "started"}
        if isinstance(self.last, Ended):
            facts = {"status": str(self.last.ending)}
        elif isinstance(self.last, Failed):
            facts = {"status": "failed"} | {k: getattr(self.last, k) for k in ("failure", "message", "traceback")}
        if self.used:
            facts |= {"bytes": self.used.bytes, "gpu": self.used.gpu, "gpu_bytes": self.used.gpu_bytes}
        reached = {"step": latest.step, "seconds": latest.seconds} if latest else {}
        times = {name: getattr(self, name) for name in ("updated", "resumed", "resumed_step")}
        return CellRecord(**self.record, **facts, **reached, **times, points=len(self.points))


class Store:
    """A study's folder, read by anyone at any time. Only a `Writer` changes it."""

    def __init__(self, root: str, study: str):
        self.folder = Folder(root).folder(study)

    def records(self) -> dict[str, CellRecord]:
        """Every cell that the store has heard of, by identity."""
        open_cells, finished = self._read()
        return {cell: entry.summary() for cell, entry in open_cells.items()} | finished

    def table(self):
        """Every point as a pandas DataFrame: cell, status, configuration, counts and measurement. May be empty."""
        import pandas
        import pyarrow
        import pyarrow.parquet

        open_cells, finished = self._read()
        tables = [
            self.folder.with_open(f"points/{name}", pyarrow.parquet.read_table)
            for name in self.folder.names("points", ending=".parquet")
        ]
        rows = [row for cell, entry in open_cells.items() if cell not in finished for row in _rows(entry)]
        if rows:
            tables.append(pyarrow.Table.from_pylist(rows))
        if not tables:
            return pandas.DataFrame()
        whole = pyarrow.concat_tables(tables, promote_options="permissive").replace_schema_metadata(None)
        return whole.to_pandas().drop_duplicates(["cell", "step", "inference_steps"], ignore_index=True)

    def holder(self) -> dict | None:
        """The driver at work on this study, if there is one."""
        holder = read_holder(self.folder)
        return holder if holder is not None and is_alive(holder) else None

    def has_checkpoint(self, cell: str) -> bool:
        return bool(self.folder.names(f"checkpoints/{cell}", ending=".npz"))

    def _read(self) -> tuple[dict[str, _Open], dict[str, CellRecord]]:
        """Open and finished cells. The journal is read first: what leaves it meanwhile is in Parquet by then."""
        open_cells: dict[str, _Open] = {}
        for name in self.folder.names("journal", ending=".jsonl"):
            try:
                _replay(self.folder.read(f"journal/{name}"), open_cells)
            except FileNotFoundError:
                continue
        finished = {
            record.id: record
            for name in self.folder.names("points", ending=".parquet")
            for record in self.folder.with_open(f"points/{name}", _cells_of)
        }
        return {cell: entry for cell, entry in open_cells.items() if cell not in finished}, finished


class Writer:
    """The one writer of a study's store, while its `open` lasts."""

    def __init__(self, store: Store, lease: Lease):
        self.store, self._lease = store, lease
        folder = store.folder
        folder.sweep("", "journal", "points")
        self._open, self._finished = store._read()
        self._chunks = {
            name: _cells_in(folder.read(f"journal/{name}")) for name in folder.names("journal", ending=".jsonl")
        }
        numbers = [int(name.split(".")[0]) for kind in ("journal", "points") for name in folder.names(kind)]
        self._next = max(numbers, default=0) + 1
        self._begun: list[dict[str, Any]] = []
        self._known = set(self._open)
        """Cells that an earlier driver left and this one has not begun."""

    @classmethod
    @contextmanager
    def open(cls, store: Store) -> Iterator[Writer]:
        """Hold the lease, finish what a dead driver left half done, and commit in the end.

        Raises OutsideError where another driver is at work, or where the store cannot be written.
        """
        lease = Lease.acquire(store.folder)
        try:
            writer = cls(store, lease)
            writer.commit()
            yield writer
            writer.commit()
        finally:
            lease.release()

    def begin(self, cells: Iterable[Cell], *, device: str) -> None:
        """Say that cells are being run on a device; written with the next `append`. Known cells keep their points."""
        for cell in cells:
            if cell.id in self._open and cell.id in self._known:
                self._resume(cell.id)
            if cell.id in self._open or cell.id in self._finished:
                continue
            record = {
                "id": cell.id,
                "trainer": cell.trainer,
                "version": cell.version,
                "config": cell.config,
                "columns": cell.columns,
                "flops_per_step": cell.counts.flops_per_step,
                "device": device,
            }
            self._open[cell.id] = _Open(record=record)
            self._begun.append({"event": "begun", **record})

    def _resume(self, cell: str) -> None:
        """Note how far a cell was: a reader tells by it what this driver has done."""
        self._known.remove(cell)
        entry = self._open[cell]
        entry.resumed, entry.resumed_step = round(time.time(), 3), entry.step
        line = {"event": "resumed", "id": cell, "resumed": entry.resumed, "resumed_step": entry.resumed_step}
        self._begun.append(line)

    def append(self, events: Iterable[Event]) -> list[Event]:
        """Make events durable. Returns those that were new: a repeated point is dropped."""
        at = round(time.time(), 3)
        new = [event for event in events if event.cell in self._open and self._open[event.cell].add(event, at)]
        lines = self._begun + [{"at": at, **to_json(event)} for event in new]
        if lines:
            if self._lease.lost:
                raise OutsideError(
                    "another driver has taken this study over: this one was silent for too long and stops"
                )
            name = f"{self._take_number():08d}.jsonl"
            self._write(f"journal/{name}", "".join(json.dumps(line) + "\n" for line in lines).encode())
            self._chunks[name] = {_cell_of(line) for line in lines}
            self._begun = []
        return new

    def has_begun(self, cell: str) -> bool:
        """Whether a cell was run before, by this driver or an earlier one."""
        return cell in self._open

    def used(self, cell: str) -> Used | None:
        """What a cell took of a GPU, where that was measured."""
        if cell in self._open:
            return self._open[cell].used
        record = self._finished.get(cell)
        if record is None or not record.bytes:
            return None
        return Used(cell=cell, bytes=record.bytes, gpu=record.gpu, gpu_bytes=record.gpu_bytes)

    def points(self, cell: str) -> list[Measured]:
        """Points of an unfinished cell so far."""
        return list(self._open[cell].points.values()) if cell in self._open else []

    def commit(self) -> None:
        """Move every ended cell from the journal to Parquet, and let go of what only unfinished cells need."""
        for ended in _batches(entry for entry in self._open.values() if isinstance(entry.last, Ended)):
            self._write(f"points/{self._take_number():08d}.parquet", _to_parquet(ended))
            for entry in ended:
                record = entry.summary()
                self._finished[record.id] = record
                del self._open[record.id]
        # Asked for by name, and those of cells that ended long ago too: a worker that was given up may have saved late.
        kept = self.store.folder.names("checkpoints")
        self.store.folder.remove(*(f"checkpoints/{cell}" for cell in kept if cell in self._finished))
        spent = [name for name, cells in self._chunks.items() if cells.isdisjoint(self._open)]
        self.store.folder.remove(*(f"journal/{name}" for name in spent))
        for name in spent:
            del self._chunks[name]

    def _write(self, name: str, data: bytes) -> None:
        try:
            self.store.folder.write(name, data)
        except OSError as error:
            raise OutsideError(
                f"the store {self.store.folder.path()} cannot be written: {error}. What it holds is safe: "
                "mend the cause and run the study again"
            ) from error

    def _take_number(self) -> int:
        self._next += 1
        return self._next - 1


def _replay(chunk: bytes, open_cells: dict[str, _Open]) -> None:
    for line in chunk.decode().splitlines():
        entry = json.loads(line)
        if entry["event"] == "begun":
            del entry["event"]
            open_cells.setdefault(entry["id"], _Open(record=entry))
        elif entry["event"] == "resumed":
            if known := open_cells.get(entry["id"]):
                known.resumed, known.resumed_step = entry["resumed"], entry["resumed_step"]
        elif entry["cell"] in open_cells:
            at = entry.pop("at")
            open_cells[entry["cell"]].add(from_json(entry), at)


def _cell_of(line: Mapping[str, Any]) -> str:
    return line["id"] if line["event"] in ("begun", "resumed") else line["cell"]


def _cells_in(chunk: bytes) -> set[str]:
    return {_cell_of(json.loads(line)) for line in chunk.decode().splitlines()}


def _rows(entry: _Open) -> list[dict[str, Any]]:
    record = entry.summary()
    head = {"cell": record.id, "status": record.status, "trainer": record.trainer, "version": record.version}
    rows = []
    for event in entry.points.values():
        measured = {k: getattr(event.point, k) for k in ("step", "inference_steps", "examples", "flops", "seconds")}
        rows.append({**head, **record.columns, **measured, **event.point.metrics})
    return rows


def _batches(entries: Iterable[_Open]) -> list[list[_Open]]:
    """Cells in lists of about `MOST_ROWS` points."""
    batches: list[list[_Open]] = []
    rows = MOST_ROWS
    for entry in entries:
        if rows >= MOST_ROWS:
            batches.append([])
            rows = 0
        batches[-1].append(entry)
        rows += len(entry.points) + 1
    return batches


def _to_parquet(entries: Sequence[_Open]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    rows = [row for entry in entries for row in _rows(entry)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    records = json.dumps([vars(entry.summary()) for entry in entries])
    sink = pyarrow.BufferOutputStream()
    with pyarrow.parquet.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)
        # Not as metadata of the schema, of which the file would hold a second copy.
        writer.add_key_value_metadata({METADATA: records})
    return sink.getvalue().to_pybytes()


def _cells_of(parquet: BinaryIO) -> list[CellRecord]:
    import pyarrow.parquet

    metadata = pyarrow.parquet.read_metadata(parquet).metadata or {}
    if METADATA not in metadata:
        raise PipelineError("a Parquet file in points/ was not written by unsl: move it out of the store")
    return [CellRecord(**record) for record in json.loads(metadata[METADATA])]
