"""What a run spends while it goes: measured device-seconds, held against the budget and kept in the store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pipeline.plan import Account, Accounts, Budget, Device, PlannedCell, Prices, SickNode, added
from pipeline.run.executors import Executor
from pipeline.run.executors.meter import Meter
from pipeline.store import Folder


@dataclass(kw_only=True)
class Costs:
    """The account of one run, after those of earlier ones."""

    meter: Meter
    budget: Budget | None = None
    """What the study may cost in all: no job is begun that would lead beyond it, and at it the run is stopped."""
    earlier: Mapping[str, float] = field(default_factory=dict)
    """Device-seconds by type that earlier runs of the study held."""
    rate: float = 1.0
    """Device-seconds that a predicted second of training costs."""
    prices: Prices = field(default_factory=Prices)
    account: Account = field(default_factory=Account.begin)
    _trained: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Folder, executor: Executor, *, device: Device, budget: Budget | None, prices: Prices) -> Costs:
        """The account of a run that begins on a type of device; PipelineError where the budget is for other ones."""
        accounts = Accounts.read(folder)
        if budget:
            budget.check_device(device.name)
        return cls(
            meter=executor.meter,
            budget=budget,
            earlier=accounts.held,
            rate=accounts.device_seconds_a_second(device.name),
            prices=prices,
        )

    def admit(
        self, planned: list[PlannedCell], *, device: Device, trim: bool
    ) -> tuple[list[PlannedCell], list[PlannedCell]]:
        """The cells that the budget covers and those that it holds back; PipelineError where some are not to be."""
        if self.budget is None:
            return planned, []
        facts = {"device": device.name, "spent": self._spent(), "rate": self.rate}
        if trim:
            return self.budget.trim(planned, **facts)
        self.budget.check_plan(planned, **facts)
        return planned, []

    def train(self, device: str, seconds: float) -> None:
        """Points say that so many seconds were trained on a type of device."""
        self._trained[device] = self._trained.get(device, 0.0) + seconds

    def covers(self, seconds: float, *, device: str) -> bool:
        """Whether the budget covers so many predicted seconds of training, after what is spent."""
        if self.budget is None:
            return True
        return self._spent() + self.budget.spent({device: self.rate * seconds}) <= self.budget.amount

    @property
    def used_up(self) -> bool:
        return self.budget is not None and self._spent() >= self.budget.amount

    def find_sick(self, node: SickNode) -> None:
        self.account = replace(self.account, sick=(*self.account.sick, node))

    def keep(self, folder: Folder) -> Account:
        """Bring the account up to date, and into the store. Where that fails, the next event's turn will tell."""
        self.account = replace(
            self.account,
            updated=time.time(),
            held=self.meter.held(),
            offered=self.meter.offered(),
            trained=dict(self._trained),
        )
        with suppress(OSError):
            self.account.write(folder)
        return self.account

    def line(self) -> str:
        """`3.2 of 40 gpu-hours`, `0.4 cpu-hours, 2.1 h100-hours, $6.3`: of the study in all."""
        if self.budget is not None:
            return f"{self._spent():.3g} of {self.budget.amount:g} {self.budget.shown_unit}"
        return self.prices.show(self._held())

    def _held(self) -> dict[str, float]:
        return added([self.earlier, self.meter.held()])

    def _spent(self) -> float:
        return self.budget.spent(self._held()) if self.budget else 0.0
