"""What a driver does when it is told to end."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable

TERMINATION_SECONDS = 1.0
"""For running jobs to save after SIGTERM: `ray job stop` kills what is alive three seconds after it, and the lease has
to be given back by then. What a job does not save in time it loses back to its last checkpoint."""


class Signals:
    """Ctrl-C asks for a drain, SIGTERM for one that is over within seconds; a second one ends the process as usual."""

    def __init__(self, stop: Callable[..., None]):
        self._stop = stop
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        except ValueError:
            pass  # Not in the main thread: whoever runs the driver there stops it with `Driver.stop`.

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
        self._stop(seconds=TERMINATION_SECONDS if number == signal.SIGTERM else math.inf)
