"""What tests of tracking share: events of a small study, and a server that is made up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from rehearsal import make_study

from pipeline.store import Ended, Failed, Failure, Measured
from trainers import Ending, Point

ROOT = Path(__file__).parents[2]
STUDY = make_study()
CELLS = STUDY.cells
LONG = 60.0
"""Seconds that no close takes, as a limit that does not cut one short."""


def measured(cell, step: int, budget: int = 1, **metrics: float) -> Measured:
    point = Point(
        **{"cell": 0, "step": step, "inference_steps": budget, "metrics": metrics or {"loss": 1 / (step + budget)}},
        **{"examples": 32 * step, "flops": 1e6 * step, "seconds": step / 8},
    )
    return Measured(cell=cell.id, point=point)


def ended(cell, ending: Ending = Ending.DONE) -> Ended:
    return Ended(cell=cell.id, step=4, ending=ending)


def failed(cell, message: str = "it broke") -> Failed:
    return Failed(cell=cell.id, failure=Failure.BUG, message=message, traceback="Traceback ...")


def rows(*events: Measured) -> list[dict]:
    """What W&B should hold of points, each at a step of its own."""
    return [
        {
            **{f"points/{name}": value for name, value in event.point.metrics.items()},
            **{name: getattr(event.point, name) for name in ("step", "examples", "flops", "seconds")},
        }
        for event in events
    ]


def run_id(cell) -> str:
    return f"{STUDY.name}-{cell.id}"


def wait_for(condition, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def python(program: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"} | changes
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment, timeout=60
    )


class FakeRun:
    """A run at a server that remembers."""

    server: dict[str, list[tuple[int, dict]]] = {}
    live: set[str] = set()

    def __init__(self, **settings):
        self.id, self.summary = settings["id"], {}
        self.resumed = self.id in self.server
        self.rows = self.server.setdefault(self.id, [])
        self.starting_step = self.rows[-1][0] + 1 if self.rows else 0
        self.live.add(self.id)

    def define_metric(self, name, *, step_metric=None):
        pass

    def log(self, row, *, step=None):
        if step is None:
            step = self.rows[-1][0] + 1 if self.rows else 0
        if not self.rows or step > self.rows[-1][0]:
            assert step >= self.starting_step
            self.rows.append((step, {}))
        assert step == self.rows[-1][0], "steps only grow"
        self.rows[-1][1].update(row)

    def finish(self, exit_code=0):
        self.live.discard(self.id)
