"""From a study's points to its table of laws: the fits and their held-out scores."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitting import Comparison
from pipeline.errors import PipelineError
from pipeline.question import Divided, Question
from pipeline.study import Study


@dataclass(frozen=True, kw_only=True)
class Prepared(Divided):
    """A study's points after its data rules and its split."""

    study: Study


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The laws of a study, fitted and scored."""

    prepared: Prepared
    comparisons: Sequence[Comparison]

    def to_json(self) -> dict[str, Any]:
        return {"study": self.prepared.study.name, **self.prepared.to_json(self.comparisons)}


def analyse(
    study: Study, points: Any, *, laws: Sequence[str] = (), seed: int = 0, loss: str = "msle", plain: bool = False
) -> Analysis:
    """Fit every law of the study (or of `laws`) to its points, a DataFrame from `Store.table`."""
    prepared = prepare(study, points)
    comparisons = prepared.compare(tuple(laws) or tuple(study.laws), seed=seed, loss=loss, plain=plain)
    return Analysis(prepared=prepared, comparisons=comparisons)


def prepare(study: Study, points: Any) -> Prepared:
    """Apply the data rules and the split. Raises PipelineError where too little is left to fit."""
    if points.empty:
        raise PipelineError(f"study '{study.name}' has no points yet: `unsl run {study.name}` makes them")
    grid = {cell.id for cell in study.cells}
    question = Question(
        about=f"study '{study.name}'",
        metric=study.metric,
        inputs=study.inputs,
        hyperparameters=study.hyperparameters,
        held_out=study.split.held_out,
        excluded={
            "no longer in the grid": "in_grid == 0",
            "diverged": "status == 'diverged'",
            **study.split.excluded,
        },
        replicates=[name for axis in study.axes for name in axis.fields] + ["step", "inference_steps"],
    )
    divided = question.divide(points.assign(in_grid=points["cell"].isin(grid).astype(int)))
    return Prepared(study=study, **vars(divided))


def fingerprint(study: Study, points: Any, *, laws: Sequence[str], seed: int) -> str:
    """Changes when the points, the study, the laws or the code that turns them into a report changes."""
    import pandas

    digest = hashlib.sha256(repr((study, tuple(laws), seed)).encode())
    ordered = points.sort_values([name for name in ("cell", "step", "inference_steps") if name in points])
    digest.update(pandas.util.hash_pandas_object(ordered, index=False).to_numpy().tobytes())
    for package in ("fitting", "pipeline"):
        folder = Path(importlib.import_module(package).__file__).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
