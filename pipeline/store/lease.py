"""One driver a study: a lease that is renewed while its driver lives and that a dead driver does not hold."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid

from pipeline.errors import OutsideError
from pipeline.store.files import Folder

NAME = "driver.json"
RENEW_SECONDS = 10.0
EXPIRE_SECONDS = 60.0
"""A lease this long without renewal belongs to a dead driver: six renewals missed, more than a slow disk explains."""

SETTLE_SECONDS = 0.2
"""Longer than it takes another driver to write the lease that it has decided to write."""


class Lease:
    """Held from `acquire` to `release`. Raises OutsideError where another driver holds it."""

    def __init__(self, folder: Folder):
        self._folder = folder
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self.lost = False
        """True once another driver has taken the study over."""
        self._holder = {
            "token": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "started": time.time(),
        }

    @classmethod
    def acquire(cls, folder: Folder) -> Lease:
        lease = cls(folder)
        if not folder.create(NAME, lease._content()):
            holder = read_holder(folder)
            if holder is not None and is_alive(holder):
                raise OutsideError(
                    f"another driver is running this study: process {holder['process']} on {holder['host']}, "
                    f"last seen {time.time() - holder['renewed']:.0f} s ago. Wait for it or stop it; "
                    "`unsl status` reads along meanwhile"
                )
            folder.remove(NAME)
            folder.create(NAME, lease._content())
            # Two drivers may take a dead one's lease in one moment: the later lease stays, its driver goes on.
            time.sleep(SETTLE_SECONDS)
            if not lease._is_ours():
                raise OutsideError("another driver took this study over in this moment; `unsl status` shows it")
        lease._thread.start()
        return lease

    def release(self) -> None:
        self._released.set()
        self._thread.join(RENEW_SECONDS)  # It may be renewing: a lease that it writes after this would stay.
        if self._is_ours():
            self._folder.remove(NAME)

    def _keep(self) -> None:
        while not self._released.wait(RENEW_SECONDS):
            try:
                if not self._is_ours():
                    self.lost = True
                    return
                self._folder.write(NAME, self._content())
            except Exception:  # Whatever a disk or an object store raises: the next renewal may succeed.
                continue

    def _is_ours(self) -> bool:
        holder = read_holder(self._folder)
        return holder is not None and holder["token"] == self._holder["token"]

    def _content(self) -> bytes:
        return json.dumps({**self._holder, "renewed": time.time()}).encode()


def read_holder(folder: Folder) -> dict | None:
    """Who holds the lease, alive or not; None where nobody does."""
    try:
        return json.loads(folder.read(NAME))
    except (FileNotFoundError, ValueError):
        return None


def is_alive(holder: dict) -> bool:
    """Whether a lease still holds: on this host its process must live, elsewhere it must have been renewed lately."""
    if holder["host"] == socket.gethostname():
        try:
            os.kill(holder["process"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
    return time.time() - holder["renewed"] < EXPIRE_SECONDS
