"""An oracle that fails on the nodes that a file names: `UNSL_SICK` in the environment says which file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from trainers import Context, End, Point
from trainers.oracle import Oracle, OracleConfig


class Fragile(Oracle):
    """See the module's docstring."""

    def train(self, configs: Sequence[OracleConfig], context: Context) -> Iterator[Point | End]:
        for event in super().train(configs, context):
            yield event
            with suppress(FileNotFoundError):
                if _here() in Path(os.environ["UNSL_SICK"]).read_text().split():
                    raise RuntimeError("CUDA error: uncorrectable ECC error encountered")


def _here() -> str:
    import ray

    return ray.util.get_node_ip_address()


FRAGILE = Fragile()
