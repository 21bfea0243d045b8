"""What the runs of a study cost: device-seconds by type of device, lost work and idle devices included.

    STORE/STUDY/accounts/WRITER.json      one a driver, written by that driver alone while it runs

Points say how long training took; they know nothing of work that was lost with a node, of a GPU that eight jobs share,
or of one that waited. So the driver measures what jobs held, and what was up to be held.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.store import Folder

FOLDER = "accounts"
MEASURED_AFTER_SECONDS = 600.0
"""Of training, before a study's own costs are believed: in shorter runs the start of processes weighs too much."""


@dataclass(frozen=True, kw_only=True)
class SickNode:
    """A node that a driver stopped using."""

    node: str
    address: str
    jobs: int
    """Jobs that failed there in a row, and nowhere else."""
    message: str
    """What the last of them said."""
    at: float
    """Unix seconds."""

    def to_text(self) -> str:
        return (
            f"node {self.address} ({self.node[-8:]}) is not used any more: {self.jobs} jobs in a row failed there and "
            f"nowhere else, the last with {self.message}"
        )


@dataclass(frozen=True, kw_only=True)
class Account:
    """What one driver has used so far."""

    name: str
    began: float
    """Unix seconds."""
    updated: float
    held: Mapping[str, float] = field(default_factory=dict)
    """Device-seconds that its jobs held, by type of device: `cpu`, `gpu` where the type is not known, or `h100`."""
    offered: Mapping[str, float] = field(default_factory=dict)
    """Device-seconds that were up while it ran, by type."""
    trained: Mapping[str, float] = field(default_factory=dict)
    """Seconds of training behind the points that it kept, by type: as long as the cells say, whatever their share."""
    sick: tuple[SickNode, ...] = ()

    @classmethod
    def begin(cls) -> Account:
        now = time.time()
        return cls(name=f"{now:.3f}-{socket.gethostname()}-{os.getpid()}", began=now, updated=now)

    @property
    def idle_share(self) -> float | None:
        """The part of the GPU time that was up and not held; None where no GPU was."""
        up = sum(seconds for device, seconds in self.offered.items() if device != "cpu")
        held = sum(seconds for device, seconds in self.held.items() if device != "cpu")
        return max(0.0, 1 - held / up) if up else None

    def facts(self) -> dict[str, float]:
        """Hours by type of device and the idle share, as flat numbers."""
        hours = {f"{device}_hours": seconds / 3600 for device, seconds in self.held.items()}
        return hours | ({"gpu_idle_share": self.idle_share} if self.idle_share is not None else {})

    def write(self, folder: Folder) -> None:
        """Into a study's folder. The name is this driver's alone, so no other is ever overwritten."""
        folder.write(f"{FOLDER}/{self.name}.json", json.dumps(dataclasses.asdict(self)).encode())

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Account:
        return cls(**{**record, "sick": tuple(SickNode(**one) for one in record["sick"])})


@dataclass(frozen=True)
class Accounts:
    """Those of all drivers of a study, the oldest first."""

    all: tuple[Account, ...] = ()

    @classmethod
    def read(cls, folder: Folder) -> Accounts:
        found = []
        for name in folder.names(FOLDER, ending=".json"):
            found.append(Account.from_json(json.loads(folder.read(f"{FOLDER}/{name}"))))
        return cls(tuple(sorted(found, key=lambda one: one.began)))

    @property
    def held(self) -> dict[str, float]:
        """Device-seconds by type, of all runs."""
        return added(one.held for one in self.all)

    def device_seconds_a_second(self, device: str) -> float:
        """Device-seconds that a second of training costs, lost work and shares of a GPU included; 1 until measured."""
        trained = sum(one.trained.get(device, 0.0) for one in self.all)
        held = self.held.get(device, 0.0)
        return held / trained if trained >= MEASURED_AFTER_SECONDS and held else 1.0


def added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The sum of several amounts by name."""
    total: dict[str, float] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0.0) + amount
    return total
