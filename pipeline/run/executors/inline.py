"""Jobs one after another in this process, without Ray; one on several devices in processes of its own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence

from pipeline.errors import PipelineError
from pipeline.plan import device_shown
from pipeline.run.executors import Line, Report, read_lines, run_jobs
from pipeline.run.executors.meter import Meter
from pipeline.run.job import Job
from pipeline.run.worker import gpu_types, main_memory

IDLE_SECONDS = 0.05
"""Between looks where there is nothing to do: someone else may be about to give us cells."""


class InlineExecutor:
    """See `pipeline.run.Executor`. `poll` does the work itself; a job that hangs hangs the driver."""

    workers = 1
    may_grow = False

    def __init__(self, *, device: str):
        self.device = _pick_device(device)
        self.gpus = gpu_types(self.device)
        self.nodes = {socket.gethostname(): "127.0.0.1"}
        self.meter = Meter()
        type = next((device_shown(gpu).name for gpu in self.gpus), "cpu" if self.device == "cpu" else "gpu")
        self.most_devices = _count(self.device)
        self._type, self._up = type, 1 if self.device == "cpu" else self.most_devices
        self.meter.offer({type: float(self._up)})
        self._jobs: Sequence[Job] = ()
        self._batches: Iterator[list[Line]] = iter(())
        self._stopping = False

    @property
    def idle(self) -> float:
        return 0.0 if self._jobs else float(self._up)

    def most_cpus(self, gpu_share: float) -> int:
        return max(1, int(gpu_share * (os.cpu_count() or 1)))

    def wants_more(self) -> bool:
        return not self._jobs

    def submit(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self.meter.begin("job", device=self._type, devices=float(max(job.devices for job in jobs)))
        self._batches = run_jobs(jobs, lambda: self._stopping)

    def poll(self, timeout: float) -> list[Report]:
        if not self._jobs:
            time.sleep(min(timeout, IDLE_SECONDS))
            return []
        batch = next(self._batches, None)
        if batch is None:
            self._jobs = ()
            self.meter.end("job")
            return []
        where = {"node": next(iter(self.nodes)), "device": self._type, "memory": main_memory()}
        return read_lines(self._jobs, batch, **where)

    def recall(self) -> None:
        pass  # Nothing waits: what was submitted runs.

    def stop(self) -> None:
        self._stopping = True

    def close(self, *, in_haste: bool = False) -> None:
        self._batches = iter(())
        self.meter.end("job")


def _count(device: str) -> int:
    """Devices of this machine that a job can be spread over."""
    if device == "cpu":
        return os.cpu_count() or 1
    import torch

    return torch.cuda.device_count() if device == "cuda" else 1


def _pick_device(asked: str) -> str:
    if asked == "cpu":
        return asked
    import torch

    if torch.cuda.is_available():
        return "cuda" if asked in ("auto", "gpu") else asked
    if asked != "auto":
        raise PipelineError(f"--device {asked}: this machine has no GPU that torch can see; use --device cpu")
    return "cpu"
