"""How fast runs are created at W&B: a token bucket, so that a study of thousands of cells is never refused."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

CREATIONS_PER_SECOND = 20.0
"""W&B takes about 80 new runs a second in a project and answers 429 beyond. A quarter of it leaves room for colleagues
whose studies go to the same project, and is no delay: 10,000 runs, which is what a project can hold, take 9 minutes."""
CREATIONS_AT_ONCE = 20
"""Runs that may follow each other at once after a quiet time. In no second are there more than this and the rate
together: half of what W&B takes."""


@dataclass(kw_only=True)
class TokenBucket:
    """`burst` tokens at most, of which `rate` come back each second. Not for several threads at once."""

    rate: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _spent: float = field(default=0.0, init=False)
    """Tokens taken and not yet back, at `_at`."""
    _at: float = field(default=-math.inf, init=False)

    def wait_seconds(self) -> float:
        """How long until there is a token; 0 where there is one."""
        # A millionth of a token is nothing but rounding: waiting for it could go on in ever smaller steps.
        lacking = self._now_spent() + 1 - self.burst
        return lacking / self.rate if lacking > 1e-6 else 0.0

    def take(self) -> None:
        """Take a token, and sleep until there is one."""
        while wait := self.wait_seconds():
            self.sleep(wait)
        self._spent, self._at = self._now_spent() + 1, self.clock()

    def _now_spent(self) -> float:
        return max(0.0, self._spent - (self.clock() - self._at) * self.rate)
