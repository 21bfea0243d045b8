"""What a study holds out, forecast before it is measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.analysis import Question, by_task, of_grid
from pipeline.errors import PipelineError
from pipeline.forecasts.entry import Entry, digest
from pipeline.forecasts.ledger import Ledger
from pipeline.forecasts.making import fit_laws, law_name, make_entry, question_to_json
from pipeline.forecasts.targets import Targets, held_out_targets
from pipeline.store import Store
from pipeline.study import Cell, Study


def forecast_held_out(
    study: Study, store: Store, cells: Iterable[Cell] | None = None, *, seed: int = 0
) -> tuple[Entry, ...]:
    """Fit the study's laws to what is measured and write their forecasts of every held-out point of the cells (default:
    all) into the ledger: an entry a task, by the task's own fit; none where it already has them all, or where there is
    nothing to forecast.

    A law that cannot be fitted says so in the entry. Where no law can, because too little was measured, the entry says
    that: then nothing was foretold, and nobody can claim later that it was. Raises PipelineError where the ledger does
    not hold or cannot be written.
    """
    points, targets = store.table(), held_out_targets(study, cells)
    rows = of_grid(study, points) if len(points) else points
    written = []
    for question, part in _tasks(study, rows, targets):
        entry = _forecast(study, store, question, part, targets.of_task(question.task), seed=seed)
        written += [entry] if entry else []
    return tuple(written)


def _tasks(study: Study, rows: Any, targets: Targets) -> Iterator[tuple[Question, Any]]:
    """The question that is put to each task, and its rows: none of a task that is held out whole."""
    question = Question.of_study(study)
    measured = {tuple(map(str, asked.task.values())): (asked, part) for asked, part in
                (by_task(question, rows).values() if len(rows) else ())}  # fmt: skip
    wanted = dict.fromkeys(zip(*(targets.columns[name] for name in study.tasks), strict=True)) if study.tasks else [()]
    for values in wanted:
        unmeasured = replace(question, task=dict(zip(study.tasks, values, strict=True))), rows[:0]
        yield measured.get(tuple(map(str, values)), unmeasured)


def _forecast(
    study: Study, store: Store, question: Question, rows: Any, targets: Targets, *, seed: int
) -> Entry | None:
    laws, ledger = study.law_addresses, Ledger(store.folder)
    divided, reason = None, ""
    try:
        if not len(rows):
            raise PipelineError(f"{question.about} has no points yet to fit")
        divided = question.divide(rows)
    except PipelineError as error:
        reason = str(error)
    fingerprint = divided.fitted.fingerprint if divided else ""
    asked = digest(question_to_json(question))
    said: set[tuple] = set()
    for entry in ledger.entries():
        said |= entry.says(question=asked, fingerprint=fingerprint, laws=map(law_name, laws))
    keys = zip(*(targets.columns[name] for name in targets.keys), strict=True)
    targets = targets.where(np.array([key not in said for key in keys], bool))
    if not len(targets):
        return None
    fitted = fit_laws(question, divided, laws, targets, seed=seed, reason=reason)
    # Asked after the fits, which take a while: what was measured meanwhile is not blind.
    blind = ~targets.measured(store.table())
    return ledger.append(make_entry(study.name, fitted, targets, blind=blind, keep=ledger.keep_fit))
