"""Jobs as Ray tasks: on the cluster this driver runs in, or on a local one that is made for it.

A job is a streaming generator task without Ray's own retries: Ray would replay the task and match its items by index,
which loses points when the second try starts from a checkpoint. The driver resubmits a lost job instead.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayError, RayTaskError

from pipeline.events import Event, Failure, Job
from pipeline.executors import Report, in_batches
from pipeline.worker import run_job, use_one_thread

READY_JOBS = 32
"""Jobs submitted beyond those that can run: enough that a worker never waits for the driver and that an autoscaler sees
the demand, few enough that the order of the plan holds."""


class RayExecutor:
    """See `pipeline.executors.Executor`."""

    def __init__(self, *, workers: int | None, device: str):
        self._own = not ray.is_initialized()
        if self._own:
            _connect(workers)
        have = ray.cluster_resources()
        if device == "auto":
            device = "cuda" if have.get("GPU") else "cpu"
        self.device, on_gpu = device, device != "cpu"
        have = have.get("GPU" if on_gpu else "CPU", 1)
        self.workers = max(1, int(min(workers or have, have)))
        self.window = self.workers + READY_JOBS
        self._stopper = _Stopper.remote()
        self._run = ray.remote(_run).options(
            num_cpus=1, num_gpus=1 if on_gpu else 0, max_retries=0, num_returns="streaming", name="unsl"
        )
        self._jobs: dict[Any, Job] = {}

    def submit(self, job: Job) -> None:
        self._jobs[self._run.remote(job, self._stopper)] = job

    def poll(self, timeout: float) -> list[Report]:
        if not self._jobs:
            return []
        waiting = list(self._jobs)
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout)
        return [self._take(stream) for stream in ready]

    def _take(self, stream: Any) -> Report:
        job = self._jobs[stream]
        try:
            return Report(job=job, events=ray.get(next(stream)))
        except StopIteration:
            report = Report(job=job, over=True)
        except RayError as error:
            report = Report(job=job, over=True, lost=_classify(error), message=_first_line(error))
        del self._jobs[stream]
        return report

    def stop(self) -> None:
        self._stopper.stop.remote()

    def close(self) -> None:
        for stream in self._jobs:
            ray.cancel(stream, force=True)
        self._jobs = {}
        if self._own:
            ray.shutdown()


@ray.remote(num_cpus=0)
class _Stopper:
    """Holds the one word that every running job listens for."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()

    async def wait(self) -> None:
        await self._stopped.wait()

    async def stop(self) -> None:
        self._stopped.set()


def _run(job: Job, stopper: Any) -> Iterator[list[Event]]:
    use_one_thread()
    word = stopper.wait.remote()

    def should_stop() -> bool:
        try:
            ray.get(word, timeout=0)
        except GetTimeoutError:
            return False
        except RayError:
            pass  # The driver is gone, and the stopper with it.
        return True

    if not should_stop():  # It may have waited in Ray's queue while the study was stopped.
        yield from in_batches(run_job(job, should_stop))


def _connect(workers: int | None) -> None:
    """Join the cluster that RAY_ADDRESS names, as in a submitted job; otherwise start one on this machine alone."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        ray.init(address="local", num_cpus=workers, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)


def _classify(error: RayError) -> Failure:
    if isinstance(error, OutOfMemoryError):
        return Failure.OUT_OF_MEMORY
    return Failure.BUG if isinstance(error, RayTaskError) else Failure.PREEMPTED


def _first_line(error: RayError) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
