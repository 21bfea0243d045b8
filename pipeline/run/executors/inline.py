"""Jobs one after another in this process, without Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from pipeline.run.executors import Line, Report, read_lines, run_jobs
from pipeline.run.job import Job
from pipeline.run.worker import gpu_types

IDLE_SECONDS = 0.05
"""Between looks for work where there is none: what a study may wait for is measured in seconds."""


class InlineExecutor:
    """See `pipeline.run.Executor`. `poll` does the work itself; a job that hangs hangs the driver."""

    workers = 1

    def __init__(self, *, device: str):
        self.device = _pick_device() if device == "auto" else device
        self.gpus = gpu_types(self.device)
        self._jobs: Sequence[Job] = ()
        self._batches: Iterator[list[Line]] = iter(())
        self._stopping = False

    def wants_more(self) -> bool:
        return not self._jobs

    def submit(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._batches = run_jobs(jobs, lambda: self._stopping)

    def poll(self, timeout: float) -> list[Report]:
        if not self._jobs:
            time.sleep(min(timeout, IDLE_SECONDS))
            return []
        batch = next(self._batches, None)
        if batch is None:
            self._jobs = ()
            return []
        return read_lines(self._jobs, batch)

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._batches = iter(())


def _pick_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
