"""What verbs say: news for the person who waits on standard error, results on standard output or as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any


def say(*messages: str) -> None:
    """News for the person who waits, apart from the verb's output."""
    for message in filter(None, messages):
        print(message, file=sys.stderr)


def write_json(path: str, value: Any) -> None:
    """To a file, or to standard output where the path is `-`."""
    text = json.dumps(value, indent=2, allow_nan=False)
    if path == "-":
        print(text)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def read_json(path: str) -> dict[str, Any]:
    """What `write_json` wrote, or nothing where that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}
