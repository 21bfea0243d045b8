"""A report's page into a file, whole or not at all."""

from __future__ import annotations

import os

from pipeline.errors import PipelineError
from pipeline.report.facts import Facts
from pipeline.report.page import render
from pipeline.store import Folder


def write_report(facts: Facts, path: str | os.PathLike) -> None:
    """Write the page of some facts to a file: a path or any fsspec URL. Raises PipelineError where that fails."""
    folder, slash, name = os.fspath(path).rpartition("/")
    page = render(facts).encode("utf-8", "xmlcharrefreplace")
    try:
        Folder(folder or slash or ".").write(name, page)
    except OSError as error:
        raise PipelineError(f"the report cannot be written to {path}: {error.strerror or error}") from error
