"""What a study holds out, forecast before it is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from pipeline.analysis import Question, divide
from pipeline.errors import PipelineError
from pipeline.forecasts.entry import Entry, digest
from pipeline.forecasts.ledger import Ledger
from pipeline.forecasts.making import fit_laws, law_name, make_entry, question_to_json
from pipeline.forecasts.targets import Targets, held_out_targets
from pipeline.store import Store
from pipeline.study import Cell, Study


def forecast_held_out(
    study: Study, store: Store, cells: Iterable[Cell] | None = None, *, seed: int = 0
) -> Entry | None:
    """Fit the study's laws to what is measured and write their forecasts of every held-out point of the cells (default:
    all) into the ledger; None where it already has them all, or where there is nothing to forecast.

    A law that cannot be fitted says so in the entry. Where no law can, because too little was measured, the entry says
    that: then nothing was foretold, and nobody can claim later that it was. Raises PipelineError where the ledger does
    not hold or cannot be written.
    """
    question = Question.of_study(study)
    laws = study.law_addresses
    ledger = Ledger(store.folder)
    targets = held_out_targets(study, cells)
    divided, reason = None, ""
    try:
        divided = divide(study, store.table())
    except PipelineError as error:
        reason = str(error)
    fingerprint = divided.fitted.fingerprint if divided else ""
    asked = digest(question_to_json(question))
    said: set[tuple] = set()
    for entry in ledger.entries():
        said |= entry.says(question=asked, fingerprint=fingerprint, laws=map(law_name, laws))
    targets = _without(targets, said)
    if not len(targets):
        return None
    fitted = fit_laws(question, divided, laws, targets, seed=seed, reason=reason)
    # Asked after the fits, which take a while: what was measured meanwhile is not blind.
    blind = ~targets.measured(store.table())
    return ledger.append(make_entry(study.name, fitted, targets, blind=blind, keep=ledger.keep_fit))


def _without(targets: Targets, said: set[tuple]) -> Targets:
    """The targets that the ledger says nothing of."""
    keys = zip(*(targets.columns[name] for name in targets.keys), strict=True)
    kept = np.flatnonzero([key not in said for key in keys])
    return replace(
        targets,
        columns={name: [values[i] for i in kept] for name, values in targets.columns.items()},
        evaluation=[targets.evaluation[i] for i in kept],
    )
