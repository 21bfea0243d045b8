"""From a study's points to its table of laws: the data rules, the split, the fits and their held-out scores."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitting import LAWS, Comparison, FittingError, Table, compare, parse_expression
from pipeline.errors import PipelineError
from pipeline.study import Study, suggest

FEWEST_FITTED = 8
"""Fewer points than this cannot tell laws apart."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A study's points after its data rules and its split."""

    study: Study
    rows: Any
    """pandas DataFrame: the points that take part, with `loss` (the metric as a law sees it) and `held_out`."""
    fitted: Table
    held_out: Table | None
    excluded: Mapping[str, int]
    """How many points each rule removed, in the order in which the rules apply."""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The laws of a study, fitted and scored."""

    prepared: Prepared
    comparisons: Sequence[Comparison]

    def to_json(self) -> dict[str, Any]:
        held_out = self.prepared.held_out
        return {
            "study": self.prepared.study.name,
            "rows_fit": len(self.prepared.fitted),
            "rows_held_out": len(held_out) if held_out is not None else 0,
            "held_out": self.prepared.study.split.held_out,
            "excluded": dict(self.prepared.excluded),
            "laws": [_law_to_json(row) for row in self.comparisons],
        }


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


def analyse(study: Study, points: Any, *, laws: Sequence[str] = (), seed: int = 0) -> Analysis:
    """Fit every law of the study (or of `laws`) to its points, a DataFrame from `Store.table`."""
    laws = tuple(laws) or tuple(study.laws)
    for law in laws:
        if law not in LAWS:
            raise PipelineError(f"there is no law '{law}': {suggest(law, LAWS)}")
    prepared = prepare(study, points)
    return Analysis(
        prepared=prepared,
        comparisons=compare(laws, prepared.fitted, prepared.held_out, seed=seed),
    )


def prepare(study: Study, points: Any) -> Prepared:
    """Apply the data rules and the split. Raises PipelineError where nothing is left to fit."""
    if points.empty:
        raise PipelineError(f"study '{study.name}' has no points yet: `unsl run {study.name}` makes them")
    if study.metric.name not in points:
        raise PipelineError(
            f"study '{study.name}': its points have no '{study.metric.name}'; {suggest(study.metric.name, points)}"
        )
    grid = {cell.id for cell in study.cells}
    rows = points[points["cell"].isin(grid)].copy()
    rows["loss"] = study.metric.to_loss(rows[study.metric.name].to_numpy(float))
    excluded = {"no longer in the grid": len(points) - len(rows)}
    rules = {"diverged": "status == 'diverged'", **study.split.excluded}
    for rule, text in rules.items():
        rows = _drop(rows, rule, _ask(study, text, rows), excluded)
    rows = _drop(rows, "metric at its bound or missing", ~(rows["loss"] > 0).to_numpy(), excluded)

    rows["held_out"] = _ask(study, study.split.held_out, rows)
    varied = [name for axis in study.axes for name in axis.fields]
    rows["replicate"] = rows.groupby([*varied, "step", "inference_steps"], sort=False).ngroup()
    fitted, held_out = rows[~rows["held_out"]], rows[rows["held_out"]]
    if len(fitted) < FEWEST_FITTED:
        raise PipelineError(
            f"study '{study.name}' has {len(fitted)} points to fit and {len(held_out)} held out: at least "
            f"{FEWEST_FITTED} are needed. Let more cells finish, or change the split"
        )
    return Prepared(
        study=study,
        rows=rows.reset_index(drop=True),
        fitted=_table(study, fitted),
        held_out=_table(study, held_out) if len(held_out) else None,
        excluded={rule: count for rule, count in excluded.items() if count},
    )


def _law_to_json(row: Comparison) -> dict[str, Any]:
    if row.fit is None:
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


def _table(study: Study, rows: Any) -> Table:
    try:
        return Table(
            inputs={name: rows[name].to_numpy(float) for name in study.inputs},
            hyperparameters={name: rows[name].to_numpy(float) for name in study.hyperparameters},
            y=rows["loss"].to_numpy(float),
            ceiling=study.metric.ceiling,
            group=rows["replicate"].to_numpy(),
        )
    except FittingError as error:
        raise PipelineError(f"study '{study.name}': {error}") from error


def _ask(study: Study, text: str, rows: Any) -> np.ndarray:
    try:
        answer = parse_expression(text).evaluate({name: rows[name].to_numpy() for name in rows})
    except FittingError as error:
        raise PipelineError(f"study '{study.name}': {error}") from error
    return np.broadcast_to(answer, len(rows))


def _drop(rows: Any, rule: str, mask: np.ndarray, excluded: dict[str, int]) -> Any:
    excluded[rule] = int(mask.sum())
    return rows[~mask]
