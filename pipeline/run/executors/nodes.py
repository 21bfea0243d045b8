"""The nodes of a Ray cluster as an executor sees them: those that jobs can go to, and those that may come."""

from __future__ import annotations

import math
import time

import ray

from pipeline.plan import device_shown
from pipeline.run.executors.gpu_types import GpuTypes
from pipeline.run.executors.node_types import node_types


class Nodes:
    """What is up, by the last `look`; what may come, by the autoscaler's configuration."""

    def __init__(self, device: str):
        self._may_come = node_types()
        self.gpu_types = GpuTypes()
        if device == "auto":
            has_gpu = ray.cluster_resources().get("GPU") or any(one.gpus for one in self._may_come)
            device = "cuda" if has_gpu else "cpu"
        self.device = "cuda" if device == "gpu" else device
        self.addresses: dict[str, str] = {}
        """Nodes with devices of the kind that is used."""
        self.grown = -math.inf
        """When a node last came, by `time.monotonic`."""
        self.look()

    def look(self) -> None:
        kind = "CPU" if self.device == "cpu" else "GPU"
        if self.device != "cpu":
            self.gpu_types.look()
        here = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(kind)]
        if {node["NodeID"] for node in here} - self.addresses.keys():
            self.grown = time.monotonic()
        self.addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in here}
        self._devices = {node["NodeID"]: node["Resources"][kind] for node in here}
        self._cpus = {node["NodeID"]: node["Resources"].get("CPU", 0.0) for node in here}
        self._memory = {node["NodeID"]: node["Resources"].get("memory", 0.0) for node in here}

    def is_alive(self, node: str) -> bool:
        """Asked anew: whether a node is there at this moment, as far as Ray knows."""
        return any(one["NodeID"] == node and one["Alive"] for one in ray.nodes())

    @property
    def up(self) -> dict[str, float]:
        """Devices that are up, by type."""
        total: dict[str, float] = {}
        for node, devices in self._devices.items():
            total[self.type_of(node)] = total.get(self.type_of(node), 0.0) + devices
        return total

    @property
    def most(self) -> float:
        """Devices that are up or may come; 0 where there is none in sight."""
        return max(sum(self._devices.values()), sum(one.most * one.devices(self.device) for one in self._may_come))

    @property
    def largest(self) -> int:
        """Devices of the node that has most of them, of those that are up or may come."""
        here, coming = self._devices.values(), (one.devices(self.device) for one in self._may_come)
        return max(1, int(max([*here, *coming], default=1)))

    @property
    def may_grow(self) -> bool:
        """Whether an autoscaler may bring more than is up."""
        return self.most > sum(self._devices.values())

    def type_of(self, node: str) -> str:
        """The type of a node's devices: `cpu`, `h100`, or `gpu` where it is not known."""
        if self.device == "cpu":
            return "cpu"
        return next((device_shown(gpu).name for gpu in self.gpu_types.of(node)), "gpu")

    def most_cpus(self, gpu_share: float) -> int:
        """Cores that fall to a part of a GPU on every node, one at least; on CPUs, those of the smallest node."""
        if self.device == "cpu":
            cores = [*self._devices.values(), *(one.cpus for one in self._may_come if one.cpus)]
            return max(1, int(min(cores, default=1)))
        ratios = [self._cpus[node] / devices for node, devices in self._devices.items()]
        ratios += [one.cpus / one.gpus for one in self._may_come if one.gpus and one.cpus]
        return max(1, math.floor(gpu_share * min(ratios, default=1.0)))

    def memory_to_ask(self, needed: int, devices: float) -> int:
        """Bytes of main memory to ask for, for a job that holds so many devices: 0 where its part of a node will do.

        Not asked in vain: an autoscaler may not know the memory of its nodes, and then brings none for such a job.
        """
        parts = [self._memory[node] / of * devices for node, of in self._devices.items()]
        if not parts or needed <= min(parts):
            return 0
        return int(min(needed, *self._memory.values()))
