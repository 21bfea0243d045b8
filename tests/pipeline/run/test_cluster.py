"""A cluster of several nodes on this machine: a node that leaves, GPUs that are shared, a submitted job."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from rehearsal import Told, make_study, run_study, sorted_points, write_study

from pipeline import Axis
from pipeline.run.executors.on_ray import RayExecutor
from pipeline.store import Store

ROOT = Path(__file__).parents[3]
SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head and two workers."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1, num_gpus=1)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    yield made
    ray.shutdown()
    made.shutdown()


def test_jobs_ask_for_their_share_of_a_gpu(cluster, store):
    """Simulated GPUs: the oracle trains nothing, but Ray places its jobs by the share they ask for."""
    executor = RayExecutor(workers=None, device="cuda", hang_seconds=600)
    assert executor.workers == 2
    asked = []
    submit = executor.submit
    executor.submit = lambda jobs: (asked.extend(job.gpu_share for job in jobs), submit(jobs))
    outcome = run_study(make_study(), store, executor)
    executor.close()
    assert set(asked) == {1.0}, "nothing was measured, so every job has a GPU to itself"
    assert outcome.done == 8


def test_a_node_that_leaves_takes_no_point_with_it(cluster, store, tmp_path):
    """The last of the tests that need both workers."""
    study = make_study(fixed={"steps": 512, "step_seconds": 1e-3}, axes=[Axis("parameters", (1_000, 4_000, 9_000))])
    whole = Store(str(tmp_path / "whole"), study.name)
    run_study(study, whole)
    removed = []

    def remove(events):
        if events and not removed:
            removed.append(next(iter(cluster.worker_nodes)))
            cluster.remove_node(removed[0])

    executor = RayExecutor(workers=None, device="cpu", hang_seconds=600)
    outcome = run_study(study, store, executor, listeners=[Told(remove)], checkpoint_seconds=0.0)
    executor.close()
    assert removed
    assert (outcome.done, outcome.failed) == (6, 0)
    assert sorted_points(store).equals(sorted_points(whole))


@contextmanager
def head_node(environment: dict[str, str]) -> Iterator[str]:
    """A Ray head as `ray start` makes it, ended by its process id. Gives the address of its job server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The agent's own default port lies among those that the system lends to any connection.
    ports = ["--port=0", f"--dashboard-port={port}", "--dashboard-agent-listen-port=0"]
    where = ["--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1"]
    start = ["start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats"]
    command = [str(SCRIPTS / "ray"), *start, *ports, *where]
    address = f"http://127.0.0.1:{port}"
    for _ in range(3):
        head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            if is_up(head, address):
                yield address
                return
        finally:
            head.terminate()
            head.wait(60)
    raise AssertionError("three heads ended by themselves")


def is_up(head: subprocess.Popen, address: str) -> bool:
    """Whether a head has come up with its node: Ray gives it thirty seconds, which is little on a busy machine."""
    while head.poll() is None:
        with suppress(OSError, KeyError, TypeError, ValueError):
            if ask(address, "v0/nodes")["data"]["result"]["result"]:
                return True
        time.sleep(0.5)
    return False


def ask(address: str, path: str, *, method: str = "GET") -> dict:
    """What Ray's own server on the head says."""
    with urllib.request.urlopen(urllib.request.Request(f"{address}/api/{path}", method=method), timeout=60) as answer:
        return json.load(answer)


def wait_for(what: Callable[[], Any]) -> Any:
    """Its first answer that is true."""
    for _ in range(600):
        if found := what():
            return found
        time.sleep(0.5)
    raise AssertionError("five minutes were not enough")


def test_a_submitted_job_finds_its_cluster_may_be_stopped_and_its_exit_code_tells_the_truth(tmp_path):
    """The folder of a person's own study is what is submitted. `ray job stop` leaves three seconds before it kills."""
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    (folder := tmp_path / "studies").mkdir()
    study = make_study(fixed={"steps": 512, "step_seconds": 4e-3}, cohort_size=1)
    write_study(folder, study)
    store = Store(str(tmp_path / "runs"), study.name)

    def submit(address: str, *arguments: str, how: Sequence[str] = ()) -> subprocess.CompletedProcess:
        job = [SCRIPTS / "ray", "job", "submit", f"--address={address}", *how, "--working-dir", folder, "--"]
        command = [str(part) for part in (*job, SCRIPTS / "unsl", *arguments)]
        for _ in range(5):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
            # The job server answers before it can start a job; each try waits ten seconds for that.
            if "No available agent" not in done.stdout + done.stderr:
                break
        return done

    run = ("run", study.name, "--wandb", "off", "--store", str(tmp_path / "runs"), "--budget", "100cpu-hours")
    with head_node(environment) as address:
        refused = submit(address, "run", "nosuch")
        assert refused.returncode != 0
        assert "there is no study 'nosuch'" in refused.stdout + refused.stderr
        assert submit(address, *run, how=("--no-wait", "--submission-id=stopped")).returncode == 0
        wait_for(lambda: len(store.table()))
        ask(address, "jobs/stopped/stop", method="POST")
        wait_for(lambda: ask(address, "jobs/stopped")["status"] == "STOPPED")
        # Given back, or on a machine that is too busy for that in three seconds, known to be a dead driver's.
        assert store.holder() is None
        wait_for(lambda: [one for one in _tasks(address) if one["name"] == "unsl"])
        wait_for(lambda: {one["state"] for one in _tasks(address) if one["name"] == "unsl"} <= {"FINISHED", "FAILED"})
        before, first = store.table(), sum(record.status == "done" for record in store.records().values())
        assert 0 < len(before) < 8 * 6
        done = submit(address, *run)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{8 - first} done, 0 diverged, 0 failed" in done.stdout + done.stderr
    table = store.table()
    assert len(table) == 8 * 6 and not table.duplicated(["cell", "step"]).any()
    both = before.merge(table, on=["cell", "step", "loss", "seconds"])
    assert len(both) == len(before), "what was measured before the stop is what is there"


def _tasks(address: str) -> list[dict]:
    return ask(address, "v0/tasks?limit=1000")["data"]["result"]["result"]


def test_a_local_cluster_listens_on_loopback_alone():
    program = (
        "from pipeline.run import make_executor; "
        "executor = make_executor('ray', workers=1, device='cpu', hang_seconds=60); "
        "import ray; print(ray.nodes()[0]['NodeManagerAddress'], ray.get_runtime_context().gcs_address); "
        "executor.close()"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert [address.split(":")[0] for address in done.stdout.split()] == ["127.0.0.1", "127.0.0.1"]
