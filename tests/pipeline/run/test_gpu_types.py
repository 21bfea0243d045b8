"""Which GPUs a cluster has, asked of a made-up nvidia-smi."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.run.executors.gpu_types import gpus_of_this_node

ROOT = Path(__file__).parents[3]


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Puts a program of this name before all others, which says what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def write(*lines: str, exit_code: int = 0) -> None:
        program = folder / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines) + f"exit {exit_code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return write


def test_types_and_memory_of_a_node(nvidia_smi):
    nvidia_smi("NVIDIA H100 80GB HBM3, 81559", "Tesla, the old one, 16160", "odd, [N/A]")
    assert gpus_of_this_node() == {"NVIDIA H100 80GB HBM3": 81559 * 2**20, "Tesla, the old one": 16160 * 2**20}


def test_a_node_that_cannot_tell(nvidia_smi, monkeypatch):
    nvidia_smi("NVIDIA-SMI has failed because it could not talk to the driver", exit_code=9)
    assert gpus_of_this_node() == {}
    monkeypatch.setenv("PATH", "")
    assert gpus_of_this_node() == {}


PROGRAM = """
import json, ray
from pipeline.run.executors.on_ray import RayExecutor
ray.init(address="local", num_cpus=1, num_gpus=2, include_dashboard=False, log_to_driver=False,
         _node_ip_address="127.0.0.1")
for device in ("cuda", "cpu"):
    executor = RayExecutor(workers=None, device=device, hang_seconds=60)
    print(json.dumps(executor.gpus), executor.workers)
    executor.close()
"""


def test_the_ray_executor_knows_its_types(nvidia_smi):
    nvidia_smi("NVIDIA L4, 23034")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    on_gpu, on_cpu = done.stdout.splitlines()
    assert on_gpu == json.dumps({"NVIDIA L4": 23034 * 2**20}) + " 2"
    assert on_cpu == "{} 1"
