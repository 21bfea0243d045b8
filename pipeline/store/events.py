"""What a worker tells the driver, and what the store's journal keeps: small values that survive a trip through JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from trainers import Ending, Point


class Failure(StrEnum):
    """Why a job did not end. Each class has its own policy, in `pipeline.run.driver`."""

    PREEMPTED = "preempted"
    HUNG = "hung"
    OUT_OF_MEMORY = "out_of_memory"
    BAD_CONFIG = "bad_config"
    BUG = "bug"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A cell reached a point. `point.cell` is meaningless here: `cell` is the identity."""

    cell: str
    point: Point

    @property
    def key(self) -> tuple[int, int]:
        return self.point.step, self.point.inference_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """A cell's part of the GPU memory that its job takes, told once its first point is measured."""

    cell: str
    bytes: int
    gpu: str
    """Name of the GPU's type."""
    gpu_bytes: int
    """Memory of the whole GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """A cell ran to its end."""

    cell: str
    step: int
    ending: Ending


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A cell could not be brought to its end. It keeps its points and may be tried again."""

    cell: str
    failure: Failure
    message: str
    traceback: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A cell is not carried on, since it was foretold to end worse than others. It keeps its points and its checkpoint,
    and may be taken up again."""

    cell: str
    step: int
    reason: str


Event = Measured | Used | Ended | Failed | Held
KINDS = {kind.__name__.lower(): kind for kind in (Measured, Used, Ended, Failed, Held)}


def to_json(event: Event) -> dict[str, Any]:
    record = {"event": type(event).__name__.lower()} | {name: getattr(event, name) for name in _fields(type(event))}
    if isinstance(event, Measured):
        record["point"] = {name: getattr(event.point, name) for name in _fields(Point)}
    return record


def from_json(record: dict[str, Any]) -> Event:
    fields = {name: value for name, value in record.items() if name != "event"}
    if "point" in fields:
        fields["point"] = Point(**fields["point"])
    if "ending" in fields:
        fields["ending"] = Ending(fields["ending"])
    if "failure" in fields:
        fields["failure"] = Failure(fields["failure"])
    return KINDS[record["event"]](**fields)


@cache
def _fields(kind: type) -> tuple[str, ...]:
    """Asked once a class, not once an event: `dataclasses.asdict` was half of what the driver did."""
    return tuple(field.name for field in dataclasses.fields(kind))
