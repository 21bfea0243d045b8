"""Jobs one after another in this process, without Ray."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.events import Event, Job
from pipeline.executors import Report, in_batches
from pipeline.worker import run_job


class InlineExecutor:
    """See `pipeline.executors.Executor`. `poll` does the work itself."""

    workers = 1
    window = 1

    def __init__(self, *, device: str):
        self.device = _pick_device() if device == "auto" else device
        self._job: Job | None = None
        self._batches: Iterator[list[Event]] = iter(())
        self._stopping = False

    def submit(self, job: Job) -> None:
        self._job = job
        self._batches = in_batches(run_job(job, lambda: self._stopping))

    def poll(self, timeout: float) -> list[Report]:
        if self._job is None:
            return []
        events = next(self._batches, None)
        report = Report(job=self._job, events=events or (), over=events is None)
        if report.over:
            self._job = None
        return [report]

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._batches = iter(())


def _pick_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
