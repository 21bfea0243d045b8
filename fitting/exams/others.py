"""Exams of small networks on tasks that are made: regression, and a teacher that a student learns."""

from __future__ import annotations

from collections.abc import Iterator

from fitting import Metric

from . import sources
from .definition import Exam


def exams() -> Iterator[Exam]:
    yield Exam(
        name="mlp-width-steps",
        domain="other",
        source=sources.SUPERCOLLAPSE,
        file="mlp_curves.csv",
        column="test_loss",
        inputs={"N": "num_params", "steps": "step"},
        rows="group == 'const' and step > 0",
        held_out="width > 1500",
        metric=Metric(name="test loss"),
    )
    for layers, file, held_out in (
        (1, "sweep_cosine_L1.csv", "width >= 256 or D >= 4e6"),
        (2, "sweep_cosine.csv", "width >= 512 or D >= 1.6e7"),
        (4, "sweep_cosine_L4.csv", "width >= 256 or D >= 4e6"),
        (6, "sweep_cosine_L6.csv", "width >= 256 or D >= 4e6"),
    ):
        yield Exam(
            name=f"student-{layers}-layers",
            domain="other",
            source=sources.STUDENT,
            file=file,
            column="val_loss",
            inputs={"N": "N", "D": "D"},
            held_out=held_out,
            metric=Metric(name="validation loss"),
        )
    for what, held_out in (("size", "W >= 100"), ("data", "D > 3e4")):
        yield Exam(
            name=f"student-descent-by-{what}",
            domain="other",
            source=sources.STUDENT,
            file="double_descent_grid.csv",
            column="excess",
            inputs={"N": "N", "D": "D"},
            held_out=held_out,
            metric=Metric(name="excess loss"),
        )
