"""Reading a study's store, at any time, beside any writer, without a lease.

Files never change once they are there, so each is read once. What a reader does not find any more was merged or moved
meanwhile, and what holds it now is already there: then it looks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from pipeline.errors import OutsideError
from pipeline.store import journal, points, question
from pipeline.store.columns import fitted, grown, in_types, measured_in, part_of, rows, texts
from pipeline.store.events import Ended
from pipeline.store.files import Folder
from pipeline.store.frame import Frame
from pipeline.store.history import CellRecord, History
from pipeline.store.layout import read_format
from pipeline.store.lease import Holder, read_holder
from pipeline.store.points import Footer
from pipeline.store.question import Asked
from pipeline.store.rounds import Round, read_rounds
from pipeline.study import Study
from trainers import Ending

Choice = Callable[["View"], tuple[Mapping[str, Sequence[str]], Mapping[str, History]]]
"""Finished cells by file, and unfinished ones with their points."""
MOST_LOOKS = 6
LOOK_SECONDS = 0.2
"""Between looks at a folder that names files which are not there: an object store may list them a moment longer."""
BATCH_BYTES = 2**26
"""Of Parquet files that are fetched at once: enough for many parallel requests, little beside the table."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A store as it was at one moment."""

    open: Mapping[str, History]
    """Cells that have not ended, or whose end has not yet moved to Parquet."""
    footers: Mapping[str, Footer]
    sizes: Mapping[str, int]
    """Bytes of the Parquet files."""
    chunks: Mapping[str, list[dict[str, Any]]]
    """Files of the journal with their lines."""
    replaced: Sequence[str]
    """Other files of the journal, which have been merged and not yet been removed."""

    @cached_property
    def home(self) -> dict[str, str]:
        """The file that speaks for a finished cell: the latest of those that hold it."""
        return {cell: name for name in sorted(self.footers) for cell in self.footers[name].records}

    @cached_property
    def finished(self) -> dict[str, CellRecord]:
        return {cell: self.footers[name].records[cell] for cell, name in self.home.items()}


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What is new in a store since a reader looked last."""

    records: Mapping[str, CellRecord]
    """The cells of which something new is known."""
    table: Any
    """All points of these cells, a pandas DataFrame: they take the place of those that one had of them."""
    cursor: frozenset[str]
    """What to ask with the next time."""


class Store:
    """A study's folder, read by anyone at any time. Only a `Writer` changes it."""

    def __init__(self, root: str, study: str):
        self.folder = Folder(root).folder(study)
        self._footers: dict[str, Footer] = {}
        self._chunks: dict[str, list[dict[str, Any]]] = {}
        self._known_format = False

    def records(self) -> dict[str, CellRecord]:
        """Every cell that the store has heard of, by identity."""
        view = self.look()
        return {cell: history.record() for cell, history in view.open.items()} | view.finished

    def table(self, columns: Sequence[str] | None = None):
        """Every point as a pandas DataFrame: cell, status, configuration, counts and measurement. May be empty.

        columns: those to be read, where not all are needed. One that no file has is left out.
        """
        return self._points(lambda view: (_by_file(view, view.finished), view.open), columns)

    def changes(self, since: frozenset[str] = frozenset()) -> Changes:
        """What is new since an earlier answer's `cursor`; everything without one.

        Two requests where nothing is new, and one more for each file with news. An unfinished cell may be among the
        changes although nothing was measured; nothing that was measured is missing.
        """
        found: dict[str, Any] = {}

        def choose(view: View) -> tuple[Mapping[str, Sequence[str]], Mapping[str, History]]:
            # A finished cell never changes.
            new = {cell: record for cell, record in view.finished.items() if cell not in since}
            chunks = [lines for name, lines in view.chunks.items() if not _is_known(name, lines, since)]
            told = {journal.cell_of(line) for lines in chunks for line in journal.told(lines)}
            news = {cell: history for cell, history in view.open.items() if cell in told}
            found["records"] = new | {cell: history.record() for cell, history in news.items()}
            found["cursor"] = frozenset({*view.finished, *view.chunks})
            return _by_file(view, new), news

        return Changes(table=self._points(choose), **found)

    def histories(self, cells: Iterable[str]) -> dict[str, Callable[[], History]]:
        """Some cells with all their points in the order of their steps, finished ones too. Each is made of its rows
        only when it is called: a few kilobytes become many."""
        wanted = set(cells)
        found: dict[str, Callable[[], History]] = {}
        records: dict[str, CellRecord] = {}

        def choose(view: View) -> tuple[Mapping[str, Sequence[str]], Mapping[str, History]]:
            found.update({cell: partial(_in_order, view.open[cell]) for cell in wanted & view.open.keys()})
            records.update({cell: view.finished[cell] for cell in wanted & view.finished.keys()})
            return _by_file(view, records), {}

        table = self._points(choose)
        places = table.groupby("cell", sort=False).indices if len(table) else {}
        for cell, record in records.items():
            found[cell] = partial(_finished, record, table.iloc[places.get(cell, [])])
        return found

    def holder(self) -> Holder | None:
        """The driver at work on this study, if there is one and as far as can be told without watching it."""
        holder = self._safely(lambda: read_holder(self.folder))
        return None if holder is None or holder.is_gone else holder

    def has_checkpoint(self, cell: str) -> bool:
        return bool(self._safely(lambda: self.folder.names(f"checkpoints/{cell}", ending=".npz")))

    def questions(self) -> list[Asked]:
        """What was asked of this study, the first question first; a forecast names the digest of one."""
        return self._safely(lambda: question.read_questions(self.folder))

    def ask(self, study: Study) -> bool:
        """Record what a study asks, unless it was the last that was asked. True if it is news."""
        measured = [record.points for record in self.records().values() if record.points]
        try:
            return question.record(self.folder, Asked.by(study), cells=len(measured), points=sum(measured))
        except OSError as error:
            raise OutsideError(f"the store {self.folder.path()} cannot be written: {error}") from error

    def question_changes(self, study: Study) -> list[str]:
        """What of the question was changed after something had been measured, in words."""
        return question.changes(self.questions(), Asked.by(study))

    def rounds(self) -> list[Round]:
        """What `unsl rescale` has added to this study, the first round first."""
        return self._safely(lambda: read_rounds(self.folder))

    def grown(self, study: Study) -> Study:
        """A study with the cells that its rounds have added; itself, and nothing is read, where it does not grow."""
        return replace(study, grown=tuple(one.added for one in self.rounds())) if study.growth else study

    def look(self) -> View:
        """The store as it is now."""
        return self._safely(self._look)

    def know(self, footers: Mapping[str, Footer]) -> None:
        """Spare this reader the files that its own writer has written."""
        self._footers = dict(footers)

    def _safely(self, reader):
        try:
            return reader()
        except OSError as error:
            raise OutsideError(f"the store {self.folder.path()} cannot be read: {error}") from error

    def _look(self) -> View:
        if not self._known_format:
            read_format(self.folder)
            self._known_format = True
        for number in range(MOST_LOOKS):
            # The journal first: what leaves it meanwhile is in Parquet by then.
            chunks = self.folder.sizes(journal.FOLDER, ending=journal.ENDING)
            missing = self._read_chunks(chunks)
            sizes = self.folder.sizes(points.FOLDER, ending=points.ENDING)
            missing |= self._read_footers(sizes)
            if not missing:
                break
            time.sleep(LOOK_SECONDS * (number > 0))
        sizes = {name: size for name, size in sizes.items() if name in self._footers}
        self._chunks = {name: lines for name, lines in self._chunks.items() if name in chunks}
        self._footers = {name: self._footers[name] for name in sizes}
        replaced = journal.replaced(self._chunks)
        chunks = {name: lines for name, lines in self._chunks.items() if name not in replaced}
        view = View(
            open=journal.replay(chunks),
            footers=dict(self._footers),
            sizes=sizes,
            chunks=chunks,
            replaced=sorted(replaced),
        )
        return replace(view, open={cell: one for cell, one in view.open.items() if cell not in view.finished})

    def _read_chunks(self, names: Iterable[str]) -> set[str]:
        """Returns what is no longer there."""
        new = [name for name in names if name not in self._chunks]
        found = self.folder.read_all(f"{journal.FOLDER}/{name}" for name in new)
        for path, data in found.items():
            name = path.rpartition("/")[2]
            self._chunks[name] = journal.from_bytes(name, data)
        return set(new) - self._chunks.keys()

    def _read_footers(self, sizes: Mapping[str, int]) -> set[str]:
        """Likewise."""
        new = {f"{points.FOLDER}/{name}": size for name, size in sizes.items() if name not in self._footers}
        ends, count = dict(new), points.FOOTER_BYTES
        while ends:
            longer = {}
            for path, data in self.folder.read_ends(ends, count).items():
                name = path.rpartition("/")[2]
                footer = points.read_footer(name, data)
                if footer is None:
                    longer[path], count = new[path], max(count, points.footer_bytes(data))
                else:
                    self._footers[name] = footer
            ends = longer
        return {path.rpartition("/")[2] for path in new} - self._footers.keys()

    def _points(self, choose: Choice, columns: Sequence[str] | None = None):
        """The rows of chosen cells as a DataFrame."""
        for number in range(MOST_LOOKS):
            view = self.look()
            cells, histories = choose(view)
            frame = self._safely(lambda view=view, cells=cells, open=histories: self._frame(view, cells, open, columns))
            if frame is not None:
                return frame
            time.sleep(LOOK_SECONDS * (number > 0))
        raise OutsideError(f"{self.folder.path(points.FOLDER)} lists files that are not there: try again later")

    def _frame(
        self,
        view: View,
        cells: Mapping[str, Sequence[str]],
        histories: Mapping[str, History],
        columns: Sequence[str] | None,
    ):
        """The rows of cells, the finished ones by the file that speaks for them; None where one of the files has
        gone."""
        last = rows(list(histories.values()), [history.record() for history in histories.values()])
        here = [view.footers[name] for name in cells]
        schema = grown([*(footer.schema for footer in here), *([last.schema] if histories else [])])
        if columns is not None:
            schema = part_of(schema, columns)
        frame = Frame(schema, sum(footer.rows for footer in here) + len(last))
        for names in self._batches(view, sorted(cells)):
            found = self.folder.read_all(f"{points.FOLDER}/{name}" for name in names)
            if len(found) < len(names):
                return None
            for name in names:
                data = found.pop(f"{points.FOLDER}/{name}")
                for table in _rows_of(view.footers[name], data, cells[name], schema):
                    frame.add(table)
        if histories:
            frame.add(fitted(last, schema))
        return frame.to_pandas()

    @staticmethod
    def _batches(view: View, names: Iterable[str]) -> Iterator[list[str]]:
        """Files that are fetched at once."""
        batch: list[str] = []
        bytes = 0
        for name in names:
            batch.append(name)
            bytes += view.sizes[name]
            if bytes >= BATCH_BYTES:
                yield batch
                batch, bytes = [], 0
        if batch:
            yield batch


def _by_file(view: View, cells: Iterable[str]) -> dict[str, list[str]]:
    """Finished cells by the file that speaks for them."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        found.setdefault(view.home[cell], []).append(cell)
    return found


def _is_known(name: str, lines: Sequence[Mapping[str, Any]], since: frozenset[str]) -> bool:
    merged = journal.merged_from(lines)
    return name in since or bool(merged) and since.issuperset(merged)


def _in_order(history: History) -> History:
    return replace(history, measured=dict(sorted(history.measured.items())))


def _finished(record: CellRecord, table) -> History:
    """A finished cell from its record and its rows, a pandas DataFrame."""
    history = History()
    for event in measured_in(record, table) if len(table) else ():
        history.take(event)
    history.take(Ended(cell=record.id, step=record.step, ending=Ending(record.status)), record.updated)
    return history


def _rows_of(footer: Footer, data: bytes, cells: Sequence[str], schema: Any) -> Iterator[Any]:
    """The rows of some of a file's cells, in the columns and types of a schema, some at a time."""
    columns = [name for name in schema.names if name in footer.schema.names]
    words = [name for name in texts(footer.schema) if name in texts(schema)]
    if len(cells) == len(footer.records):
        yield from (in_types(table, schema) for table in points.iterate_rows(data, columns, words=words))
        return
    for table in points.iterate_rows(data, [*dict.fromkeys((*columns, "cell"))], words=words):
        yield in_types(points.only(table, cells).select(columns), schema)
