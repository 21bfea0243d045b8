"""Tasks: tables that are asked the same and fitted apart. One fit each, one table over all.

An architecture, a game or an operation is no number, so no law can read it; pooling its values would fit one law to
several. The columns that name a task are said by the study, or by `--tasks` for a table of one's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fitting import Comparison
from pipeline.analysis.question import Divided, Question
from pipeline.errors import PipelineError, suggest


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The laws of every task. Where the question names no tasks there is one, without a name."""

    columns: Sequence[str]
    """Those that name a task."""
    divided: Mapping[str, Divided]
    comparisons: Mapping[str, Sequence[Comparison]]
    """By task, of the same names as `divided`."""
    left_out: Mapping[str, str]
    """Tasks that nothing could be fitted to, with the reason."""

    def won(self) -> dict[str, float]:
        """For each law the share of the scored tasks on which its error is least; equal errors share a task.

        Scored on the held-out points, or where a task holds none out on those that were fitted.
        """
        scored = [scores for rows in self.comparisons.values() if (scores := _scores(rows))]
        return shares_won(scored, (row.law for rows in self.comparisons.values() for row in rows))

    def to_json(self) -> dict[str, Any]:
        """The table of laws for a program: that of the one task, or of all by name with the shares that laws win."""
        if not self.columns:
            return self.divided[""].to_json(self.comparisons[""])
        return {
            "task_columns": list(self.columns),
            "tasks": {name: one.to_json(self.comparisons[name]) for name, one in self.divided.items()},
            "left_out": dict(self.left_out),
            "won": self.won(),
        }


def shares_won(scored: Sequence[Mapping[str, float]], laws: Iterable[str]) -> dict[str, float]:
    """For each law the share of the tasks on which its error is least, from every task's errors by law; equal errors
    share a task."""
    shares = dict.fromkeys(laws, 0.0)
    for scores in scored:
        best = [law for law, score in scores.items() if score == min(scores.values())]
        for law in best:
            shares[law] += 1 / len(best) / len(scored)
    return shares


def by_task(question: Question, rows: Any) -> dict[str, tuple[Question, Any]]:
    """The tasks in a table by name, in the order of their values: what each is asked, and its rows.

    Without columns that name tasks there is one, of all rows, and its name is empty. Raises PipelineError where such a
    column is absent or says nothing of some rows.
    """
    if not question.tasks or question.task:
        return {"": (question, rows)}
    for name in question.tasks:
        if name not in rows:
            raise PipelineError(f"{question.about} has no column '{name}'; {suggest(name, rows)}")
        if count := int(rows[name].isna().sum()):
            raise PipelineError(f"{question.about}: column '{name}' is empty in {count} rows, so their task is unknown")
    found = {}
    for values, part in rows.groupby(list(question.tasks), sort=True):
        task = dict(zip(question.tasks, (_plain(value) for value in values), strict=True))
        found[task_name(task)] = (replace(question, task=task), part)
    return found


def divide_tasks(question: Question, rows: Any) -> tuple[dict[str, Divided], dict[str, str]]:
    """Every task's table after the rules and the split; and the tasks of which too little is left, with the reason.

    Raises PipelineError where that is so of all of them.
    """
    divided: dict[str, Divided] = {}
    left_out: dict[str, str] = {}
    for name, (asked, part) in by_task(question, rows).items():
        try:
            divided[name] = asked.divide(part)
        except PipelineError as error:
            left_out[name] = str(error)
            if not name:
                raise
    if not divided:
        raise PipelineError(next(iter(left_out.values()), f"{question.about} has no rows"))
    return divided, left_out


def compare_tasks(
    question: Question, rows: Any, laws: Sequence[str], *, seed: int, loss: str = "msle", plain: bool = False
) -> Tasks:
    """Fit the laws to every task by itself, with equal care, and score them there."""
    divided, left_out = divide_tasks(question, rows)
    comparisons = {name: one.compare(laws, seed=seed, loss=loss, plain=plain) for name, one in divided.items()}
    return Tasks(columns=question.tasks, divided=divided, comparisons=comparisons, left_out=left_out)


def task_name(values: Mapping[str, Any]) -> str:
    """`vit`, `digits 3`, `digits 3, no scratchpad`: a text speaks for itself, a number and a yes or no need a name."""

    def said(name: str, value: Any) -> str:
        if isinstance(value, bool):
            return name if value else f"no {name}"
        return value if isinstance(value, str) else f"{name} {value:g}"

    return ", ".join(said(name, value) for name, value in values.items())


def _scores(rows: Sequence[Comparison]) -> dict[str, float]:
    """The errors by which the laws of a task are ranked; empty where none was fitted."""
    held_out = {row.law: row.rmsle_held_out.value for row in rows if row.rmsle_held_out is not None}
    return held_out or {row.law: row.rmsle_fit.value for row in rows if row.rmsle_fit is not None}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
