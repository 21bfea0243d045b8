"""What a run may cost: a limit in worker-hours, held against the plan before it starts and while it runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import PipelineError
from pipeline.plan.plan import PlannedCell


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A limit on the hours of one kind of worker."""

    hours: float
    worker: str
    """`gpu` or `cpu`."""

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`40gpu-hours`, `0.5 cpu-hours`. Raises PipelineError."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(gpu|cpu)-hours?\s*", text)
        if not found or float(found[1]) <= 0:
            raise PipelineError(f"the budget {text!r} must be a number of hours, such as 40gpu-hours or 0.5cpu-hours")
        return cls(hours=float(found[1]), worker=found[2])

    def check_worker(self, device: str) -> None:
        """Raise PipelineError where the run would spend nothing of what is limited."""
        worker = "cpu" if device == "cpu" else "gpu"
        if worker != self.worker:
            raise PipelineError(
                f"the budget is in {self.worker}-hours, but the cells train on {device}: use {worker}-hours"
            )

    def check_plan(self, planned: Sequence[PlannedCell], *, spent_hours: float) -> None:
        """Raise PipelineError where the plan is predicted to cost more than is left."""
        affordable, held = self.trim(planned, spent_hours=spent_hours)
        if held:
            needed = sum(one.predicted_seconds for one in planned) / 3600
            raise PipelineError(
                f"the plan needs {needed:.3g} {self.worker}-hours and {max(self.hours - spent_hours, 0):.3g} of "
                f"{self.hours:g} are left: --trim runs the {len(affordable)} cells that fit and holds {len(held)} back"
            )

    def trim(
        self, planned: Sequence[PlannedCell], *, spent_hours: float
    ) -> tuple[list[PlannedCell], list[PlannedCell]]:
        """The cells that fit, in the order of the study, and those that are held back from the first that does not."""
        left = 3600 * (self.hours - spent_hours)
        for count, one in enumerate(planned):
            left -= one.predicted_seconds
            if left < 0:
                return list(planned[:count]), list(planned[count:])
        return list(planned), []
