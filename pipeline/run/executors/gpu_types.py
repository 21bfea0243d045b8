"""Which types of GPU a Ray cluster has: each node is asked once, by a task that takes nothing of it.

Ray's own `accelerator_type` is too coarse: it does not tell GPUs of one name and different memory apart.
"""

from __future__ import annotations

import subprocess
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.run.executors.by_name import by_name

QUERY = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
"""Its names are those that torch has too. It leaves no CUDA context behind, which would take memory from the jobs."""
QUERY_SECONDS = 20.0


class GpuTypes:
    """Types of GPU by node, for as long as the node is there."""

    def __init__(self) -> None:
        self._asked: dict[str, Any] = {}
        self._told: dict[str, dict[str, int]] = {}

    def look(self) -> None:
        """Ask the nodes that are new, take in what was answered, and forget the nodes that left."""
        here = {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")}
        for node in here - self._asked.keys() - self._told.keys():
            there = NodeAffinitySchedulingStrategy(node, soft=False)
            task = ray.remote(num_cpus=0, max_retries=0)(by_name(__name__, "gpus_of_this_node"))
            self._asked[node] = task.options(scheduling_strategy=there, name="unsl gpus").remote()
        self._take_in()
        self._asked = {node: answer for node, answer in self._asked.items() if node in here}
        self._told = {node: gpus for node, gpus in self._told.items() if node in here}

    def wait(self, seconds: float) -> None:
        """For those that were asked, so long at most."""
        if self._asked:
            ray.wait(list(self._asked.values()), num_returns=len(self._asked), timeout=seconds)
            self._take_in()

    def known(self) -> dict[str, int]:
        """Every type with its memory in bytes; nothing until some node has told."""
        return {gpu: size for gpus in self._told.values() for gpu, size in gpus.items()}

    def of(self, node: str) -> dict[str, int]:
        """Types of one node; nothing where it has not told."""
        return self._told.get(node, {})

    def _take_in(self) -> None:
        for node, answer in list(self._asked.items()):
            if ray.wait([answer], timeout=0)[0]:
                del self._asked[node]
                try:
                    self._told[node] = ray.get(answer)
                except ray.exceptions.RayError:
                    self._told[node] = {}  # It left, or cannot start a task: its jobs will tell.


def gpus_of_this_node() -> dict[str, int]:
    """Nothing where there is no nvidia-smi, as with other makers' GPUs."""
    try:
        said = subprocess.run(QUERY, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    rows = [line.rsplit(",", 1) for line in said.splitlines() if "," in line]
    return {name.strip(): int(size) * 2**20 for name, size in rows if size.strip().isdigit()}
