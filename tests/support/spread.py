"""A study whose cells can be spread over processes, with the trainer of in_step.py."""

from __future__ import annotations

from pathlib import Path

from pipeline import Axis, Metric, Split, Study

IN_STEP = str(Path(__file__).with_name("in_step.py")) + ":IN_STEP"


def spread_study(**settings) -> Study:
    given = {
        "name": "rehearsal",
        "trainer": IN_STEP,
        "axes": [Axis("batch_size", (4,))],
        "inputs": ("batch_size", "step"),
        "metric": Metric(name="loss"),
        "split": Split(held_out="step > 2"),
        "device": "cpu",
    }
    return Study(**(given | settings))
