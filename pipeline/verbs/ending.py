"""How a verb ends: an exit code and, where it did not end well, one line on standard error that says what to do.

0    done
1    some cells failed or are left
2    bad use: the request must change
3    something outside failed (store, network, cluster), or unsl itself did: the same request may succeed later
130  stopped on request
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import TextIO

from fitting import FittingError
from pipeline.errors import OutsideError, PipelineError
from trainers import TrainerError

STOPPED = 130
CLOUDS = {
    "adlfs",
    "aiobotocore",
    "aiohttp",
    "azure",
    "boto3",
    "botocore",
    "gcsfs",
    "google",
    "requests",
    "s3fs",
    "urllib3",
}
"""Packages whose errors come from a store behind a URL, or from the way to it."""


def end(act: Callable[[], int], options: argparse.Namespace | None = None) -> int:
    """What `act` returns, or the exit code of what it raises, which is said in one line."""
    try:
        code = act()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _say("stopped", STOPPED)
    except PipelineError as error:
        return _say(str(error), error.exit_code)
    except (FittingError, TrainerError) as error:
        return _say(str(error), PipelineError.exit_code)
    except Exception as error:
        if _nobody_reads():
            # As in `unsl plan STUDY | head`.
            _silence(sys.stdout)
            return 0
        return _say(_outside(error, options) or _own_fault(error), OutsideError.exit_code)


def _say(message: str, code: int) -> int:
    """Say it in one line, where there is somewhere to say it. Returns the exit code."""
    one_line = f"unsl: {' '.join(message.split())}\n"
    for stream, text in ((sys.stdout, ""), (sys.stderr, one_line)):
        try:
            if stream is not None:
                stream.write(text)
                stream.flush()
        except OSError:
            _silence(stream)
    return code


def _outside(error: Exception, options: argparse.Namespace | None) -> str:
    """What to say of an error that comes from outside; empty where it does not."""
    package, what = type(error).__module__.split(".")[0], _first_line(error)
    store = str(getattr(options, "store", ""))
    if package in CLOUDS or (isinstance(error, OSError) and "://" in store):
        return f"the store {store} cannot be used ({what}): check its name, your credentials and the network"
    if package == "ray":
        return f"the cluster failed ({what}): mend it and run the study again, which goes on where it was"
    if isinstance(error, OSError):
        where = f" at {error.filename}" if error.filename else ""
        return f"the system refuses ({error.strerror or what}){where}: mend that and try again"
    if isinstance(error, MemoryError):
        return "memory is used up: free some, or ask for less"
    return ""


def _own_fault(error: Exception) -> str:
    """What to say of an error that nobody foresaw. Its traceback goes to a file."""
    trace = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="unsl-fault-", suffix=".txt", delete=False) as file:
            file.write(trace)
        where = f"the traceback to report is in {file.name}"
    except OSError:
        where = trace
    return f"a fault of unsl itself: {_first_line(error)}; {where}"


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return type(error).__name__ + (f": {text.splitlines()[0]}" if text else "")


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose reader has gone."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):
        return False


def _silence(stream: TextIO) -> None:
    """Let nothing more be written where it fails, as it would once more when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
