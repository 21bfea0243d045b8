"""`unsl report`: fit, and write the report."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from pipeline.analysis import analyse, fingerprint
from pipeline.store import CellRecord, SavedFit
from pipeline.verbs.output import read_json, say, write_json
from pipeline.verbs.run import TRACKING_CLOSE_SECONDS
from pipeline.verbs.verb import (
    Verb,
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
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write the report's facts, to FILE or standard output"
    )
    add_laws(parser)
    parser.add_argument(
        "--out", type=new_file, metavar="FILE", help="the HTML file (default: report.html in the study's store)"
    )
    add_wandb(parser)


def run(options: argparse.Namespace) -> int:
    from pipeline.report import panels, study_facts, write_report
    from pipeline.tracking import make_tracker, runs_url
    from pipeline.verbs import show

    study, store = study_and_store(options)
    points = store.table()
    path = os.path.abspath(options.out or os.path.join(local_folder(store), "report.html"))
    beside = os.path.splitext(path)[0] + ".json"
    records, running = store.records(), store.holder() is not None
    made_from = f"{fingerprint(study, points, laws=names(options.laws), seed=options.seed)}-{_states(records, running)}"
    kept = read_json(beside) if os.path.exists(path) else {}
    changes = question_changes(study, store)
    unchanged = (kept.get("made_from"), kept.get("table", {}).get("question_changes")) == (made_from, changes)
    if not unchanged:
        analysis = analyse(study, points, laws=names(options.laws), seed=options.seed, question_changes=changes)
        facts = study_facts(
            analysis,
            records=records,
            points=points,
            date=datetime.date.fromtimestamp(max(record.updated for record in records.values())),
            running=running,
            run_url=runs_url(options.wandb, study=study),
        )
        write_report(facts, path)
        table = analysis.to_json()
        kept = {"made_from": made_from, "table": table, "facts": facts.to_json()}
        write_json(beside, kept)
        tracker = make_tracker(options.wandb, study=study, folder=tracking_folder(store), store=store)
        fit = SavedFit.from_rows([_flat(law) for law in table["laws"]], path, panels(facts))
        try:
            fit.save(store.folder)
        except OSError as error:  # A store that one may only read is no reason to have no report.
            say(f"the store does not keep this fit for `unsl sync`: {error}")
        tracker.summarise(fit)
        say(tracker.close(TRACKING_CLOSE_SECONDS).message)
    if options.json:
        write_json(options.json, kept["facts"])
    if options.json != "-":
        show.laws(kept["table"])
    note = " (unchanged: nothing was fitted again)" if unchanged else ""
    print(f"report: {path}{note}", file=sys.stderr if options.json == "-" else sys.stdout)
    return 0


def _states(records: Mapping[str, CellRecord], running: bool) -> str:
    """Changes when the store says something else of a cell, its points apart."""
    known = sorted((one.id, one.status, one.failure, one.message) for one in records.values())
    return hashlib.sha256(repr((known, running)).encode()).hexdigest()


def _flat(law: dict[str, Any]) -> dict[str, Any]:
    """A law's row without its coefficients: what fits into a W&B table."""
    return {name: value for name, value in law.items() if name != "parameters"}


REPORT = Verb(
    name="report",
    summary="fit, and write the report",
    example="unsl report quickstart --out report.html --json facts.json",
    add_options=add_options,
    run=run,
)
