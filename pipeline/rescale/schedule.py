"""When a round is due."""

from __future__ import annotations

import calendar
import re
import time

from pipeline.errors import PipelineError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
EARLY = 0.02
"""The part of a period by which a round may come early: a clock that strikes every seven days may strike a little
before the seven days are over since the last round had begun."""


def parse_period(text: str) -> float:
    """Seconds of `7d`, `12h`, `30m`, `90s` or `1w`. Raises PipelineError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text)
    if not found or float(found[1]) <= 0:
        raise PipelineError(f"'{text}' is no period: write 30m, 12h, 7d or 1w")
    return float(found[1]) * UNITS[found[2]]


def is_due(last: float, *, every: float, now: float) -> bool:
    """Whether a round that begins every so many seconds is due; last, now: Unix seconds."""
    return now - last >= (1 - EARLY) * every


def unix_seconds(text: str) -> float:
    """Of a date as the store writes it, `2026-11-22T10:15:00Z`."""
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
