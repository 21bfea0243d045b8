"""How many devices a cell is trained on at once.

Most cells of a study are small and many: one device each is the cheapest way to train them. Where the few large ones
are all that is left, devices idle beside them: a cell may then be spread over several of one node. How many they are is
no part of a cell, and may differ each time that it is taken up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError
from pipeline.plan import PlannedCell, check_even
from pipeline.run.executors import Executor
from pipeline.run.job import Job
from pipeline.study import AUTO, Study
from trainers import Trainer, spreads

AUTO_SECONDS = 600.0
"""Of work that is left, on one GPU, from which on `auto` spreads a cell: processes take half a minute to start."""


@dataclass(frozen=True, kw_only=True)
class Spreading:
    """What was asked for, and what the trainer can do."""

    trainer: Trainer
    per_cell: int | str = 1
    """Devices of every cell, or `auto`: as many GPUs as would idle otherwise."""

    @property
    def fewest(self) -> int:
        """Devices that a cell takes at least."""
        return 1 if self.per_cell == AUTO else int(self.per_cell)

    def check(self, study: Study, planned: Iterable[PlannedCell], executor: Executor) -> None:
        """Raise PipelineError where cells cannot be trained on so many devices."""
        check_even(study, planned, self.per_cell)
        if self.fewest > executor.most_devices:
            kind = "cores" if executor.device == "cpu" else "GPUs"
            raise PipelineError(
                f"{self.fewest} devices a cell are asked for, and no node has more than {executor.most_devices} {kind}"
            )

    def devices(self, job: Job, executor: Executor, *, waiting: int, seconds: Callable[[Job], float]) -> int:
        """GPUs of a job, one of so many that wait. seconds: that a job has to go on one GPU, asked only for `auto`."""
        if self.per_cell != AUTO:
            return self.fewest
        if seconds(job) < AUTO_SECONDS:
            return 1
        fair = min(executor.most_devices, int(executor.idle) // max(1, waiting))
        configs = [self.trainer.Config(**config) for config in job.configs]
        return next((n for n in range(fair, 1, -1) if self._spreads(configs, n)), 1)

    def _spreads(self, configs: Sequence[Any], devices: int) -> bool:
        return all(spreads(self.trainer, config, devices) for config in configs)
