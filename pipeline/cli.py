"""The command line: `unsl VERB STUDY`.

Exit codes: 0 done, 1 some cells failed, 2 bad use, 130 stopped on request with cells left to run.
Modules that are slow to import (pandas, Ray, torch, W&B, matplotlib) are imported by the verb that needs them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from fitting import FittingError
from pipeline.errors import PipelineError
from pipeline.plan import Plan, State, make_plan
from pipeline.store import Store
from pipeline.study import Study, load_study
from trainers import TrainerError

DEFAULT_STORE = "runs"
TRACKING_CLOSE_SECONDS = 60.0
"""How long a finished run waits for W&B. What is not sent by then stays in its offline files."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.verb(options)
    except (PipelineError, FittingError, TrainerError) as error:
        print(f"unsl: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone, as in `unsl plan STUDY | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def plan(options: argparse.Namespace) -> int:
    made = make_plan(*_study_and_store(options))
    if options.json:
        _write_json(options.json, made.to_json())
    else:
        from pipeline import show

        show.plan(made, every=options.all)
    return 0


def run(options: argparse.Namespace) -> int:
    study, store = _study_and_store(options)
    made = make_plan(study, store)
    _refuse_changes(made, accepted=options.accept_changes)
    planned = made.to_run(retry_failed=options.retry == "failed")
    if not planned:
        print(f"nothing to run: {_states(made)}. Next: unsl report {study.name}")
        return 1 if "failed" in made.counts() else 0

    from pipeline.driver import Driver
    from pipeline.executors import make_executor
    from pipeline.progress import Display, Progress, clock
    from pipeline.store import Writer
    from pipeline.tracking import make_tracker
    from pipeline.worker import use_one_thread

    use_one_thread()
    finished = sum(one.state.finished for one in made.cells)
    print(f"{study.name}: {len(planned)} cells to run ({_states(made)}), store {store.folder.path()}", file=sys.stderr)
    with Writer.open(store) as writer:
        tracker = make_tracker(options.wandb, study=study, folder=_tracking_folder(store))
        tracker.catch_up(store)
        executor = make_executor(
            options.executor,
            workers=options.workers,
            device=options.device,
            hang_seconds=60 * options.hang_minutes,
        )
        display = Display(Progress.of(planned, finished))
        try:
            driver = Driver(study=study, writer=writer, executor=executor, listeners=(display, tracker))
            outcome = driver.run(planned, made.throughput)
        finally:
            display.close()
            executor.close()
            tracking = tracker.close(TRACKING_CLOSE_SECONDS)
    for note in (tracker.note, tracking.message):
        if note:
            print(note, file=sys.stderr)
    left = f", {outcome.left} left to run: unsl run {study.name} goes on" if outcome.left else ""
    print(
        f"{study.name}: {outcome.done} done, {outcome.diverged} diverged, {outcome.failed} failed "
        f"in {clock(outcome.seconds)}{left}"
    )
    if outcome.failed:
        print(f"unsl status {study.name} --failed shows why; unsl run {study.name} --retry failed tries again")
    return outcome.exit_code


def status(options: argparse.Namespace) -> int:
    study, store = _study_and_store(options)
    records = store.records()
    if not records:
        raise PipelineError(
            f"study '{study.name}' has no runs in {store.folder.path()}: `unsl run {study.name}` starts it"
        )
    made = make_plan(study, store)
    failed = [record for record in records.values() if record.status == "failed"]
    holder = store.holder()
    remaining = [one for one in made.cells if not one.state.finished]
    facts = {
        "study": study.name,
        "cells": len(made.cells),
        "states": made.counts(),
        "driver": holder,
        "points": sum(record.points for record in records.values()),
        "worker_hours": sum(record.seconds for record in records.values()) / 3600,
        "remaining_worker_hours": sum(one.predicted_seconds for one in remaining) / 3600,
        "failed": [{"cell": r.id, "failure": r.failure, "message": r.message} for r in failed],
    }
    if options.json:
        _write_json(options.json, facts)
        return 0
    print(f"{study.name}: {len(made.cells)} cells: {_states(made)}; {facts['points']} points")
    print(f"{facts['worker_hours']:.3g} worker-hours spent, {facts['remaining_worker_hours']:.3g} predicted to go")
    print(f"driver: process {holder['process']} on {holder['host']}" if holder else "driver: none at work")
    if failed:
        from pipeline import show

        show.failures(failed, tracebacks=options.failed)
    return 0


def fit(options: argparse.Namespace) -> int:
    from pipeline.analysis import analyse

    study, store = _study_and_store(options)
    _print_laws(analyse(study, store.table(), laws=_laws(options), seed=options.seed).to_json(), options)
    return 0


def report(options: argparse.Namespace) -> int:
    from pipeline.analysis import analyse, fingerprint
    from pipeline.report import write_report

    study, store = _study_and_store(options)
    points = store.table()
    path = os.path.abspath(options.out or os.path.join(_local_folder(store), "report.html"))
    beside = os.path.splitext(path)[0] + ".json"
    made_from = fingerprint(study, points, laws=_laws(options), seed=options.seed)
    facts = _read_json(beside) if os.path.exists(path) else {}
    unchanged = facts.get("made_from") == made_from
    if not unchanged:
        analysis = analyse(study, points, laws=_laws(options), seed=options.seed)
        records = store.records()
        date = datetime.date.fromtimestamp(max(record.updated for record in records.values()))
        write_report(analysis, path, records=records, date=date)
        facts = {"made_from": made_from, **analysis.to_json()}
        _write_json(beside, facts)
    _print_laws(facts, options)
    note = " (unchanged: nothing was fitted again)" if unchanged else ""
    print(f"report: {path}{note}", file=sys.stderr if options.json == "-" else sys.stdout)
    return 0


def _laws(options: argparse.Namespace) -> tuple[str, ...]:
    return tuple(law.strip() for law in options.laws.split(",")) if options.laws else ()


def _print_laws(facts: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        _write_json(options.json, facts)
    if options.json != "-":
        from pipeline import show

        show.laws(facts)


def _study_and_store(options: argparse.Namespace) -> tuple[Study, Store]:
    study = load_study(options.study)
    study.check()
    return study, Store(options.store, study.name)


def _states(made: Plan) -> str:
    return ", ".join(f"{count} {state}" for state, count in made.counts().items())


def _refuse_changes(made: Plan, *, accepted: bool) -> None:
    changed = [one for one in made.cells if one.state is State.CHANGED]
    if changed and not accepted:
        raise PipelineError(
            f"{len(changed)} cells of '{made.study.name}' changed since they were run, the first because "
            f"{changed[0].reason}. Undo the change, or run them as new with "
            "--accept-changes (what was measured before stays in the store)"
        )


def _local_folder(store: Store) -> str:
    """Where files for people go: into the study's folder, or here where the store is remote."""
    return store.folder.path() if store.folder.is_local else "."


def _tracking_folder(store: Store) -> str:
    return os.path.join(_local_folder(store), "wandb")


def _write_json(path: str, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False)
    if path == "-":
        print(text)
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _read_json(path: str) -> dict[str, Any]:
    """What `_write_json` wrote, or nothing where that cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unsl", description="Plan, run, fit and report scaling studies.", epilog="example: unsl run quickstart"
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    one = _verb(verbs, plan, "list every cell with its state, cost and split", "unsl plan quickstart --json plan.json")
    one.add_argument("--all", action="store_true", help="show every cell")

    one = _verb(verbs, run, "run the cells that are not done", "unsl run quickstart --executor inline", json=False)
    one.add_argument("--executor", choices=("ray", "inline"), default="ray", help="a Ray cluster, or this process")
    one.add_argument("--workers", type=_positive, metavar="N", help="jobs at once (default: every core or GPU)")
    one.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    one.add_argument(
        "--wandb", choices=("auto", "online", "offline", "off"), default="auto", help="W&B (default: auto)"
    )
    one.add_argument("--retry", choices=("failed",), help="run cells again that failed")
    one.add_argument(
        "--hang-minutes", type=float, default=30.0, help="end a job that is silent this long (default: 30)"
    )
    one.add_argument("--accept-changes", action="store_true", help="run changed cells as new ones")

    one = _verb(verbs, status, "what is done, running and failed", "unsl status quickstart --failed")
    one.add_argument("--failed", action="store_true", help="show the tracebacks of failed cells")

    for verb, summary in (
        (fit, "fit the laws and score them on the held-out points"),
        (report, "fit, and write the report"),
    ):
        one = _verb(verbs, verb, summary, f"unsl {verb.__name__} quickstart --laws cf,unsl")
        one.add_argument("--laws", help="laws to fit, separated by commas (default: the study's)")
        one.add_argument("--seed", type=int, default=0, help="seed of the fits' random starts")
        if verb is report:
            one.add_argument("--out", metavar="FILE", help="the HTML file (default: report.html in the study's store)")
    return parser


def _verb(verbs: Any, verb: Any, summary: str, example: str, *, json: bool = True) -> argparse.ArgumentParser:
    parser = verbs.add_parser(verb.__name__, help=summary, description=summary, epilog=f"example: {example}")
    parser.set_defaults(verb=verb)
    parser.add_argument("study", metavar="STUDY", help="a file of experiments/, without .py")
    parser.add_argument(
        "--store",
        default=os.environ.get("UNSL_STORE", DEFAULT_STORE),
        help=f"folder or URL of all studies (default: $UNSL_STORE or {DEFAULT_STORE})",
    )
    if json:
        parser.add_argument(
            "--json", nargs="?", const="-", metavar="FILE", help="write JSON, to FILE or standard output"
        )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
