"""Device-seconds by type of device: what jobs held, lost work included, and what was up to be held."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Meter:
    """A job that holds a quarter of a GPU for a minute costs 15 device-seconds, whatever became of it."""

    clock: Callable[[], float] = time.monotonic
    _held: dict[str, float] = field(default_factory=dict)
    _holding: dict[Hashable, tuple[str, float, float]] = field(default_factory=dict)
    """What is held now: type of device, devices, and since when."""
    _offered: dict[str, float] = field(default_factory=dict)
    _offering: Mapping[str, float] = field(default_factory=dict)
    _since: float = 0.0

    def begin(self, key: Hashable, *, device: str, devices: float) -> None:
        """From now on `key` holds so many devices of a type."""
        self._holding[key] = device, devices, self.clock()

    def end(self, key: Hashable) -> None:
        """What `key` held is free again; nothing where it held none."""
        if key in self._holding:
            device, devices, since = self._holding.pop(key)
            self._held[device] = self._held.get(device, 0.0) + devices * (self.clock() - since)

    def offer(self, devices: Mapping[str, float]) -> None:
        """From now on so many devices of each type are up."""
        self._offered, self._offering, self._since = self.offered(), dict(devices), self.clock()

    def held(self) -> dict[str, float]:
        """Device-seconds that jobs held so far, those at work included."""
        now, total = self.clock(), dict(self._held)
        for device, devices, since in self._holding.values():
            total[device] = total.get(device, 0.0) + devices * (now - since)
        return total

    def offered(self) -> dict[str, float]:
        """Device-seconds that were up so far."""
        passed, total = self.clock() - self._since, dict(self._offered)
        for device, devices in self._offering.items():
            total[device] = total.get(device, 0.0) + devices * passed
        return total
