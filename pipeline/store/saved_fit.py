"""The last fit of a study as it is shown elsewhere, kept in the store so that it can be sent late.

STORE/STUDY/fit.json is written by `unsl report`; `unsl sync` reads it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.store.files import Folder

NAME = "fit.json"


@dataclass(frozen=True, kw_only=True)
class SavedFit:
    """A table of laws and its report."""

    rows: Sequence[Mapping[str, Any]]
    """One a law."""
    report: str | None
    """Path of the report's HTML file, on the machine that made it."""
    digest: str
    """Differs between fits that differ in their table or their report."""
    panels: Mapping[str, str] = field(default_factory=dict)
    """The report's figures, each as an HTML page of its own, by name."""

    @classmethod
    def from_rows(
        cls, rows: Sequence[Mapping[str, Any]], report: str | None = None, panels: Mapping[str, str] | None = None
    ) -> SavedFit:
        rows = [dict(row) for row in rows]
        digest = hashlib.sha256(json.dumps(rows, default=str).encode())
        if report is not None:
            with open(report, "rb") as file:
                digest.update(file.read())
        return cls(rows=rows, report=report, digest=digest.hexdigest(), panels=dict(panels or {}))

    @classmethod
    def load(cls, folder: Folder) -> SavedFit | None:
        """The fit that a study's folder keeps; None where nothing was fitted yet."""
        try:
            return cls(**json.loads(folder.read(NAME)))
        except FileNotFoundError:
            return None

    def save(self, folder: Folder) -> None:
        """Raises OSError where the folder cannot be written."""
        folder.write(NAME, json.dumps(asdict(self)).encode())

    @property
    def report_here(self) -> str | None:
        """The report's path, if this machine has the file."""
        return self.report if self.report is not None and os.path.exists(self.report) else None
