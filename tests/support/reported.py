"""Studies whose reports are tested: points of the oracle, laws fitted in a fraction of a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from fitting import Metric, Recipe, compare
from pipeline import Axis, Split, Study
from pipeline.analysis import Analysis, Divided, divide
from pipeline.store import CellRecord
from trainers import load_trainer
from trainers.contract import Point

QUICK = Recipe(ridges=(1e-3, 1e-6), own_ridges=(), starts=2, emphasis=(0.0,), budget=20)
"""Sound enough to be drawn."""
FEW = {"inputs": ("parameters", "step"), "hyperparameters": ()}
"""Two columns for the laws; the others vary unseen."""
HOSTILE = "<script>alert('x')</script> & \"--> $\\frac{1}$ {{ 7 * 7 }} _日本"


class _NoDoor:
    """A context without checkpoints."""

    device = "cpu"

    def load(self, cell):
        return None

    def save(self, cell, checkpoint):
        pass

    def checkpoint_due(self):
        return False

    def should_stop(self):
        return False


def make_study(**changes) -> Study:
    settings = {
        "name": "rehearsal",
        "trainer": "oracle",
        "fixed": {"steps": 256},
        "axes": [
            Axis("parameters", (1000, 4000, 16000, 64000)),
            Axis("dataset_size", (1000, 10000, 100000)),
            Axis("learning_rate", (0.003, 0.03)),
        ],
        "seeds": (0, 1),
        "inputs": ("parameters", "dataset_size", "step"),
        "hyperparameters": ("learning_rate",),
        "metric": Metric(),
        "split": Split(held_out="parameters > 20000 or step > 200", excluded={"warm-up": "step < 32"}),
    }
    return Study(**settings | changes)


def points_of(study: Study) -> pd.DataFrame:
    """The table that a store would hold."""
    trainer = load_trainer(study.trainer)
    rows = []
    for event in trainer.train([trainer.Config(**cell.config) for cell in study.cells], _NoDoor()):
        if isinstance(event, Point):
            cell = study.cells[event.cell]
            head = {"cell": cell.id, "status": "done", "trainer": cell.trainer, "version": cell.version, **cell.columns}
            names = ("step", "inference_steps", "examples", "flops", "seconds")
            rows.append({**head, **{name: getattr(event, name) for name in names}, **event.metrics})
    # Seconds are measured, and differ from run to run.
    return pd.DataFrame(rows).assign(seconds=1.0)


def fitted(study: Study, divided: Divided, laws: Sequence[str] = ("m2", "cf")) -> Analysis:
    comparisons = compare(laws, divided.fitted, divided.held_out, recipe=QUICK)
    # Seconds are measured here too.
    return Analysis(study=study, divided=divided, comparisons=[replace(one, seconds=0.5) for one in comparisons])


def analysis_of(study: Study, points: pd.DataFrame | None = None, laws: Sequence[str] = ("m2", "cf")) -> Analysis:
    return fitted(study, divide(study, points_of(study) if points is None else points), laws)


def records_of(study: Study, *, missing: int = 0, **states: int) -> dict[str, CellRecord]:
    """What a store would know: the last cells not run, the first in other states than done."""
    unusual = [status for status, count in states.items() for _ in range(count)]
    cells = study.cells[: len(study.cells) - missing]
    return {
        cell.id: CellRecord(
            id=cell.id,
            trainer=cell.trainer,
            version=cell.version,
            config=cell.config,
            columns=cell.columns,
            flops_per_step=1e9,
            status=unusual[k] if k < len(unusual) else "done",
            failure="bug" if k < len(unusual) and unusual[k] == "failed" else "",
            message=HOSTILE if k < len(unusual) and unusual[k] == "failed" else "",
            step=100,
            seconds=1800.0 + k,
            points=9,
            device="cpu",
        )
        for k, cell in enumerate(cells)
    }
