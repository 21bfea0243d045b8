"""One thread for linear algebra while a law is fitted, whoever calls.

The matrices here are small: threads that share them cost more than they give, and where several processes fit at once
they fight for the cores. On two busy cores one fit of the unified law took 16 times as long with a thread a core.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

_P = ParamSpec("_P")
_R = TypeVar("_R")


def single_threaded(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, with BLAS on one thread while it runs and as it was afterwards."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        # Looked up each time, 2.5 ms: libraries that were loaded since the last fit count too.
        with threadpool_limits(1, user_api="blas"):
            return function(*args, **kwargs)

    return wrapped
