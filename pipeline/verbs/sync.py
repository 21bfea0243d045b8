"""`unsl sync`: send W&B what it lacks of the store."""

from __future__ import annotations

import argparse

from pipeline.errors import OutsideError
from pipeline.store import SavedFit
from pipeline.verbs.verb import Verb, add_study, add_wandb, study_and_store, tracking_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_wandb(parser)


def run(options: argparse.Namespace) -> int:
    from pipeline.tracking import sync

    study, store = study_and_store(options)
    outcome = sync(options.wandb, study=study, store=store, folder=tracking_folder(store))
    fit = " and the fit" if outcome.fits else ""
    saved = SavedFit.load(store.folder) if outcome.fits else None
    if saved and saved.report and not saved.report_here:
        fit += f" (without its report: {saved.report} is not on this machine)"
    print(f"{outcome.runs} runs with {outcome.points} points{fit} sent, {outcome.runs_left + outcome.fits_left} left")
    if outcome.message:
        raise OutsideError(outcome.message)
    return 0


SYNC = Verb(
    name="sync",
    summary="send W&B what it lacks of the store",
    example="unsl sync quickstart --wandb online",
    add_options=add_options,
    run=run,
)
