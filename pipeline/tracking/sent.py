"""Which runs W&B has, and how far: a list beside the offline files, for whoever goes on after a driver has ended."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

FILE = "sent.jsonl"


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
    """Runs that were handed over to one destination. Losing the list costs time and never a point of the store."""

    def __init__(self, folder: str, destination: str):
        self.destination = destination
        self._path = os.path.join(folder, FILE)
        self._runs: dict[str, list[SentRun]] = {}
        try:
            with open(self._path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                entry = SentRun(**json.loads(line))
            except (ValueError, TypeError):
                continue  # The last line of a driver that was killed may be cut short.
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
        # The line break comes first: it ends a line that an earlier driver may have left cut short.
        with open(self._path, "a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(asdict(entry)))

    def withdraw(self, run: str, folder: str) -> None:
        """A folder with offline files is about to be deleted, before anyone sent it."""
        if any(entry.folder == folder for entry in self._runs.get(run, ())):
            self.add(run, points=0, status="withdrawn", row=-1, folder=folder)

    def _keep(self, entry: SentRun) -> None:
        entries = self._runs.setdefault(entry.run, [])
        entries[:] = [one for one in entries if not one.folder or one.folder != entry.folder]
        if entry.status != "withdrawn":
            entries.append(entry)
