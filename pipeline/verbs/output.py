"""What verbs say: news for the person who waits on standard error, results on standard output or as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from pipeline.errors import PipelineError


def say(*messages: str) -> None:
    """News for the person who waits, apart from the verb's output."""
    for message in filter(None, messages):
        print(message, file=sys.stderr)


def write_json(path: str, value: Any) -> None:
    """To a file, or to standard output where the path is `-`."""
    text = json.dumps(value, indent=2, allow_nan=False)
    if path == "-":
        print(text)
    else:
        write_text(path, text + "\n")


def write_text(path: str, text: str) -> None:
    """Raises PipelineError where the file cannot be written."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise PipelineError(f"{path} cannot be written ({error.strerror}): name another file") from error


def read_json(path: str) -> dict[str, Any]:
    """What `write_json` wrote, or nothing where that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}
