"""`unsl report`: fit, and write the report."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from typing import Any

from pipeline.analysis import analyse, fingerprint
from pipeline.store import SavedFit
from pipeline.verbs.fit import print_laws
from pipeline.verbs.output import read_json, say, write_json
from pipeline.verbs.run import TRACKING_CLOSE_SECONDS
from pipeline.verbs.verb import (
    Verb,
    add_json,
    add_laws,
    add_study,
    add_wandb,
    local_folder,
    names,
    new_file,
    question_changes,
    study_and_store,
    tracking_folder,
)


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)
    add_laws(parser)
    parser.add_argument(
        "--out", type=new_file, metavar="FILE", help="the HTML file (default: report.html in the study's store)"
    )
    add_wandb(parser)


def run(options: argparse.Namespace) -> int:
    from pipeline.report import write_report
    from pipeline.tracking import make_tracker

    study, store = study_and_store(options)
    points = store.table()
    path = os.path.abspath(options.out or os.path.join(local_folder(store), "report.html"))
    beside = os.path.splitext(path)[0] + ".json"
    made_from = fingerprint(study, points, laws=names(options.laws), seed=options.seed)
    facts = read_json(beside) if os.path.exists(path) else {}
    changes = question_changes(study, store)
    unchanged = (facts.get("made_from"), facts.get("question_changes")) == (made_from, changes)
    if not unchanged:
        analysis = analyse(study, points, laws=names(options.laws), seed=options.seed, question_changes=changes)
        records = store.records()
        date = datetime.date.fromtimestamp(max(record.updated for record in records.values()))
        write_report(analysis, path, records=records, date=date)
        facts = {"made_from": made_from, **analysis.to_json()}
        write_json(beside, facts)
        tracker = make_tracker(options.wandb, study=study, folder=tracking_folder(store), store=store)
        fit = SavedFit.from_rows([_flat(law) for law in facts["laws"]], path)
        try:
            fit.save(store.folder)
        except OSError as error:  # A store that one may only read is no reason to have no report.
            say(f"the store does not keep this fit for `unsl sync`: {error}")
        tracker.summarise(fit)
        say(tracker.close(TRACKING_CLOSE_SECONDS).message)
    print_laws(facts, options)
    note = " (unchanged: nothing was fitted again)" if unchanged else ""
    print(f"report: {path}{note}", file=sys.stderr if options.json == "-" else sys.stdout)
    return 0


def _flat(law: dict[str, Any]) -> dict[str, Any]:
    """A law's row without its coefficients: what fits into a W&B table."""
    return {name: value for name, value in law.items() if name != "parameters"}


REPORT = Verb(
    name="report",
    summary="fit, and write the report",
    example="unsl report quickstart --out report.html",
    add_options=add_options,
    run=run,
)
