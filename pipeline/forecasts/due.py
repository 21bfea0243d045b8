"""Which entries of a store's ledger may be scored, and against what."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from fitting import parse_expression
from pipeline.analysis import Question
from pipeline.errors import PipelineError
from pipeline.forecasts.checking import Check, check
from pipeline.forecasts.entry import Entry
from pipeline.forecasts.ledger import Ledger
from pipeline.forecasts.making import question_to_json
from pipeline.store import Store
from pipeline.study import Study
from trainers import evaluation_fingerprint


def check_ledger(store: Store, rows: Any, *, study: Study | None = None, table: str = "TABLE") -> Check:
    """Score the ledger in a store against measurements, a pandas DataFrame.

    study: what is asked now, and what trains; table: what the measurements are called where there is no study. An entry
    of another question is not scored: another metric, other inputs, or another split than it was made under; nor is a
    target that is now measured on another evaluation set. A ledger that does not hold is said so and nothing of it is
    scored. Raises PipelineError where there is no forecast.
    """
    ledger = Ledger(store.folder)
    faults = [str(fault) for fault in ledger.verify(store.records())]
    entries = [] if faults else ledger.entries()
    if not entries and not faults:
        name = study.name if study else table
        command = f"unsl forecast {shlex.quote(name)} --ledger"
        raise PipelineError(f"no forecast of {name} was written down yet: `{command}` writes one")
    if study is None:
        return check(entries, rows, faults=faults)
    now = question_to_json(Question.of_study(study))
    evaluations = {
        cell.id: evaluation_fingerprint(study.loaded_trainer, study.loaded_trainer.Config(**cell.config))
        for cell in study.cells
    }

    def measured_on(entry: Entry) -> Sequence[str]:
        cells = entry.targets.get("cell")
        if not cells:
            return entry.evaluation
        # Of a cell that left the grid nobody can say it; its measurements are what they were.
        return [evaluations.get(cell, then) for cell, then in zip(cells, entry.evaluation, strict=True)]

    return check(
        entries,
        rows,
        why_not=lambda entry: _why_not(entry, now),
        evaluations=measured_on,
        excluded=_excluded(study, rows),
        faults=faults,
    )


def _excluded(study: Study, rows: Any) -> np.ndarray:
    """For each row, the first of the study's rules that leaves it out; empty where it takes part. Cells that left the
    grid are still what was forecast."""
    found = np.full(len(rows), "", dtype=object)
    columns = {name: rows[name].to_numpy() for name in rows}
    if len(rows):
        columns |= study.standing(rows["cell"].tolist())
    for rule, text in Question.of_study(study).excluded.items():
        expression = parse_expression(text)
        if "in_grid" not in expression.names and len(rows):
            broken = np.broadcast_to(expression.evaluate(columns), len(rows))
            found = np.where((found == "") & broken, rule, found)
    return found


def _why_not(entry: Entry, now: dict[str, Any]) -> str:
    """An entry that fitted everything was asked of no split."""
    asked = dict.fromkeys((*entry.question, *now))
    differing = [name for name in asked if name != "task" and entry.question.get(name) != now.get(name)]
    changed = [name for name in differing if name != "split" or entry.question[name]]
    return f"the question changed: {', '.join(changed)}" if changed else ""
