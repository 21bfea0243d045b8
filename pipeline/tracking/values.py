"""What is measured as W&B takes it: names in sections, and values that its tables hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pipeline.store import Measured

POINTS, FIT, COSTS = "points/", "fit/", "costs/"
"""Names are in sections: W&B shows each as a group of panels of its own."""


def row_of(event: Measured) -> dict[str, float]:
    point = event.point
    suffix = "" if point.inference_steps == 1 else f"@k{point.inference_steps}"
    row = {f"{POINTS}{name}{suffix}": value for name, value in point.metrics.items()}
    row |= {"step": point.step, "examples": point.examples, "flops": point.flops, "seconds": point.seconds}
    return {name: value for name, value in row.items() if math.isfinite(value)}


def of_task(row: Mapping[str, Any]) -> str:
    """What keeps the rows of a law apart, where it was fitted to several tasks."""
    return f"{row['task']}/" if row.get("task") else ""


def plain(value: Any) -> Any:
    """A value of a table as W&B takes it: None for what is not finite, text for what is no number."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else str(value)


def without_passwords(text: str) -> str:
    return re.sub(r"://[^/\s@]+@", "://***@", text)
