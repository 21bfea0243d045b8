"""`unsl report`: fit, and write the report."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.analysis import analyse, fingerprint
from pipeline.errors import PipelineError
from pipeline.store import CellRecord, Round, SavedFit, Store
from pipeline.study import Study
from pipeline.verbs.output import read_json, say, write_json
from pipeline.verbs.run import TRACKING_CLOSE_SECONDS
from pipeline.verbs.verb import (
    DEFAULT_STORE,
    Verb,
    add_laws,
    add_study,
    local_folder,
    names,
    new_file,
    question_changes,
    study_and_store,
    tracking_folder,
)

if TYPE_CHECKING:
    from pipeline.report import LedgerFacts

REPORT_THERE = "report"
"""What `--wandb` alone asks for."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="write the report's facts, to FILE or standard output"
    )
    add_laws(parser)
    parser.add_argument(
        "--out", type=new_file, metavar="FILE", help="the HTML file (default: report.html in the study's store)"
    )
    parser.add_argument("--serve", action="store_true", help="show it in a browser of this machine, and keep it new")
    parser.add_argument("--port", type=int, default=0, help="of --serve (default: any that is free)")
    modes = ("auto", "online", "offline", "off", REPORT_THERE)
    about = "alone: write a report at W&B too, or bring it up to date; a MODE says only where runs go (default: auto)"
    parser.add_argument("--wandb", nargs="?", const=REPORT_THERE, default="auto", choices=modes, help=about)


def run(options: argparse.Namespace) -> int:
    from pipeline.verbs import show

    study, store = study_and_store(options)
    there = options.wandb == REPORT_THERE
    if there:
        from pipeline.report import require_wandb_report

        require_wandb_report()
        options.wandb = "online"
    path = os.path.abspath(options.out or os.path.join(local_folder(store), "report.html"))
    kept, unchanged = make_report(study, store, path, options)
    if options.json:
        write_json(options.json, kept["facts"])
    if options.json != "-":
        show.laws(kept["table"])
    note = " (unchanged: nothing was fitted again)" if unchanged else ""
    print(f"report: {path}{note}", file=sys.stderr if options.json == "-" else sys.stdout)
    if there:
        from pipeline.report import Facts, publish_report

        fit = SavedFit.load(store.folder)
        url = publish_report(Facts.from_json(kept["facts"]), list(fit.panels) if fit else [], store.folder)
        say(f"at W&B: {url}")
    if options.serve:
        from pipeline.report import Facts, render, serve

        shown: list[str] = []

        def page(live: str) -> str:
            kept, unchanged = make_report(study, store, path, options)
            if not (unchanged and shown):
                shown[:] = [render(Facts.from_json(kept["facts"]), live=live)]
            return shown[0]

        serve(page, port=options.port, announce=say)
    return 0


def make_report(study: Study, store: Store, path: str, options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """What stands beside the report, and whether it is what stood there: else both are made.

    options: `laws`, `seed` and `wandb`; `running`, where who asks holds the study's lease and knows whether it runs.
    """
    from pipeline.report import panels, round_facts, study_facts, write_report
    from pipeline.rescale import current_alarms
    from pipeline.tracking import make_tracker, runs_url

    points, records = store.table(), store.records()
    running = getattr(options, "running", store.holder() is not None)
    beside = os.path.splitext(path)[0] + ".json"
    changes, ledger = question_changes(study, store), _ledger(study, store, points)
    rounds = store.rounds() if study.growth else []
    made_from = fingerprint(study, points, laws=names(options.laws), seed=options.seed)
    made_from += f"-{_state(records, running, changes, ledger, rounds)}"
    kept = read_json(beside) if os.path.exists(path) else {}
    if kept.get("made_from") == made_from:
        return kept, True
    analysis = analyse(study, points, laws=names(options.laws), seed=options.seed, question_changes=changes)
    facts = study_facts(
        analysis.by_name(),
        records=records,
        points=points,
        date=datetime.date.fromtimestamp(max(record.updated for record in records.values())),
        running=running,
        command=_command(study, options),
        asked=_asked(store),
        run_url=runs_url(options.wandb, study=study),
        ledger=ledger,
        rounds=round_facts(rounds),
        alarms=current_alarms(rounds),
        spend=True,
    )
    write_report(facts, path)
    table = analysis.to_json()
    kept = {"made_from": made_from, "table": table, "facts": facts.to_json()}
    write_json(beside, kept)
    tracker = make_tracker(options.wandb, study=study, folder=tracking_folder(store), store=store)
    fit = SavedFit.from_rows(_rows(table), path, panels(facts))
    try:
        fit.save(store.folder)
    except OSError as error:  # A store that one may only read is no reason to have no report.
        say(f"the store does not keep this fit for `unsl sync`: {error}")
    tracker.summarise(fit)
    say(tracker.close(TRACKING_CLOSE_SECONDS).message)
    return kept, False


def _asked(store: Store) -> str:
    """When the question as it is now was first put, and what was measured by then; empty where nobody recorded it."""
    known = store.questions()
    if not known or not known[-1].since:
        return ""
    since = known[-1].since.replace("T", " ").removesuffix("Z")
    return f"{since} UTC, when {known[-1].cells:,} of its cells had been measured"


def _command(study: Study, options: argparse.Namespace) -> str:
    """What repeats the study and its report, from nothing."""
    store = getattr(options, "store", DEFAULT_STORE)
    where = "" if store == DEFAULT_STORE else f" --store {shlex.quote(store)}"
    how = f" --laws {shlex.quote(options.laws)}" if options.laws else ""
    how += f" --seed {options.seed}" if options.seed else ""
    verb = "rescale" if study.growth else "run"
    return f"unsl {verb} {study.address}{where} && unsl report {study.address}{where}{how}"


def _ledger(study: Study, store: Store, points: Any) -> LedgerFacts | None:
    """What was forecast and what came of it; None where nothing was written down."""
    from pipeline.forecasts import Ledger, check_ledger
    from pipeline.report import ledger_facts

    if points.empty:
        return None
    try:
        checked = check_ledger(store, points, study=study)
    except PipelineError:  # no forecast was written down yet
        return None
    return ledger_facts([] if checked.faults else Ledger(store.folder).entries(), checked)


def _state(
    records: Mapping[str, CellRecord],
    running: bool,
    changes: Sequence[str],
    ledger: LedgerFacts | None,
    rounds: Sequence[Round],
) -> str:
    """Changes when anything but the points does that a report shows."""
    known = sorted((one.id, one.status, one.failure, one.message) for one in records.values())
    closed = [one.number for one in rounds if one.closed is not None]
    return hashlib.sha256(repr((known, running, list(changes), ledger, closed)).encode()).hexdigest()


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    """What fits into a W&B table: a row a law, without its coefficients; of every task, and what each law wins."""
    if "tasks" not in table:
        return [_flat(law) for law in table["laws"]]
    rows = [{"task": name, **_flat(law)} for name, one in table["tasks"].items() for law in one["laws"]]
    return [*rows, *({"task": "all", "law": law, "won": share} for law, share in table["won"].items())]


def _flat(law: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in law.items() if name != "parameters"}


REPORT = Verb(
    name="report",
    summary="fit, and write the report",
    example="unsl report quickstart --out report.html --json facts.json",
    add_options=add_options,
    run=run,
)
