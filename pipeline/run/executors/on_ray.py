"""Jobs as Ray tasks: on the cluster this driver runs in, or on a local one that is made for it.

A job is a streaming generator task without Ray's own retries: Ray would replay the task and match its items by index,
which loses points when the second try starts from a checkpoint. The driver resubmits a lost job instead.
"""

from __future__ import annotations

import asyncio
import math
import os
import pickle
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.errors import OutsideError, PipelineError
from pipeline.run.code import Code
from pipeline.run.executors import Line, Report, read_lines, run_jobs
from pipeline.run.executors.by_name import stream_by_name
from pipeline.run.executors.meter import Meter
from pipeline.run.executors.nodes import Nodes
from pipeline.run.job import Job
from pipeline.run.worker import main_memory, use_one_thread
from pipeline.store import Failure

READY_TASKS = 32
"""Tasks submitted beyond those that can run: enough that no worker waits for the driver and that an autoscaler sees the
demand, few enough that the order of the plan holds."""
GPU_SECONDS = 30.0
"""For the nodes to say what GPUs they have when a study starts: a second or two, and a new worker process on each."""
GROW_SECONDS = 900.0
"""For a node to come that is waited for: clouds take a minute or five, and large images as long again."""
BEAT_SECONDS = 10.0
"""Between a job's signs of life, and between looks at them."""


class RayExecutor:
    """See `pipeline.run.Executor`. A job that is silent for `hang_seconds` is ended and reported as hung."""

    def __init__(self, *, workers: int | None, device: str, hang_seconds: float):
        self._tasks: dict[Any, _Task] = {}
        self._own = not ray.is_initialized()
        if self._own:
            connect(workers)
        self._nodes = Nodes(device)
        self.device = self._nodes.device
        if self._own and self.device != "cpu" and not self._nodes.most and not os.environ.get("RAY_ADDRESS"):
            self.close()
            raise PipelineError(f"--device {device}: this machine has no GPU that Ray can see; use --device cpu")
        self.meter = Meter()
        self._most_tasks = workers
        self._hang_seconds = hang_seconds
        # On the driver's own node: a node that leaves must not take the board with it.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        # A board that dies is made anew, and the questions to it are asked again.
        self._board = _Board.options(scheduling_strategy=here, max_restarts=-1, max_task_retries=-1).remote()
        self._run = ray.remote(max_retries=0, num_returns="streaming")(stream_by_name(__name__, "run"))
        self._code: dict[tuple[str, str], Any] = {}
        if self.device != "cpu":
            self._nodes.gpu_types.wait(GPU_SECONDS)
        self._look()

    @property
    def workers(self) -> int:
        most = max(1, int(self._nodes.most))
        return min(self._most_tasks or most, most)

    @property
    def most_devices(self) -> int:
        return self._nodes.largest

    @property
    def gpus(self) -> dict[str, int]:
        return self._nodes.gpu_types.known()

    @property
    def nodes(self) -> dict[str, str]:
        return self._nodes.addresses

    @property
    def may_grow(self) -> bool:
        """Not where tasks have waited long and no node came: the cloud has none, or an account may not have more."""
        waiting = min((task.since for task in self._tasks.values() if not task.node), default=math.inf)
        return self._nodes.may_grow and time.monotonic() - max(waiting, self._nodes.grown) < GROW_SECONDS

    @property
    def idle(self) -> float:
        return sum(self._nodes.up.values()) - sum(task.devices for task in self._tasks.values())

    def most_cpus(self, gpu_share: float) -> int:
        return self._nodes.most_cpus(gpu_share)

    def wants_more(self) -> bool:
        if self._most_tasks is not None:
            return len(self._tasks) < self._most_tasks
        waiting = sum(not task.node for task in self._tasks.values())
        return waiting < READY_TASKS or sum(task.devices for task in self._tasks.values()) < self._nodes.most

    def submit(self, jobs: Sequence[Job]) -> None:
        token = uuid.uuid4().hex
        share, cpus = max(job.gpu_share for job in jobs), max(job.cpus for job in jobs)
        # Ray takes parts of one GPU, or whole ones.
        options: dict[str, Any] = {"num_gpus": int(share) if share > 1 else share, "num_cpus": cpus, "name": "unsl"}
        devices = cpus if self.device == "cpu" else share
        if memory := self._nodes.memory_to_ask(max(job.memory for job in jobs), devices):
            options["memory"] = memory
        if avoid := frozenset.union(*(job.avoid for job in jobs)) & self.nodes.keys():
            options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(avoid))})"}
        choosy, code = "label_selector" in options, self._code_of(jobs[0])
        stream = self._run.options(**options).remote(pickle.dumps(tuple(jobs)), code, self._board, token)
        self._tasks[stream] = _Task(jobs={job.number: job for job in jobs}, token=token, devices=devices, choosy=choosy)

    def poll(self, timeout: float) -> list[Report]:
        if time.monotonic() - self._asked > BEAT_SECONDS:
            self._look()
            self._end_hung_jobs()
        waiting = list(self._tasks)
        if not waiting:
            time.sleep(timeout)
            return []
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=0)
        if not ready:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=timeout)
        return [report for stream in ready for report in self._take(stream)]

    def recall(self) -> None:
        self._recall(list(self._tasks.values()))

    def _recall(self, tasks: Sequence[_Task]) -> None:
        for stream, task in self._tasks.items():
            if task in tasks and not task.node and not task.recalled:
                task.recalled = True
                ray.cancel(stream)

    def stop(self) -> None:
        self._board.stop.remote()
        self.recall()

    def close(self, *, in_haste: bool = False) -> None:
        """In haste, Ray is left to notice that the driver is gone."""
        for stream, task in self._tasks.items():
            if task.jobs:  # Else it is ending, and a cancellation that meets a task's end has crashed the process.
                ray.cancel(stream, force=True)
        self._tasks = {}
        if self._own and not in_haste:
            ray.shutdown()

    def _code_of(self, job: Job) -> Any:
        """Where Ray holds the code of the person's that a job needs, put there once a study."""
        key = job.trainer, job.base
        if key not in self._code:
            self._code[key] = ray.put(pickle.dumps(Code.of_trainer(*key)))
        return self._code[key]

    def _look(self) -> None:
        """A cluster grows and shrinks. Tasks that avoid nodes are placed anew where those that they wait for differ."""
        self._asked, before = time.monotonic(), (self.nodes.keys(), self.may_grow)
        self._nodes.look()
        self.meter.offer(self._nodes.up)
        if before != (self.nodes.keys(), self.may_grow):
            self._recall([task for task in self._tasks.values() if task.choosy])

    def _end_hung_jobs(self) -> None:
        silent = set(ray.get(self._board.silent.remote(self._hang_seconds)))
        for stream, task in self._tasks.items():
            if task.token in silent:
                task.hung = True
                ray.cancel(stream, force=True)

    def _take(self, stream: Any) -> list[Report]:
        """News of a task's jobs. Jobs that it has not finished when it ends were lost with it, or stopped."""
        task = self._tasks[stream]
        lost, message, gone = None, "", False
        try:
            news = ray.get(next(stream))
            if isinstance(news, str):
                task.node, task.device = news, self._nodes.type_of(news)
                self.meter.begin(task.token, device=task.device, devices=task.devices)
                return []
            lines, memory = news
            reports = read_lines(task.jobs.values(), lines, memory=memory, **task.where)
            for report in reports:
                if report.over:
                    del task.jobs[report.job.number]
            return reports
        except StopIteration:
            pass
        except RayError as error:
            if not task.recalled:
                lost, message = _classify(error), _first_line(error)
                gone = isinstance(error, NodeDiedError) or bool(task.node) and not self._nodes.is_alive(task.node)
            if task.hung:
                lost, message = Failure.HUNG, f"silent for more than {self._hang_seconds:g} s"
        del self._tasks[stream]
        self.meter.end(task.token)
        self._board.forget.remote(task.token)
        where = task.where if not task.recalled else {}
        how = {"lost": lost, "node_lost": gone, "message": message}
        return [Report(job=job, over=True, **how, **where) for job in task.jobs.values()]


@dataclass(kw_only=True)
class _Task:
    """Jobs in Ray's hands that are not over."""

    jobs: dict[int, Job] = field(repr=False)
    token: str
    devices: float
    """Cores or GPUs that it holds once it runs."""
    node: str = ""
    """Where it runs; empty while it waits for a worker."""
    device: str = ""
    since: float = field(default_factory=time.monotonic)
    """When it was handed to Ray."""
    choosy: bool = False
    """Whether there are nodes that it avoids."""
    hung: bool = False
    recalled: bool = False

    @property
    def where(self) -> dict[str, str]:
        return {"node": self.node, "device": self.device, "task": self.token}


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


def run(pickled_jobs: bytes, pickled_code: bytes, board: Any, token: str) -> Iterator[str | tuple[list[Line], int]]:
    """A task: first its node's name, then lines of its jobs, each list with the main memory that is taken by then."""
    yield ray.get_runtime_context().get_node_id()
    use_one_thread()
    jobs, code = pickle.loads(pickled_jobs), pickle.loads(pickled_code)
    if code is not None:
        jobs = [replace(job, trainer=code.trainer, base=code.here()) for job in jobs]
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
        for lines in run_jobs(jobs, should_stop):
            yield lines, main_memory()


def connect(workers: int | None) -> None:
    """Join the cluster that RAY_ADDRESS names, as in a submitted job; otherwise start one on this machine alone."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings = {"log_to_driver": False, "logging_level": "error"}
    if not (address := os.environ.get("RAY_ADDRESS")):
        settings |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
        settings |= {"_node_ip_address": "127.0.0.1"}
    try:
        ray.init(**settings)
    except Exception as error:  # Of many kinds, and a bare Exception where a node is too slow to start.
        what = f"the cluster at {address} cannot be reached" if address else "Ray cannot be started on this machine"
        remedy = "check RAY_ADDRESS" if address else "try again when the machine is less busy, or use --executor inline"
        raise OutsideError(f"{what} ({_first_line(error)}): {remedy}") from error


def _classify(error: RayError) -> Failure:
    if isinstance(error, OutOfMemoryError):
        return Failure.OUT_OF_MEMORY
    return Failure.BUG if isinstance(error, RayTaskError) else Failure.PREEMPTED


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"
