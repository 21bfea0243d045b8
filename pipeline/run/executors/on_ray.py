"""Jobs as Ray tasks: on the cluster this driver runs in, or on a local one that is made for it.

A job is a streaming generator task without Ray's own retries: Ray would replay the task and match its items by index,
which loses points when the second try starts from a checkpoint. The driver resubmits a lost job instead.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.errors import PipelineError
from pipeline.run.executors import Line, Report, read_lines, run_jobs
from pipeline.run.executors.gpu_types import GpuTypes
from pipeline.run.job import Job
from pipeline.run.worker import use_one_thread
from pipeline.store import Failure

READY_TASKS = 32
"""Tasks submitted beyond those that can run: enough that no worker waits for the driver and that an autoscaler sees the
demand, few enough that the order of the plan holds."""
GPU_SECONDS = 30.0
"""For the nodes to say what GPUs they have when a study starts: a second or two, and a new worker process on each."""
BEAT_SECONDS = 10.0
"""Between a job's signs of life, and between looks at them."""


class RayExecutor:
    """See `pipeline.run.Executor`. A job that is silent for `hang_seconds` is ended and reported as hung."""

    def __init__(self, *, workers: int | None, device: str, hang_seconds: float):
        self._tasks: dict[Any, _Task] = {}
        self._own = not ray.is_initialized()
        if self._own:
            _connect(workers)
        have = ray.cluster_resources()
        self.device = ("cuda" if have.get("GPU") else "cpu") if device == "auto" else device
        if self._own and self.device != "cpu" and not have.get("GPU") and not os.environ.get("RAY_ADDRESS"):
            self.close()
            raise PipelineError(f"--device {device}: this machine has no GPU that Ray can see; use --device cpu")
        self._most_workers = workers
        self._hang_seconds = hang_seconds
        self._asked = time.monotonic()
        # On the driver's own node: a node that leaves must not take the board with it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # A board that dies is made anew, and the questions to it are asked again.
        self._board = _Board.options(scheduling_strategy=here, max_restarts=-1, max_task_retries=-1).remote()
        self._run = ray.remote(max_retries=0, num_returns="streaming")(_run)
        self._gpu_types = GpuTypes()
        self._count_workers()
        if self.device != "cpu":
            self._gpu_types.wait(GPU_SECONDS)

    def wants_more(self) -> bool:
        ready = READY_TASKS if self._most_workers is None else 0
        return len(self._tasks) < self.workers + ready

    @property
    def gpus(self) -> dict[str, int]:
        return self._gpu_types.known()

    def submit(self, jobs: Sequence[Job]) -> None:
        token = uuid.uuid4().hex
        options = {"num_gpus": max(job.gpu_share for job in jobs), "name": "unsl"}
        stream = self._run.options(**options).remote(tuple(jobs), self._board, token)
        self._tasks[stream] = _Task(jobs={job.number: job for job in jobs}, token=token)

    def poll(self, timeout: float) -> list[Report]:
        if not self._tasks:
            time.sleep(timeout)
            return []
        if time.monotonic() - self._asked > BEAT_SECONDS:
            self._asked = time.monotonic()
            self._count_workers()
            self._end_hung_jobs()
        waiting = list(self._tasks)
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout)
        return [report for stream in ready for report in self._take(stream)]

    def stop(self) -> None:
        self._board.stop.remote()

    def close(self) -> None:
        for stream in self._tasks:
            ray.cancel(stream, force=True)
        self._tasks = {}
        if self._own:
            ray.shutdown()

    def _count_workers(self) -> None:
        """A cluster grows and shrinks."""
        have = int(ray.cluster_resources().get("CPU" if self.device == "cpu" else "GPU", 1))
        self.workers = max(1, min(self._most_workers or have, have))
        if self.device != "cpu":
            self._gpu_types.look()

    def _end_hung_jobs(self) -> None:
        silent = set(ray.get(self._board.silent.remote(self._hang_seconds)))
        for stream, task in self._tasks.items():
            if task.token in silent:
                task.hung = True
                ray.cancel(stream, force=True)

    def _take(self, stream: Any) -> list[Report]:
        """News of a task's jobs. Jobs that it has not finished when it ends were lost with it, or stopped."""
        task = self._tasks[stream]
        lost, message = None, ""
        try:
            reports = read_lines(task.jobs.values(), ray.get(next(stream)))
            for report in reports:
                if report.over:
                    del task.jobs[report.job.number]
            return reports
        except StopIteration:
            pass
        except RayError as error:
            lost, message = _classify(error), _first_line(error)
            if task.hung:
                lost, message = Failure.HUNG, f"silent for more than {self._hang_seconds:g} s"
        del self._tasks[stream]
        self._board.forget.remote(task.token)
        return [Report(job=job, over=True, lost=lost, message=message) for job in task.jobs.values()]


@dataclass(kw_only=True)
class _Task:
    """Jobs in Ray's hands that are not over."""

    jobs: dict[int, Job]
    token: str
    hung: bool = False


@ray.remote(num_cpus=0)
class _Board:
    """Where running jobs read whether to stop, and leave a sign of life."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()
        self._beats: dict[str, float] = {}

    async def wait(self) -> None:
        await self._stopped.wait()

    async def stop(self) -> None:
        self._stopped.set()

    async def beat(self, token: str) -> None:
        self._beats[token] = time.monotonic()

    async def forget(self, token: str) -> None:
        self._beats.pop(token, None)

    async def silent(self, seconds: float) -> list[str]:
        now = time.monotonic()
        return [token for token, last in self._beats.items() if now - last > seconds]


def _run(jobs: Sequence[Job], board: Any, token: str) -> Iterator[list[Line]]:
    use_one_thread()
    # Not asked with `ray.get`: Ray takes a task that calls it for one that waits, and starts another on its core.
    word = board.wait.remote().future()
    last_beat = -math.inf

    def should_stop() -> bool:
        nonlocal last_beat
        if time.monotonic() - last_beat > BEAT_SECONDS:
            last_beat = time.monotonic()
            board.beat.remote(token)
        return word.done()  # Also where the driver is gone, and the board with it.

    if not should_stop():  # It may have waited in Ray's queue while the study was stopped.
        yield from run_jobs(jobs, should_stop)


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
