"""What runs beside the training: one job from its checkpoints to its last event. Both executors use it."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.run.checkpoints import Checkpoints, CheckpointsUnreachable
from pipeline.run.job import Job
from pipeline.run.ranks import Blame, RanksFailed, processes, run_on_ranks
from pipeline.store import Ended, Event, Failed, Failure, Folder, Measured, Used
from pipeline.study import check_metrics
from trainers import (
    THREADS,
    Checkpoint,
    End,
    Ending,
    Point,
    RankLost,
    Ranks,
    Trainer,
    TrainerError,
    load_trainer,
    run_trainer,
)


def run_job(job: Job, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """Train the cells of a job and say what happens. Never raises: what goes wrong is a `Failed` for each unended cell.

    A cell without an `Ended` or a `Failed` when the iterator is exhausted was stopped and can be resumed.
    """
    use_one_thread()
    ended: set[str] = set()
    try:
        for event in run_on_ranks(job, should_stop) if job.devices > 1 else train(job, should_stop):
            if isinstance(event, Ended):
                ended.add(event.cell)
            yield event
    except Exception as error:
        why = error if isinstance(error, RanksFailed) else explained(error)
        for cell in job.cells:
            if cell not in ended:
                yield Failed(cell=cell, failure=why.failure, message=why.message, traceback=why.traceback)


def train(job: Job, should_stop: Callable[[], bool], ranks: Ranks | None = None) -> Iterator[Event]:
    """What happens to the cells of a job that this process trains, alone or as the first. Raises what goes wrong."""
    os.environ[THREADS] = str(max(1, job.cpus // job.devices))
    checked = False
    measured = not job.device.startswith("cuda")
    context = _Context(job, should_stop, ranks or Ranks())
    trainer, configs = load_job(job)
    yield from context.repeat()
    for event in run_trainer(trainer, configs, context):
        cell = job.cells[event.cell]
        if isinstance(event, Point):
            if not checked:
                check_metrics(event.metrics, job.configs[event.cell])
                checked = True
            context.measured(event)
            yield Measured(cell=cell, point=event)
            if not measured:
                measured = True
                yield from _gpu_memory(job)
        elif isinstance(event, End):
            yield Ended(cell=cell, step=event.step, ending=Ending(event.ending))


def load_job(job: Job) -> tuple[Trainer, list[Any]]:
    """The trainer of a job and its configurations."""
    trainer = load_trainer(job.trainer, base=job.base or None)
    return trainer, [trainer.Config(**config) for config in job.configs]


def use_one_thread() -> None:
    """One thread a cell: two on a busy core are far slower than one, and results do not depend on the core count."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


class _Context:
    """`trainers.Context` over a folder of checkpoints."""

    def __init__(self, job: Job, should_stop: Callable[[], bool], ranks: Ranks):
        self.device, self.ranks = job.device, ranks
        self._seconds = job.checkpoint_seconds
        folder = Folder(job.checkpoints)
        self._checkpoints = [Checkpoints(folder.folder(cell), job.series) for cell in job.cells]
        self._loaded = [
            checkpoints.load() if cell in job.begun else None
            for cell, checkpoints in zip(job.cells, self._checkpoints, strict=True)
        ]
        self._cells = job.cells
        self.points: list[list[Point]] = [list(loaded[1]) if loaded else [] for loaded in self._loaded]
        self._last_save = time.monotonic()
        self._should_stop = should_stop
        self._until = job.until
        self._news: dict[int, int] = {}

    def repeat(self) -> Iterator[Measured]:
        """The points that led to the checkpoints, in case the driver never got them."""
        for cell, points in zip(self._cells, self.points, strict=True):
            for point in points:
                yield Measured(cell=cell, point=point)

    def measured(self, point: Point) -> None:
        self.points[point.cell].append(point)
        self._news[point.cell] = point.step

    def load(self, cell: int) -> Checkpoint | None:
        loaded = self._loaded[cell]
        return loaded[0] if loaded else None

    def checkpoint_due(self) -> bool:
        now = time.monotonic()
        if now - self._last_save < self._seconds:
            return False
        self._last_save = now
        return True

    def save(self, cell: int, checkpoint: Checkpoint) -> None:
        try:
            self._checkpoints[cell].save(checkpoint, self.points[cell])
        except OSError as error:
            # A full disk costs the work since the last checkpoint if the worker is lost, and not the training itself.
            print(f"cell {self._cells[cell]}: no checkpoint at step {checkpoint.step}: {error}", file=sys.stderr)

    def should_stop(self) -> bool:
        """Also where all cells that were measured since the last question stand at their rung: those that train apart
        from them are asked for by themselves."""
        news, self._news = self._news, {}
        at_rung = bool(news and self._until) and all(0 < self._until[cell] <= step for cell, step in news.items())
        return at_rung or self._should_stop()


def main_memory() -> int:
    """Bytes of main memory that this process takes now, with those that train for it; 0 where the system is silent."""
    return sum(map(_resident, ("self", *processes())))


def _resident(process: int | str) -> int:
    try:
        with open(f"/proc/{process}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def gpu_types(device: str) -> dict[str, int]:
    """The type of a device's GPU with its memory in bytes, in the words of `Used`; nothing where there is none."""
    if not device.startswith("cuda"):
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    gpu = torch.cuda.get_device_properties(device)
    return {gpu.name: gpu.total_memory}


def _gpu_memory(job: Job) -> list[Used]:
    """Each cell's part of the most that the job has allocated so far; nothing where torch has allocated nothing.

    Of several GPUs, what all of them hold: no less than one GPU would, so that a share of one is never too small.
    """
    torch = sys.modules.get("torch")
    gpus = gpu_types(job.device) if torch else {}
    most = job.devices * torch.cuda.max_memory_allocated(job.device) // len(job.cells) if gpus else 0
    return [Used(cell=cell, bytes=most, gpu=gpu, gpu_bytes=whole) for gpu, whole in gpus.items() for cell in job.cells]


def explained(error: Exception) -> RanksFailed:
    """An exception in the words of a failure; called where it is handled."""
    message = f"{type(error).__name__}: {error}"
    blame = Blame.ANOTHERS if isinstance(error, RankLost) else Blame.ITS_OWN
    return RanksFailed(_classify(error), message, traceback.format_exc(), blame)


def _classify(error: Exception) -> Failure:
    if isinstance(error, CheckpointsUnreachable | RankLost):
        return Failure.PREEMPTED  # By the store or by another process: to be tried again, as where a worker was lost.
    if isinstance(error, TrainerError):
        return Failure.BAD_CONFIG
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure.OUT_OF_MEMORY
    return Failure.BUG
