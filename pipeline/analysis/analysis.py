"""From a study's points to its table of laws: the fits and their held-out scores."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitting import Comparison
from pipeline.analysis.question import Divided, Question
from pipeline.analysis.tasks import Tasks, compare_tasks
from pipeline.errors import PipelineError
from pipeline.study import Study

CODE = (".py", ".html", ".css", ".js")
"""Endings of the files that turn points into a report."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The laws of a study that has one task, or of one of its tasks, fitted and scored."""

    study: Study
    divided: Divided
    comparisons: Sequence[Comparison]
    question_changes: Sequence[str] = ()
    """What of the question was changed after something had been measured, in words."""

    def to_json(self) -> dict[str, Any]:
        changes = {"question_changes": list(self.question_changes)}
        return {"study": self.study.name, **changes, **self.divided.to_json(self.comparisons)}


@dataclass(frozen=True, kw_only=True)
class Analyses:
    """The laws of every task of a study."""

    study: Study
    tasks: Tasks
    question_changes: Sequence[str] = ()

    def by_name(self) -> dict[str, Analysis]:
        """One a task."""
        return {
            name: Analysis(
                study=self.study,
                divided=divided,
                comparisons=self.tasks.comparisons[name],
                question_changes=self.question_changes,
            )
            for name, divided in self.tasks.divided.items()
        }

    def to_json(self) -> dict[str, Any]:
        changes = {"question_changes": list(self.question_changes)}
        return {"study": self.study.name, **changes, **self.tasks.to_json()}


def analyse(
    study: Study,
    points: Any,
    *,
    laws: Sequence[str] = (),
    seed: int = 0,
    loss: str = "msle",
    plain: bool = False,
    question_changes: Sequence[str] = (),
) -> Analyses:
    """Fit every law of the study (or of `laws`) to its points, a DataFrame from `Store.table`, each task by itself."""
    how = {"seed": seed, "loss": loss, "plain": plain}
    tasks = compare_tasks(Question.of_study(study), of_grid(study, points), tuple(laws) or study.law_addresses, **how)
    return Analyses(study=study, tasks=tasks, question_changes=question_changes)


def divide(study: Study, points: Any, question: Question | None = None) -> Divided:
    """Apply a study's data rules and its split, or those of another question that is put to its points.

    Raises PipelineError where too little is left to fit, and where the study has tasks and the question is of none.
    """
    return (question or Question.of_study(study)).divide(of_grid(study, points))


def of_grid(study: Study, points: Any) -> Any:
    """A study's points as its question takes them: in a fixed order, and marked whether their cell is in the grid.

    Raises PipelineError where there are none.
    """
    if points.empty:
        raise PipelineError(f"study '{study.name}' has no points yet: `unsl run {study.address}` makes them")
    points = _completed(study, _ordered(points))
    return points.assign(**study.standing(points["cell"].tolist()))


def _completed(study: Study, points: Any) -> Any:
    """A field that came after a cell's run is empty in its rows, or no column at all: what ran was its default."""
    trainer, found = study.loaded_trainer, {}
    varied = (name for axis in study.axes for name in axis.fields)
    asked = {*study.inputs, *study.hyperparameters, *study.tasks, *varied}
    for one in dataclasses.fields(trainer.Config):
        if one.metadata.get("added") and (one.name in points or one.name in asked):
            values = points[one.name] if one.name in points else points["cell"].map(lambda _: None)
            if (empty := values.isna() & (points["trainer"] == trainer.name)).any():
                found[one.name] = values.mask(empty, one.default).infer_objects()
    return points.assign(**found)


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
