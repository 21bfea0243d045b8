"""One driver a study: a lease that only one can take, that is renewed while its driver lives, and that no dead driver
holds.

    STORE/STUDY/lease/00000007.json    the seventh driver; the highest number holds the study

Each number is created once, complete, by one driver alone: a link on a disk, a conditional put in an object store.
To take a study over is to create the next number, so that nothing is ever written over, and whoever finds the next
number taken knows that the study is no longer his.

A driver on this machine is known by its process. One elsewhere is dead if its lease does not change while one watches,
for `EXPIRE_SECONDS` of one's own time: clocks of two machines are never compared.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from pipeline.errors import OccupiedError
from pipeline.store.files import Folder

FOLDER = "lease"
RENEW_SECONDS = 5.0
"""Also the longest that one watches a living driver elsewhere before one is refused."""
EXPIRE_SECONDS = 60.0
"""A lease this long without renewal belongs to a dead driver: twelve renewals missed: no slow disk explains that."""
WATCH_SECONDS = 0.5
KEPT = 16
"""Leases that stay. One who read an old list of them must find the number taken that he believes to be the next."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A driver, as its lease says."""

    epoch: int
    token: str = ""
    machine: str = ""
    """Host, its boot and its table of processes: where all agree, process and clock are this machine's own."""
    host: str = "an unknown machine"
    process: int = 0
    process_started: str = ""
    """Tells the process from a later one with its number."""
    started: float = 0.0
    """Unix seconds by the driver's own clock: to be shown, and compared with what the same driver wrote."""
    renewals: int = 0
    clock: float = 0.0
    """Monotonic seconds of the driver's machine at the last renewal."""
    released: bool = False

    @classmethod
    def me(cls, epoch: int) -> Holder:
        return cls(
            epoch=epoch,
            token=uuid.uuid4().hex,
            machine=_machine(),
            host=socket.gethostname(),
            process=os.getpid(),
            process_started=_started(os.getpid()),
            started=round(time.time(), 3),
            clock=time.monotonic(),
        )

    @property
    def is_here(self) -> bool:
        return self.machine == _machine()

    @property
    def is_gone(self) -> bool:
        """Whether it is known, without watching, to hold nothing any more."""
        if self.released or not self.is_here:
            return self.released
        silent = time.monotonic() - self.clock
        return not 0 <= silent < EXPIRE_SECONDS or not _is_running(self.process, self.process_started)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def read_holder(folder: Folder) -> Holder | None:
    """Who holds the study or held it last; None where nobody ever did."""
    numbers = (name.removesuffix(".json") for name in folder.names(FOLDER, ending=".json"))
    epoch = max((int(number) for number in numbers if number.isdecimal()), default=0)
    while folder.exists(_name(epoch + 1)):  # A list may be older than what was written before it was asked for.
        epoch += 1
    return _read(folder, epoch) if epoch else None


class Lease:
    """Held from `acquire` to `release`."""

    def __init__(self, folder: Folder, holder: Holder):
        self._folder, self._holder = folder, holder
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def epoch(self) -> int:
        """The number of this driver: greater than that of every earlier one."""
        return self._holder.epoch

    @classmethod
    def acquire(
        cls, folder: Folder, *, wait_seconds: float = 0.0, on_wait: Callable[[str], None] = lambda message: None
    ) -> Lease:
        """Take the study, from a dead driver too, once it is known to be dead: that takes `EXPIRE_SECONDS` at most.

        A living driver is waited for, so long at most; `on_wait` is told why. Raises OccupiedError where it goes on.
        """
        until = time.monotonic() + wait_seconds
        while True:
            last = read_holder(folder)
            if last is None or last.is_gone or _falls_silent(folder, last, until, on_wait):
                mine = Holder.me(1 if last is None else last.epoch + 1)
                # Found taken, or taken again since: somebody else was faster, and is the one to be waited for.
                if folder.create(_name(mine.epoch), mine.to_json()) and not folder.exists(_name(mine.epoch + 1)):
                    folder.remove(*(f"{FOLDER}/{name}" for name in folder.names(FOLDER, ending=".json")[:-KEPT]))
                    return cls(folder, mine)

    def is_lost(self) -> bool:
        """Whether another driver has taken the study over. Asked before every change of the store."""
        return self._folder.exists(_name(self.epoch + 1))

    def release(self) -> None:
        self._released.set()
        self._thread.join(RENEW_SECONDS)  # It may be renewing: what it writes after this would take the lease back.
        # If it fails, others find out: this process ends, or its lease is renewed no more.
        with contextlib.suppress(OSError):
            self._folder.write(_name(self.epoch), replace(self._holder, released=True).to_json())

    def _keep(self) -> None:
        while not self._released.wait(RENEW_SECONDS):
            try:
                if self.is_lost():
                    return
                self._holder = replace(self._holder, renewals=self._holder.renewals + 1, clock=time.monotonic())
                self._folder.write(_name(self.epoch), self._holder.to_json())
            except OSError:  # Whatever a disk or an object store says: the next renewal may succeed.
                continue


def _falls_silent(folder: Folder, holder: Holder, until: float, on_wait: Callable[[str], None]) -> bool:
    """Watch a driver: True once it is dead or done, False once another has its place.

    Raises OccupiedError where it lives on after `until`, by this machine's monotonic clock.
    """
    seen, since = holder, time.monotonic()
    who = f"process {holder.process} on {holder.host}"
    told = False
    while True:
        alive = holder.is_here or seen.renewals != holder.renewals
        if alive and time.monotonic() >= until:
            raise OccupiedError(
                f"another driver is running this study: {who}. Wait for it or stop it; "
                "`unsl status` reads along meanwhile"
            )
        if not told and (alive or time.monotonic() - since > RENEW_SECONDS):
            on_wait(f"waiting for {who}" + ("" if alive else ", which is silent, to be given up"))
            told = True
        if seen.renewals != holder.renewals:
            holder, since = seen, time.monotonic()
        elif time.monotonic() - since >= EXPIRE_SECONDS:
            return True
        time.sleep(min(WATCH_SECONDS, EXPIRE_SECONDS / 10))
        if folder.exists(_name(holder.epoch + 1)):
            return False
        seen = _read(folder, holder.epoch)
        if seen.is_gone:
            return True


def _read(folder: Folder, epoch: int) -> Holder:
    try:
        return Holder(**json.loads(folder.read(_name(epoch))))
    except (FileNotFoundError, ValueError, TypeError):
        return Holder(epoch=epoch)  # Of somebody, who may live: to be watched.


def _name(epoch: int) -> str:
    return f"{FOLDER}/{epoch:08d}.json"


def _machine() -> str:
    return "/".join((socket.gethostname(), _proc("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")))


def _is_running(process: int, started: str) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(process) == started


def _started(process: int) -> str:
    """When a process began, in its machine's own count; empty where the system does not tell."""
    fields = _proc(f"/proc/{process}/stat").rsplit(")", 1)[-1].split()
    if fields and fields[0] == "Z":
        return "ended"
    return fields[19] if len(fields) > 19 else ""


def _proc(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
