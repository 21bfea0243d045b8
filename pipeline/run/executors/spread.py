"""A function of many values, each as a Ray task of one core: for work that is no training."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.run.executors.by_name import by_name

AHEAD = 256
"""Tasks in Ray's hands at most: enough for a large cluster, and few enough that their values fit into memory."""


def spread(module: str, function: str, values: Iterable[Any], *, workers: int | None) -> Iterator[Any]:
    """What a function of ours gives for each value, in their order, on the cluster that RAY_ADDRESS names, or on one of
    this machine with so many workers. Values and results are plain, or bytes. What the function raises is raised.
    """
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    from pipeline.run.executors.on_ray import connect

    own = not ray.is_initialized()
    if own:
        connect(workers)
    # A node that leaves costs its tasks another try: they change nothing but what they return.
    task = ray.remote(num_cpus=1, max_retries=3)(by_name(module, function))
    waiting: deque[Any] = deque()
    try:
        for value in values:
            waiting.append(task.remote(value))
            if len(waiting) >= AHEAD:
                yield ray.get(waiting.popleft())
        while waiting:
            yield ray.get(waiting.popleft())
    finally:
        if own:
            ray.shutdown()
