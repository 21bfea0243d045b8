"""One of the processes that train a cell together: the program that `ranks` starts."""

from __future__ import annotations

import os
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from pipeline.run.job import Job
from pipeline.run.ranks import BEAT_SECONDS, STOP
from pipeline.run.worker import explained, load_job, train, use_one_thread
from trainers import Checkpoint, Ranks


def main(handle: int) -> None:
    """Train the share of a job that comes over the line of this number, and say over it what happens."""
    line = Connection(handle)
    job, ranks, sys.path[:] = line.recv()
    use_one_thread()
    stop = threading.Event()
    threading.Thread(target=_hear, args=(line, stop), daemon=True).start()
    try:
        if ranks.index:
            _follow(job, ranks)
        else:
            for event in train(job, _Signs(line, stop), ranks):
                line.send(event)
        said: Any = "over"
    except Exception as error:
        said = explained(error)
    line.send(said)
    # At once: threads of torch's may wait for processes that are gone.
    sys.stderr.flush()
    os._exit(0)


def _hear(line: Connection, stop: threading.Event) -> None:
    """Take in what the worker says, and end when it is gone."""
    try:
        while True:
            if line.recv() == STOP:
                stop.set()
    except (EOFError, OSError):
        os._exit(1)


class _Signs:
    """The first process' question whether to stop, which is also a sign of life."""

    def __init__(self, line: Connection, stop: threading.Event):
        self._line, self._stop, self._last = line, stop, 0.0

    def __call__(self) -> bool:
        if time.monotonic() - self._last > BEAT_SECONDS:
            self._last = time.monotonic()
            self._line.send(None)
        return self._stop.is_set()


class _Follower:
    """The context of the processes that the first one speaks for."""

    def __init__(self, job: Job, ranks: Ranks):
        self.device, self.ranks = job.device, ranks

    def load(self, cell: int) -> Checkpoint | None:
        return None

    def checkpoint_due(self) -> bool:
        return False

    def save(self, cell: int, checkpoint: Checkpoint) -> None:
        pass

    def should_stop(self) -> bool:
        return False


def _follow(job: Job, ranks: Ranks) -> None:
    from trainers import THREADS

    os.environ[THREADS] = str(max(1, job.cpus // job.devices))
    trainer, configs = load_job(job)
    for _ in trainer.train(configs, _Follower(job, ranks)):
        pass
