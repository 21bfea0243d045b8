"""The public table of the paper: the data-constrained language models (arXiv 2305.16264), where a person has it.

Its exams are those of `unsl exam`: splits fixed in advance, by model size and by data, on all runs and on those that
the data-constrained law was published with. Which runs are taken decides which law is ahead, so each is said.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fitting.exams import run_exams
from pipeline.errors import PipelineError
from pipeline.study import PAPER_LAWS

EXAMS = "datablations"
COLUMNS = ("exam", "held_out", "law", "rows_fit", "rows_held_out", "rmsle_held_out", "rmsle_held_out_error", "best")


def public_answers(data: str, *, laws: Sequence[str] = (), seed: int = 0) -> list[dict[str, Any]]:
    """A row an exam and law, in `COLUMNS`. data: a folder with `datablations/datablations.csv` in it, as `unsl exam
    --list` says where to find. Raises PipelineError where it is not there."""
    rows = []
    for result in run_exams(data, laws=tuple(laws) or PAPER_LAWS, only=[EXAMS], processes=1, seed=seed):
        if result.reason:
            raise PipelineError(f"--data {data}: {result.reason}")
        best = result.ranked[0].law if result.ranked else ""
        rows += [
            {
                "exam": result.exam.name,
                "held_out": result.exam.held_out,
                "law": score.law,
                "rows_fit": result.rows_fit,
                "rows_held_out": result.rows_held_out,
                "rmsle_held_out": f"{score.rmsle_held_out.value:.6g}",
                "rmsle_held_out_error": f"{score.rmsle_held_out.error:.6g}",
                "best": int(score.law == best),
            }
            for score in result.ranked
        ]
    return rows


def read_public(path: Path) -> list[Mapping[str, Any]]:
    """The answers that were written to a CSV; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{**row, "best": int(row["best"])} for row in csv.DictReader(file)]
