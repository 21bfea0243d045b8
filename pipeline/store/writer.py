"""The one writer of a study's store: the driver that holds its lease.

An event is in the journal before anyone else hears of it. When a cell ends, its points move into Parquet and its
journal goes. Whatever the moment of a crash, a point is in one of the two or in both; a reader takes a finished cell
from Parquet alone, so none is seen twice.

Before every change the writer asks whether it still holds the lease. Between that question and the change it may be
paused for hours; what makes this harmless are its names, and the rule of removal (`pipeline.store.naming`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.errors import OutsideError
from pipeline.store import journal, points
from pipeline.store.columns import grown
from pipeline.store.events import Ended, Event, Measured, Used
from pipeline.store.history import History
from pipeline.store.layout import bring_up_to_date
from pipeline.store.lease import Lease
from pipeline.store.naming import Names, to_merge
from pipeline.store.points import Footer
from pipeline.store.reader import Store
from pipeline.study import Cell

MOST_ROWS = 5_000
"""Points that are turned into one Parquet file, give or take a cell's: they are a few kilobytes each meanwhile."""
LARGEST_ROWS = 1_000_000
"""Files of more points are merged no further: a second's work and some ten megabytes each."""
LARGEST_BYTES = 2**26
"""A file of the journal, likewise."""


class Writer:
    """See the module's docstring; while its `open` lasts."""

    def __init__(self, store: Store, lease: Lease):
        self.store, self._lease = store, lease
        self.names = Names(epoch=lease.epoch)
        bring_up_to_date(store.folder)
        store.folder.sweep("", journal.FOLDER, points.FOLDER)
        view = store.look()
        self._open, self._finished = dict(view.open), dict(view.finished)
        self._footers = dict(view.footers)
        self._chunks = {name: _cells_in(lines) for name, lines in view.chunks.items()}
        self._replaced = list(view.replaced)
        self._bytes = store.folder.sizes(journal.FOLDER, ending=journal.ENDING)
        self._schema = grown(footer.schema for footer in self._footers.values())
        self._begun: list[dict[str, Any]] = []
        self._known = set(self._open)
        """Cells that an earlier driver left and this one has not begun."""

    @classmethod
    @contextmanager
    def open(
        cls, store: Store, *, wait_seconds: float = 0.0, on_wait: Callable[[str], None] = lambda message: None
    ) -> Iterator[Writer]:
        """Hold the lease, finish what a dead driver left half done, and commit in the end.

        A living driver is waited for, so long at most, and `on_wait` is told. Raises OccupiedError where another driver
        is at work, and OutsideError where the store cannot be written.
        """
        try:
            lease = Lease.acquire(store.folder, wait_seconds=wait_seconds, on_wait=on_wait)
        except OSError as error:
            raise _cannot_write(store, error) from error
        try:
            with _one_error(store):
                writer = cls(store, lease)
            writer.commit(everything=True)
            yield writer
            writer.commit(everything=True)
        finally:
            lease.release()

    def begin(self, cells: Iterable[Cell], *, device: str) -> None:
        """Say that cells are being run on a device; written with the next `append`. Known cells keep their points."""
        for cell in cells:
            if cell.id in self._open and cell.id in self._known:
                self._resume(cell.id)
            if cell.id in self._open or cell.id in self._finished:
                continue
            description = {
                "id": cell.id,
                "trainer": cell.trainer,
                "version": cell.version,
                "config": cell.config,
                "columns": cell.columns,
                "flops_per_step": cell.counts.flops_per_step,
                "device": device,
            }
            self._open[cell.id] = History(description=description)
            self._begun.append(journal.begun(description))

    def _resume(self, cell: str) -> None:
        """Note how far a cell was: a reader tells by it what this driver has done."""
        self._known.remove(cell)
        history = self._open[cell]
        history.resumed, history.resumed_step = round(time.time(), 3), history.step
        self._begun.append(journal.resumed(cell, history.resumed, history.resumed_step))

    def append(self, events: Iterable[Event]) -> list[Event]:
        """Make events durable. Returns those that were new: a repeated point is dropped."""
        at = round(time.time(), 3)
        new = [event for event in events if event.cell in self._open and self._open[event.cell].take(event, at)]
        lines = self._begun + [journal.happened(event, at) for event in new]
        if lines:
            self._write_chunk(lines)
            self._begun = []
        return new

    @property
    def series(self) -> str:
        """What the names of this driver's files begin with; later than those of all earlier drivers."""
        return self.names.series

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
        return list(self._open[cell].measured.values()) if cell in self._open else []

    def commit(self, *, everything: bool = False) -> None:
        """Move every ended cell from the journal to Parquet, let go of what only unfinished cells need, and merge what
        has become many.

        everything: look for what others left, too: a driver that had lost its lease, a worker that was given up.
        """
        ended = [history for history in self._open.values() if isinstance(history.last, Ended)]
        for batch in _batches(ended):
            self._write_points(*points.write_cells(batch))
            for history in batch:
                record = history.record()
                self._finished[record.id] = record
                del self._open[record.id]
        if everything:
            self._remove_spent(ended, everything=False)  # Which then need not be read.
            self._take_in()
        self._bring_to_one_schema()
        self._remove_spent(ended, everything)
        self._merge_points()
        self._merge_journal()
        self.store.know(self._footers)

    def _take_in(self) -> None:
        """What is in the store and was not written by this driver."""
        self.store.know(self._footers)
        view = self.store.look()
        self._footers = dict(view.footers)
        self._finished |= view.finished
        for cell in self._open.keys() & view.finished.keys():
            del self._open[cell]
        self._chunks = {name: _cells_in(lines) for name, lines in view.chunks.items()}
        self._replaced = list(view.replaced)

    def _remove_spent(self, ended: Sequence[History], everything: bool) -> None:
        folder = self.store.folder
        spent = [name for name, cells in self._chunks.items() if cells <= self._finished.keys()]
        self._remove(*(f"{journal.FOLDER}/{name}" for name in (*spent, *self._replaced)))
        self._replaced = []
        for name in spent:
            del self._chunks[name]
        if ended or everything:
            with _one_error(self.store):
                kept = folder.names("checkpoints")
            self._remove(*(f"checkpoints/{cell}" for cell in kept if cell in self._finished), below=True)

    def _bring_to_one_schema(self) -> None:
        """Write files anew that have fewer columns than others, or other types."""
        self._schema = grown([self._schema, *(footer.schema for footer in self._footers.values())])
        doubled = self._doubled()
        outdated = [
            name
            for name in sorted(self._footers)
            if name in doubled or not self._footers[name].schema.equals(self._schema)
        ]
        while outdated:
            together, rows = [], 0
            while outdated and (rows < LARGEST_ROWS // 2 or outdated[0] in doubled):
                rows += self._footers[outdated[0]].rows
                together.append(outdated.pop(0))
            self._merge(together)

    def _doubled(self) -> set[str]:
        """Files that hold a cell which another holds too: two drivers have finished it."""
        homes: dict[str, str] = {}
        doubled: set[str] = set()
        for name in sorted(self._footers):
            for cell in self._footers[name].records:
                if cell in homes:
                    doubled |= {homes[cell], name}
                homes[cell] = name
        return doubled

    def _merge_points(self) -> None:
        sizes = {name: footer.rows + len(footer.records) for name, footer in self._footers.items()}
        if names := to_merge(sizes, largest=LARGEST_ROWS):
            self._merge(names)

    def _merge(self, names: Sequence[str]) -> None:
        with _one_error(self.store):
            found = self.store.folder.read_all(f"{points.FOLDER}/{name}" for name in names)
        files = {path.rpartition("/")[2]: data for path, data in found.items()}
        if files.keys() == set(names):  # Else another driver merges them, and this one is about to hear of it.
            self._write_points(*points.merge(files, self._footers, self._schema))
            self._remove(*(f"{points.FOLDER}/{name}" for name in names))
            for name in names:
                del self._footers[name]

    def _merge_journal(self) -> None:
        sizes = {name: self._bytes.get(name, 0) for name in self._chunks}
        names = to_merge(sizes, largest=LARGEST_BYTES)
        if not names:
            return
        with _one_error(self.store):
            found = self.store.folder.read_all(f"{journal.FOLDER}/{name}" for name in names)
        files = {(name := path.rpartition("/")[2]): journal.from_bytes(name, data) for path, data in found.items()}
        if files.keys() == set(names):
            self._write_chunk(journal.merge(files, keep=self._open))
            self._remove(*(f"{journal.FOLDER}/{name}" for name in names))
            for name in names:
                del self._chunks[name]

    def _write_points(self, data: bytes, footer: Footer) -> None:
        name = self.names.next(points.ENDING)
        self._write(f"{points.FOLDER}/{name}", data)
        self._footers[name] = footer

    def _write_chunk(self, lines: Sequence[dict[str, Any]]) -> None:
        name, data = self.names.next(journal.ENDING), journal.to_bytes(lines)
        self._write(f"{journal.FOLDER}/{name}", data)
        self._chunks[name], self._bytes[name] = _cells_in(lines), len(data)

    def _write(self, name: str, data: bytes) -> None:
        self._check()
        with _one_error(self.store):
            self.store.folder.write(name, data)

    def _remove(self, *names: str, below: bool = False) -> None:
        if names:
            self._check()
            with _one_error(self.store):
                (self.store.folder.remove_below if below else self.store.folder.remove)(*names)

    def _check(self) -> None:
        with _one_error(self.store):
            lost = self._lease.is_lost()
        if lost:
            raise OutsideError("another driver has taken this study over: this one was silent for too long and stops")


def _cells_in(lines: Iterable[dict[str, Any]]) -> set[str]:
    return {journal.cell_of(line) for line in journal.told(lines)}


def _batches(histories: Iterable[History]) -> list[list[History]]:
    """Cells in lists of about `MOST_ROWS` points."""
    batches: list[list[History]] = []
    rows = MOST_ROWS
    for history in histories:
        if rows >= MOST_ROWS:
            batches.append([])
            rows = 0
        batches[-1].append(history)
        rows += len(history.measured) + 1
    return batches


@contextmanager
def _one_error(store: Store) -> Iterator[None]:
    """What a disk or a network says, as what to do about it."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(store, error) from error


def _cannot_write(store: Store, error: OSError) -> OutsideError:
    return OutsideError(
        f"the store {store.folder.path()} cannot be written: {error}. What it holds is safe: "
        "mend the cause and run the study again"
    )
