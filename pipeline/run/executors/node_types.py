"""The nodes that an autoscaler may bring: what `auto` can hope for, and how much may be asked for at once.

Ray does not say. `ray up` leaves its configuration on the head, where a submitted job runs too; on Kubernetes the
manifest says the same in `UNSL_NODE_TYPES`, as JSON: {"gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 16}}.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError

VARIABLE = "UNSL_NODE_TYPES"
BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""Where `ray up` puts its configuration on the head."""


@dataclass(frozen=True, kw_only=True)
class NodeType:
    """One type of node that may come."""

    cpus: float
    gpus: float
    most: int
    """Nodes of this type at once."""

    def devices(self, device: str) -> float:
        """Cores or GPUs of one node."""
        return self.cpus if device == "cpu" else self.gpus


def node_types() -> list[NodeType]:
    """Types of node that may come to the cluster of `RAY_ADDRESS`; none where nobody says so.

    Raises PipelineError where `UNSL_NODE_TYPES` cannot be read.
    """
    if text := os.environ.get(VARIABLE):
        try:
            return _read({"available_node_types": json.loads(text)})
        except (ValueError, TypeError, AttributeError) as error:
            raise PipelineError(
                f"{VARIABLE} must be JSON as in "
                '{"gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 16}}: '
                f"{error}"
            ) from error
    path = os.path.expanduser(BOOTSTRAP)
    if not os.environ.get("RAY_ADDRESS") or not os.path.exists(path):
        return []
    import yaml

    with open(path) as file:
        return _read(yaml.safe_load(file))


def _read(config: Mapping[str, Any]) -> list[NodeType]:
    head, whole = config.get("head_node_type"), config.get("max_workers")
    found = []
    for name, facts in config["available_node_types"].items():
        resources = facts.get("resources") or {}
        most = facts.get("max_workers", whole)
        # What a provider finds out by itself is not in the file: a type without resources may have anything.
        if name != head and most != 0:
            most = min(number for number in (most, whole, 10_000) if number is not None)
            found.append(NodeType(cpus=resources.get("CPU", 0), gpus=resources.get("GPU", 0), most=most))
    return found
