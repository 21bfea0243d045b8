"""A job on several devices: the worker starts a process for each, listens to the first, and ends them all together.

    worker  --> rank 0   trains, reads and writes checkpoints, says what happens, is told when to stop
            --> rank 1   trains its share of every batch, and says nothing but why it failed
            --> ...

The worker itself trains nothing, so that it sees whatever becomes of them. If one of them fails, is killed or falls
silent, none of the others could go on: the job fails for the reason of the one that had one of its own. They end with
the worker too, however it ends, since each of them notices that nobody holds the other end of its line.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import IntEnum
from multiprocessing.connection import Pipe, wait
from typing import Any

from pipeline.run.job import Job
from pipeline.store import Event, Failure
from trainers import Ranks

LOOK_SECONDS = 0.2
"""Between looks at processes that may have died without closing their line."""
REASON_SECONDS = (5.0, 0.5, 0.0)
"""For others to tell a better reason of a failure, by `Blame`."""
END_SECONDS = 15.0
"""For processes to end by themselves once the first one is through."""
BEAT_SECONDS = 0.2
"""Between two signs of life of the first process, at which it is told whether to stop."""
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); import unsl; "
    "from pipeline.run.rank import main; main(int(sys.argv[2]))"
)
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
STOP = "stop"

_running: list[int] = []


def processes() -> tuple[int, ...]:
    """The processes that train for this one now, in their order."""
    return tuple(_running)


class Blame(IntEnum):
    """Whose doing a failure is, as far as the one that tells of it can say; the highest is believed."""

    ANOTHERS = 0
    """Another process was lost to it."""
    UNTOLD = 1
    """It ended without a word."""
    ITS_OWN = 2


class RanksFailed(Exception):
    """A job failed: the class of its failure, and what to say of it."""

    def __init__(self, failure: Failure, message: str, traceback: str = "", blame: Blame = Blame.ITS_OWN):
        super().__init__(failure, message, traceback, blame)
        self.failure, self.message, self.traceback, self.blame = failure, message, traceback, blame


def run_on_ranks(job: Job, should_stop: Callable[[], bool]) -> Iterator[Event]:
    """What happens to the cells of a job that `job.devices` processes train. Raises RanksFailed."""
    if should_stop():
        return
    ranks: list[_Rank] = []
    with tempfile.TemporaryDirectory(prefix="unsl-ranks-") as folder:
        try:
            for index in range(job.devices):
                ranks.append(_Rank(job, Ranks(count=job.devices, index=index, meeting=f"{folder}/meeting")))
            yield from _listen(ranks, should_stop)
        finally:
            for rank in ranks:
                rank.end()


def _listen(ranks: Sequence[_Rank], should_stop: Callable[[], bool]) -> Iterator[Event]:
    told, end_by, why = False, math.inf, None
    while any(rank.alive for rank in ranks) and time.monotonic() < end_by:
        ready = wait([rank.line for rank in ranks if rank.alive], timeout=LOOK_SECONDS)
        for rank in ranks:
            for said in rank.listen(rank.line in ready):
                if isinstance(said, RanksFailed):
                    why = said if why is None or said.blame > why.blame else why
                    end_by = min(end_by, time.monotonic() + REASON_SECONDS[said.blame])
                elif said is not None:
                    yield said
                # Asked only when there was a sign of life: by asking, a worker gives one itself.
                if not told and not rank.ranks.index and should_stop():
                    told = rank.tell(STOP)
        if ranks[0].over:
            end_by = min(end_by, time.monotonic() + END_SECONDS)
    if why is not None:
        raise why


class _Rank:
    """One process, and the line to it."""

    def __init__(self, job: Job, ranks: Ranks):
        import unsl

        self.ranks, self.over, self.alive = ranks, False, True
        self.line, theirs = Pipe()
        device = f"{job.device}:{ranks.index}" if job.device == "cuda" else job.device
        # A session of its own: Ctrl-C at a terminal is for the driver, which asks for a stop.
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, unsl.HOME, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_file(sys.stderr) else subprocess.DEVNULL,
            env=os.environ | {"GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK},
            start_new_session=True,
        )
        _running.append(self._process.pid)
        theirs.close()
        self.tell((replace(job, device=device), ranks, sys.path))

    def tell(self, what: Any) -> bool:
        with suppress(OSError):  # It is gone, as listening to it will show.
            self.line.send(what)
        return True

    def listen(self, ready: bool) -> Iterator[Event | RanksFailed | None]:
        """What the process has said since it was last asked; None is a sign of life."""
        ended = self.alive and self._process.poll() is not None
        try:
            while self.alive and (ready or self.line.poll()):
                ready = False
                said = self.line.recv()
                if said == "over":
                    self.over = True
                elif isinstance(said, RanksFailed):
                    self.over = True
                    yield RanksFailed(said.failure, f"{said.message} ({self._name})", said.traceback, said.blame)
                else:
                    yield said
        except (EOFError, OSError):
            ended = True
        if ended and self.alive:
            self.alive = False
            if not self.over:
                message = f"{self._name} {self._how_it_ended()}"
                yield RanksFailed(Failure.PREEMPTED, message, blame=Blame.UNTOLD)

    def end(self) -> None:
        """See to it that the process is no more."""
        self._process.kill()
        self._process.wait()
        _running.remove(self._process.pid)
        self.line.close()

    @property
    def _name(self) -> str:
        return f"process {self.ranks.index + 1} of the {self.ranks.count} of this cell"

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "cannot be heard any more"
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _has_file(stream: Any) -> bool:
    try:
        return stream.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False
