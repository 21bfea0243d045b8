"""Which runs W&B has, and how far: a list for whoever goes on after a driver has ended.

What a server has received is written in the store, for a driver on any machine; what was written into offline files,
beside them. On a disk the list is one file that grows by a line a run. An object store cannot add to a file: there,
lines are gathered for some seconds and make a file of their own, and files that have become many are made one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from dataclasses import asdict, dataclass

from pipeline.store import Folder

FILE, ENDING = "sent.jsonl", ".jsonl"
GATHER_SECONDS = 10.0
"""What is lost of the list, at most, with a driver that is killed: its runs are opened once more."""
MOST_FILES = 8


@dataclass(frozen=True, kw_only=True)
class SentRun:
    """A run that was handed over up to its end, or as far as it had come."""

    run: str
    to: str
    points: int
    status: str
    row: int
    """Number of the last row at W&B."""
    folder: str = ""
    """The folder of the offline files."""


class Sent:
    """Runs that were handed over to one destination. Losing the list costs time and never a point of the store.

    Raises OSError where the list is there and cannot be read; `add` never does.
    """

    def __init__(self, folder: Folder, destination: str, *, earlier: Folder | None = None):
        """earlier: where another list may be, which is only read."""
        self.destination = destination
        self._folder = folder
        self._runs: dict[str, list[SentRun]] = {}
        self._gathered: list[SentRun] = []
        self._written = time.monotonic()
        for one in filter(None, (earlier, folder)):
            for entry in _read(one):
                if entry.to == destination:
                    self._keep(entry)

    def has(self, run: str, *, points: int, status: str) -> bool:
        entries = self._runs.get(run)
        return bool(entries) and (entries[-1].points, entries[-1].status) == (points, status)

    def entries(self, run: str) -> list[SentRun]:
        """What was handed over of a run and not withdrawn, oldest first."""
        return list(self._runs.get(run, ()))

    def add(self, run: str, *, points: int, status: str, row: int, folder: str = "") -> None:
        entry = SentRun(run=run, to=self.destination, points=points, status=status, row=row, folder=folder)
        self._keep(entry)
        self._gathered.append(entry)
        if self._folder.is_local or time.monotonic() - self._written >= GATHER_SECONDS:
            self.write()

    def write(self) -> None:
        """Make durable what was gathered. If that fails, it is tried again with the next run."""
        if not self._gathered:
            return
        with contextlib.suppress(OSError):
            _write(self._folder, self._gathered)
            self._gathered, self._written = [], time.monotonic()

    def withdraw(self, run: str, folder: str) -> None:
        """A folder with offline files is about to be deleted, before anyone sent it."""
        if any(entry.folder == folder for entry in self._runs.get(run, ())):
            self.add(run, points=0, status="withdrawn", row=-1, folder=folder)

    def _keep(self, entry: SentRun) -> None:
        entries = self._runs.setdefault(entry.run, [])
        entries[:] = [one for one in entries if not one.folder or one.folder != entry.folder]
        if entry.status != "withdrawn":
            entries.append(entry)


def _read(folder: Folder) -> list[SentRun]:
    names = folder.names(ending=ENDING)
    files = folder.read_all(names)
    entries = [entry for name in names if name in files for entry in _entries(files[name])]
    if len(names) > MOST_FILES and not folder.is_local:
        with contextlib.suppress(OSError):
            _write(folder, entries)
            folder.remove(*files)
    return entries


def _entries(data: bytes) -> list[SentRun]:
    entries = []
    for line in data.decode(errors="replace").splitlines():
        # The last line of a driver that was killed may be cut short.
        with contextlib.suppress(ValueError, TypeError):
            entries.append(SentRun(**json.loads(line)))
    return entries


def _write(folder: Folder, entries: list[SentRun]) -> None:
    text = "\n".join(json.dumps(asdict(entry)) for entry in entries)
    if not folder.is_local:
        folder.write(f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{ENDING}", text.encode())
        return
    os.makedirs(folder.path(), exist_ok=True)
    # The line break comes first: it ends a line that an earlier driver may have left cut short.
    with open(folder.path(FILE), "a", encoding="utf-8") as file:
        file.write("\n" + text)
