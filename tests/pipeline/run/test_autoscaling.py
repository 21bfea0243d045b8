"""Nodes that come and go: what is asked for, what becomes of cells, and what is left after a stop.

The cloud is simulated here; `benchmarks/autoscaling.py` runs the same on Ray's own autoscaler, over pretended nodes.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from rehearsal import make_study, run_study
from simulated_cloud import SimulatedCloud

from pipeline import Axis, PipelineError
from pipeline.run.executors.node_types import node_types
from pipeline.run.executors.nodes import Nodes

ROOT = Path(__file__).parents[3]


def spot_study(**changes):
    """150 cells of half a minute each, on the simulated clock."""
    axes = [Axis("parameters", (1_000, 3_000, 10_000, 30_000, 100_000))]
    settings = {"axes": axes, "seeds": range(30), "fixed": {"steps": 1_000}, "cohort_size": 1, "device": "gpu"}
    return make_study(**{**settings, **changes})


def test_from_none_to_sixteen_spot_gpus_and_back_with_a_sick_one_and_a_stop(store):
    """A node is taken back every 10 seconds: each cell is done once and none fails. The benchmark runs 500 cells."""
    study, cloud, drivers = spot_study(), SimulatedCloud(), []

    class StopHalfWay:
        done = 0

        def begin(self, cell, points): ...

        def tell(self, events):
            self.done += sum(type(event).__name__ == "Ended" for event in events)
            if self.done >= 75:
                drivers[0].stop()

    first = run_study(study, store, cloud, listeners=[StopHalfWay()], watch=drivers.append, checkpoint_seconds=0.0)
    assert first.interrupted and first.left
    assert (first.failed, cloud.waiting) == (0, 0), "nothing asks for a node after the stop"
    for _ in range(120):
        cloud.poll(0.0)
    assert not cloud.nodes, "and all have left"
    again = SimulatedCloud(seed=1)
    second = run_study(study, store, again, checkpoint_seconds=0.0)
    assert (first.done + second.done, second.failed, second.left) == (150, 0, 0)
    table = store.table()
    assert set(Counter(table["cell"]).values()) == {study.cells[0].points}
    assert len({record.id for record in store.records().values() if record.status == "done"}) == 150
    for run, outcome in ((cloud, first), (again, second)):
        assert run.most_launched == 16 and run.losses > 5
        assert [node.node for node in outcome.account.sick] == ["node 1"]
        assert 0 < outcome.account.idle_share < 1
        on_sick = sum(node == "node 1" for _, node in run.started)
        assert on_sick < 25, "a sick node takes a few cells, and then none"


def test_a_study_asks_for_as_many_nodes_as_it_can_use_and_no_more(store):
    cloud = SimulatedCloud(lose_every=1e9, sick_nodes=0)
    few = spot_study(seeds=range(1))
    assert run_study(few, store, cloud).done == 5
    assert cloud.most_launched <= 5


def test_a_job_on_cpus_may_take_as_many_cores_as_the_smallest_node_has(monkeypatch):
    def node(name: str, cpus: float) -> dict:
        return {"NodeID": name, "Alive": True, "NodeManagerAddress": name, "Resources": {"CPU": cpus}}

    monkeypatch.setattr("ray.nodes", lambda: [node("large", 16.0), node("small", 4.0)])
    monkeypatch.setattr("pipeline.run.executors.nodes.node_types", lambda: [])
    assert Nodes("cpu").most_cpus(0.0) == 4


UNKNOWN = {"gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 16}, "head": {"max_workers": 0}}


def test_what_may_come_is_read_from_the_head_or_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert node_types() == []
    config = {"max_workers": 4, "head_node_type": "head", "available_node_types": UNKNOWN}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps(config))
    (one,) = node_types()
    assert (one.cpus, one.gpus, one.most) == (8, 1, 4), "no more than the whole cluster may have"
    monkeypatch.delenv("RAY_ADDRESS")
    assert node_types() == [], "a machine of its own has no autoscaler, whatever lies there"
    monkeypatch.setenv("UNSL_NODE_TYPES", json.dumps(UNKNOWN))
    (one,) = node_types()
    assert one.most == 16
    monkeypatch.setenv("UNSL_NODE_TYPES", "16 GPUs")
    with pytest.raises(PipelineError, match="UNSL_NODE_TYPES must be JSON as in"):
        node_types()
