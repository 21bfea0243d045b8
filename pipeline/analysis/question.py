"""What is asked of a table of measurements: the metric, the columns of scale, what is held out and what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fitting import LAWS, PLAIN, Comparison, FittingError, Metric, Table, compare, parse_expression
from pipeline.errors import PipelineError, suggest
from pipeline.study import Study

FEWEST_FITTED = 8
"""Fewer points than this cannot tell laws apart."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """See the module's docstring. Tables are pandas DataFrames, a row a measurement."""

    about: str
    """Whose table it is, as error messages begin: `study 'quickstart'`, `runs.csv`."""
    metric: Metric
    inputs: Sequence[str]
    hyperparameters: Sequence[str] = ()
    held_out: str = ""
    """Expression for the rows that are forecast; empty holds none out."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Rules, by name, for rows that take no part: expressions."""
    replicates: Sequence[str] = ()
    """Rows that agree in these columns differ by chance alone; empty where no row repeats another."""
    count: str = ""
    """Column that says of how many trials the metric is a rate: a rate at its bound is then data."""
    tasks: Sequence[str] = ()
    """Columns that name a task: each is fitted by itself (`pipeline.analysis.tasks`)."""
    task: Mapping[str, Any] = field(default_factory=dict)
    """The values of these columns, where the question is put to one task."""

    @classmethod
    def of_study(cls, study: Study) -> Question:
        """What a study asks of its own points, a DataFrame from `Store.table` with a column `in_grid`."""
        return cls(
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
            tasks=study.tasks,
        )

    def divide(self, rows: Any) -> Divided:
        """Apply the rules in their order, then the split. Raises PipelineError where too little is left to fit, and
        where the rows are of several tasks."""
        if self.tasks and not self.task:
            raise PipelineError(
                f"{self.about} has several tasks ({', '.join(self.tasks)}), one fit each: say which is meant"
            )
        counted = [self.count] if self.count else []
        for name in (self.metric.name, *self.inputs, *self.hyperparameters, *self.replicates, *counted):
            if name not in rows:
                raise PipelineError(f"{self.about} has no column '{name}'; {suggest(name, rows)}")
        trials = self._numbers(rows, self.count) if self.count else None
        try:
            rows = rows.assign(loss=self.metric.to_loss(self._numbers(rows, self.metric.name), trials))
        except FittingError as error:
            raise PipelineError(f"{self.about}: {error}") from error
        counts: dict[str, int] = {}
        for rule, text in self.excluded.items():
            rows = _drop(rows, rule, self._ask(text, rows), counts)
        rows = _drop(rows, "metric at its bound or missing", ~(rows["loss"] > 0).to_numpy(), counts)
        held_out = self._ask(self.held_out, rows) if self.held_out else np.zeros(len(rows), bool)
        rows = rows.assign(held_out=held_out)
        if self.replicates:
            rows["replicate"] = rows.groupby(list(self.replicates), sort=False).ngroup()
        fitted, outside = rows[~rows["held_out"]], rows[rows["held_out"]]
        if len(fitted) < FEWEST_FITTED:
            raise PipelineError(
                f"{self.about} has {len(fitted)} points to fit and {len(outside)} held out: at least {FEWEST_FITTED} "
                "are needed. Measure more, or change the split"
            )
        return Divided(
            question=self,
            rows=rows.reset_index(drop=True),
            fitted=self._table(fitted),
            held_out=self._table(outside) if len(outside) else None,
            excluded={rule: count for rule, count in counts.items() if count},
        )

    def _table(self, rows: Any) -> Table:
        try:
            return Table(
                inputs={name: self._numbers(rows, name) for name in self.inputs},
                hyperparameters={name: self._numbers(rows, name) for name in self.hyperparameters},
                y=rows["loss"].to_numpy(float),
                ceiling=self.metric.ceiling,
                group=rows["replicate"].to_numpy() if self.replicates else None,
                counts=self._numbers(rows, self.count) if self.count else None,
            )
        except FittingError as error:
            raise PipelineError(f"{self.about}: {error}") from error

    def _numbers(self, rows: Any, name: str) -> np.ndarray:
        try:
            return rows[name].to_numpy(float)
        except (TypeError, ValueError) as error:
            raise PipelineError(f"{self.about}: column '{name}' must hold numbers ({error})") from error

    def _ask(self, text: str, rows: Any) -> np.ndarray:
        try:
            answer = parse_expression(text).evaluate({name: rows[name].to_numpy() for name in rows})
        except FittingError as error:
            raise PipelineError(f"{self.about}: {error}") from error
        return np.broadcast_to(answer, len(rows))


@dataclass(frozen=True, kw_only=True)
class Divided:
    """A table after its rules and its split."""

    question: Question
    rows: Any
    """The rows that take part, with `loss` (the metric as a law sees it) and `held_out`."""
    fitted: Table
    held_out: Table | None
    excluded: Mapping[str, int]
    """How many rows each rule removed, in the order in which the rules apply."""

    def compare(
        self, laws: Sequence[str], *, seed: int, loss: str = "msle", plain: bool = False
    ) -> tuple[Comparison, ...]:
        """Fit the laws and score them; `plain` is one least-loss fit each. Raises PipelineError for an unknown law."""
        for law in laws:
            if law.removesuffix("-mean") not in LAWS and ":" not in law:
                raise PipelineError(f"there is no law '{law}': {suggest(law, LAWS)}")
        return compare(laws, self.fitted, self.held_out, seed=seed, loss=loss, recipe=PLAIN if plain else None)

    def to_json(self, comparisons: Sequence[Comparison]) -> dict[str, Any]:
        """The table of laws for a program, and for `unsl fit`."""
        return {
            "rows_fit": len(self.fitted),
            "rows_held_out": len(self.held_out) if self.held_out is not None else 0,
            "held_out": self.question.held_out,
            "excluded": dict(self.excluded),
            "laws": [_law_to_json(row) for row in comparisons],
        }


def _law_to_json(row: Comparison) -> dict[str, Any]:
    if row.fit is None or row.rmsle_fit is None:
        return {"law": row.law, "status": "does not apply", "reason": row.reason, "seconds": row.seconds}
    held_out = row.rmsle_held_out
    return {
        "law": row.law,
        "status": row.fit.status.value,
        "rmsle_fit": row.rmsle_fit.value,
        "rmsle_fit_error": row.rmsle_fit.error,
        "rmsle_held_out": held_out.value if held_out else None,
        "rmsle_held_out_error": held_out.error if held_out else None,
        "seconds": row.seconds,
        "structure": row.fit.structure,
        "parameters": dict(row.fit.coefficients),
    }


def _drop(rows: Any, rule: str, mask: np.ndarray, counts: dict[str, int]) -> Any:
    counts[rule] = int(mask.sum())
    return rows[~mask]
