"""A cloud on this machine: Ray's own autoscaler, second version, over nodes that are processes with pretended GPUs.

Left out are machines: nodes share this one's cores, come in seconds, and are never refused. Everything listens on
loopback, each node with an address of its own. `FakeNodes` is what the autoscaler's process imports, by name.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import ray
from ray._private import parameter
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider

HEAD = "127.0.0.2"
NODE_BYTES = 80 * 2**20
"""Object store of a node: the least that Ray takes."""


class FakeNodes(FakeMultiNodeProvider):
    """Ray's fake nodes, each at an address of its own."""

    def _create_node_with_resources_and_labels(self, node_config, tags, count, resources, labels):
        address, params = f"127.0.1.{self._next_node_id + 1}", parameter.RayParams
        with mock.patch.object(parameter, "RayParams", lambda **facts: params(**facts, node_ip_address=address)):
            super()._create_node_with_resources_and_labels(node_config, tags, count, resources, labels)


@dataclass(frozen=True, kw_only=True)
class FakeCloud:
    """A head without devices, and what its autoscaler has brought."""

    address: str
    head: subprocess.Popen

    def nodes(self) -> dict[str, str]:
        """Workers that are alive: their addresses by identity."""
        here = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
        return {node["NodeID"]: node["NodeManagerAddress"] for node in here}

    def lose(self, address: str) -> bool:
        """End a node at once, as a cloud takes a spot machine back. False where it is gone already."""
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = process.joinpath("cmdline").read_bytes().split(b"\0")
                if b"/raylet" in words[0] and f"--node_ip_address={address}".encode() in words:
                    os.kill(int(process.name), signal.SIGKILL)
                    return True
        return False

    def demand(self) -> int:
        """Tasks that wait for a node, as the autoscaler sees them."""
        from ray.autoscaler.v2.sdk import get_cluster_status

        waiting = get_cluster_status(self.address).resource_demands.ray_task_actor_demand
        return sum(bundle.count for one in waiting for bundle in one.bundles_by_count)


@contextmanager
def fake_cloud(*, most: int, idle_minutes: float, environment: Mapping[str, str] | None = None) -> Iterator[FakeCloud]:
    """A head and up to `most` nodes of 1 GPU and 1 core, none of them up; `ray.init` has been called."""
    with socket.socket() as free:
        free.bind((HEAD, 0))
        address = f"{HEAD}:{free.getsockname()[1]}"
    gpu = {"resources": {"CPU": 1, "GPU": 1, "object_store_memory": NODE_BYTES}, "node_config": {}, "min_workers": 0}
    with tempfile.TemporaryDirectory(prefix="unsl-cloud-") as folder:
        path = Path(folder, "ray_bootstrap_config.yaml")
        path.write_text(json.dumps(_config(address, {**gpu, "max_workers": most}, most, idle_minutes)))
        changes = {
            **{"RAY_FAKE_CLUSTER": "1", "RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"},
            **{"RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID, "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID},
            **{"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])]),
        }
        ports = [f"--port={address.split(':')[1]}", f"--node-ip-address={HEAD}", "--include-dashboard=false"]
        size = ["--num-cpus=0", f"--object-store-memory={NODE_BYTES}", f"--autoscaling-config={path}"]
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", *ports, *size]
        head = subprocess.Popen(
            command,
            env=os.environ | changes | dict(environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            with mock.patch.dict(os.environ, {"RAY_ADDRESS": address, "HOME": folder, "RAY_AUTH_MODE": "disabled"}):
                _connect(address, head)
                yield FakeCloud(address=address, head=head)
        finally:
            ray.shutdown()
            head.terminate()
            try:
                head.wait(45)
            except subprocess.TimeoutExpired:
                head.kill()
            with suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)


def _connect(address: str, head: subprocess.Popen) -> None:
    for _ in range(60):
        assert head.poll() is None, "the head ended by itself"
        with suppress(ConnectionError, RuntimeError, ValueError), socket.create_connection(address.split(":"), 1):
            ray.init(address=address, log_to_driver=False, logging_level="error", _node_ip_address=HEAD)
            return
        time.sleep(1)
    raise AssertionError("the head does not answer")


def _config(address: str, gpu: Mapping[str, Any], most: int, idle_minutes: float) -> dict[str, Any]:
    """What `ray up` would have put on the head."""
    commands = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    provider = {"type": "external", "module": "fake_cloud.FakeNodes", "gcs_address": address}
    return {
        "cluster_name": "fake",
        "max_workers": most,
        "idle_timeout_minutes": idle_minutes,
        "upscaling_speed": 100,
        "provider": {**provider, "launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "gpu": dict(gpu),
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        },
        **{f"{name}_commands": [] for name in commands},
        **{"auth": {}, "docker": {}, "file_mounts": {}, "cluster_synced_files": [], "rsync_exclude": []},
        **{"rsync_filter": [], "file_mounts_sync_continuously": False},
    }
