"""Where prepared data are kept, and how one process at a time puts them there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from trainers.contract import TrainerError


def cache_folder() -> Path:
    """$UNSL_CACHE, or `unsl` in the user's cache folder."""
    if named := os.environ.get("UNSL_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unsl"


@contextlib.contextmanager
def keeping(what: str, lock: Path) -> Iterator[None]:
    """Let one process at a time prepare data: `lock` is a file, made with its folder, that the system releases when
    the process dies. Where the disk refuses, TrainerError says that `what` cannot be kept, and what to do.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise TrainerError(
            f"{what} cannot be kept in {lock.parent}: {error.strerror or error}; "
            f"{'make room there' if full else 'make it writable'} or set UNSL_CACHE to another folder"
        ) from error
