"""From a study's points to its table of laws: the fits and their held-out scores."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitting import Comparison
from pipeline.analysis.question import Divided, Question
from pipeline.errors import PipelineError
from pipeline.study import Study

CODE = (".py", ".html", ".css", ".js")
"""Endings of the files that turn points into a report."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The laws of a study, fitted and scored."""

    study: Study
    divided: Divided
    comparisons: Sequence[Comparison]
    question_changes: Sequence[str] = ()
    """What of the question was changed after something had been measured, in words."""

    def to_json(self) -> dict[str, Any]:
        changes = {"question_changes": list(self.question_changes)}
        return {"study": self.study.name, **changes, **self.divided.to_json(self.comparisons)}


def analyse(
    study: Study,
    points: Any,
    *,
    laws: Sequence[str] = (),
    seed: int = 0,
    loss: str = "msle",
    plain: bool = False,
    question_changes: Sequence[str] = (),
) -> Analysis:
    """Fit every law of the study (or of `laws`) to its points, a DataFrame from `Store.table`."""
    divided = divide(study, points)
    comparisons = divided.compare(tuple(laws) or study.law_addresses, seed=seed, loss=loss, plain=plain)
    return Analysis(study=study, divided=divided, comparisons=comparisons, question_changes=question_changes)


def divide(study: Study, points: Any, question: Question | None = None) -> Divided:
    """Apply a study's data rules and its split, or those of another question that is put to its points.

    Raises PipelineError where too little is left to fit.
    """
    if points.empty:
        raise PipelineError(f"study '{study.name}' has no points yet: `unsl run {study.address}` makes them")
    points = _ordered(points)
    points = points.assign(**study.standing(points["cell"].tolist()))
    return (question or Question.of_study(study)).divide(points)


def fingerprint(study: Study, points: Any, *, laws: Sequence[str], seed: int) -> str:
    """Changes when the points, the study, the laws or the code that turns them into a report changes."""
    import pandas

    digest = hashlib.sha256(repr((study, tuple(laws), seed)).encode())
    ordered = _ordered(points)
    digest.update(pandas.util.hash_pandas_object(ordered, index=False).to_numpy().tobytes())
    for package in ("fitting", "pipeline"):
        folder = Path(importlib.import_module(package).__file__).parent
        for path in sorted(folder.rglob("*")):
            if path.suffix in CODE:
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _ordered(points: Any) -> Any:
    """Points in an order of their own, not in that of their arrival: sums round by it, and fits magnify that."""
    return points.sort_values([name for name in ("cell", "step", "inference_steps") if name in points])
