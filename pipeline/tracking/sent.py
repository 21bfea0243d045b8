"""Which runs W&B has in full: a list beside the offline files, which tells a killed driver's successor what to send."""

from __future__ import annotations

import json
import os

FILE = "sent.jsonl"


class Sent:
    """Runs that were handed over completely, by where they went. Losing the file costs time and never a point."""

    def __init__(self, folder: str, destination: str):
        self._path = os.path.join(folder, FILE)
        self._destination = destination
        self._runs: dict[str, tuple[int, str]] = {}
        try:
            with open(self._path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
                if entry["to"] == destination:
                    self._runs[entry["run"]] = (entry["points"], entry["status"])
            except (ValueError, KeyError, TypeError):
                continue  # The last line of a driver that was killed may be cut short.

    def has(self, run: str, *, points: int, status: str) -> bool:
        return self._runs.get(run) == (points, status)

    def add(self, run: str, *, points: int, status: str) -> None:
        self._runs[run] = (points, status)
        entry = {"run": run, "to": self._destination, "points": points, "status": status}
        # The line break comes first: it ends a line that an earlier driver may have left cut short.
        with open(self._path, "a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(entry))
