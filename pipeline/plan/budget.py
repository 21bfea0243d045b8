"""What a study may cost: a limit in hours of a device or in money, held against the plan and against what is spent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.errors import PipelineError
from pipeline.plan.devices import device_named
from pipeline.plan.plan import PlannedCell

MONEY = "usd"


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Dollars that an hour of a device costs, by its type; `gpu` is for every GPU that has no price of its own."""

    by_device: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Prices:
        """`h100=2.99,cpu=0.05`. Raises PipelineError."""
        found = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            match = re.fullmatch(r"([\w-]+)\s*=\s*\$?(\d+(?:\.\d+)?)", part)
            if not match:
                raise PipelineError(f"the price {part!r} must be a device type and dollars an hour, such as h100=2.99")
            name = match[1].lower()
            found[name if name == "gpu" else device_named(name).name] = float(match[2])
        return cls(by_device=found)

    def of(self, device: str) -> float | None:
        """Dollars an hour, or None where nobody said. A GPU of unknown type is taken for the dearest."""
        if device in self.by_device or device == "cpu":
            return self.by_device.get(device)
        gpus = [price for name, price in self.by_device.items() if name != "cpu"]
        return self.by_device.get("gpu", max(gpus, default=None) if device == "gpu" else None)

    def cost(self, device_seconds: Mapping[str, float]) -> float | None:
        """Dollars of device-seconds by type; None where one of them has no price."""
        parts = [(self.of(device), seconds / 3600) for device, seconds in device_seconds.items() if seconds > 0]
        return None if any(price is None for price, _ in parts) else sum(price * hours for price, hours in parts)

    def show(self, device_seconds: Mapping[str, float]) -> str:
        """`0.4 cpu-hours, 2.1 h100-hours ($6.3)`: money where every device has a price."""
        parts = [f"{seconds / 3600:.3g} {device}-hours" for device, seconds in sorted(device_seconds.items())]
        cost = self.cost(device_seconds) if self.by_device else None
        return (", ".join(parts) or "nothing") + (f" (${cost:.2f})" if cost is not None else "")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A limit on the hours of one type of device, of all GPUs together, or on dollars."""

    amount: float
    unit: str
    """`cpu`, `gpu`, a type such as `h100`, or `usd`."""
    prices: Prices = field(default_factory=Prices)

    @classmethod
    def parse(cls, text: str, prices: Prices | None = None) -> Budget:
        """`40gpu-hours`, `0.5 cpu-hours`, `8 h100-hours`, `200usd`. Raises PipelineError."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([a-z][\w-]*?)-hours?|(usd))\s*", text.lower())
        if not found or float(found[1]) <= 0:
            raise PipelineError(
                f"the budget {text!r} must be a number of hours or dollars, such as 40gpu-hours, 8h100-hours, "
                "0.5cpu-hours or 200usd"
            )
        unit = found[3] or found[2]
        if unit not in ("gpu", MONEY):
            unit = device_named(unit).name
        return cls(amount=float(found[1]), unit=unit, prices=prices or Prices())

    @property
    def shown_unit(self) -> str:
        return "dollars" if self.unit == MONEY else f"{self.unit}-hours"

    def limits(self, device: str) -> bool:
        """Whether work on a type of device counts. Where the type of a GPU is not known, it counts as any."""
        return self.unit in (device, MONEY) or device != "cpu" != self.unit and "gpu" in (self.unit, device)

    def check_device(self, device: str) -> None:
        """Raise PipelineError where a run on this type of device would spend nothing of what is limited."""
        if not self.limits(device):
            raise PipelineError(
                f"the budget is in {self.shown_unit}, but the cells train on {device}: use {device}-hours"
            )
        if self.unit == MONEY and self.prices.of(device) is None:
            raise PipelineError(f"the budget is in dollars, but nobody said what {device} costs: --price {device}=2.5")

    def spent(self, device_seconds: Mapping[str, float]) -> float:
        """Device-seconds by type in the budget's own unit. Devices without a price cost nothing that is known."""
        counted = {device: seconds for device, seconds in device_seconds.items() if self.limits(device)}
        if self.unit != MONEY:
            return sum(counted.values()) / 3600
        return sum((self.prices.of(device) or 0.0) * seconds / 3600 for device, seconds in counted.items())

    def check_plan(self, planned: Sequence[PlannedCell], *, device: str, spent: float, rate: float = 1.0) -> None:
        """Raise PipelineError where the plan is predicted to cost more than is left."""
        affordable, held = self.trim(planned, device=device, spent=spent, rate=rate)
        if held:
            needed = sum(self.spent({device: rate * one.remaining_seconds}) for one in planned)
            raise PipelineError(
                f"the plan needs {needed:.3g} {self.shown_unit} and {max(self.amount - spent, 0):.3g} of "
                f"{self.amount:g} are left: --trim runs the {len(affordable)} cells that fit and holds {len(held)} back"
            )

    def trim(
        self, planned: Sequence[PlannedCell], *, device: str, spent: float, rate: float = 1.0
    ) -> tuple[list[PlannedCell], list[PlannedCell]]:
        """The cells that fit, in the order of the study, and those that are held back from the first that does not.

        `spent` is in the budget's unit; `rate` is what a second of training costs in device-seconds.
        """
        left = self.amount - spent
        for count, one in enumerate(planned):
            left -= self.spent({device: rate * one.remaining_seconds})
            if left < 0:
                return list(planned[:count]), list(planned[count:])
        return list(planned), []
