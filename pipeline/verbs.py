"""The verbs of the command line, each from its parsed options to an exit code.

Modules that are slow to import (pandas, Ray, torch, W&B, matplotlib) are imported by the verb that needs them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import sys
import time
from contextlib import ExitStack
from typing import Any

from pipeline.brought import names
from pipeline.budget import Budget
from pipeline.errors import PipelineError
from pipeline.plan import Plan, PlannedCell, State, make_plan
from pipeline.store import Store, Writer
from pipeline.study import Study, load_study, show_config

TRACKING_CLOSE_SECONDS = 60.0
"""How long a finished run waits for W&B. What is not sent by then is sent by `unsl sync`."""


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
    budget = Budget.parse(options.budget) if options.budget else None
    with Writer.open(store) as writer:
        made = make_plan(study, store)
        _refuse_changes(made, accepted=options.accept_changes)
        planned = made.to_run(retry_failed=options.retry == "failed")
        if planned:
            return _run(options, made, planned, writer, budget)
    print(f"nothing to run: {_states(made)}. Next: unsl report {study.name}")
    return 1 if "failed" in made.counts() else 0


def _run(
    options: argparse.Namespace, made: Plan, planned: list[PlannedCell], writer: Writer, budget: Budget | None
) -> int:
    from pipeline.driver import Driver
    from pipeline.executors import make_executor
    from pipeline.progress import Display, Progress, clock
    from pipeline.tracking import make_tracker
    from pipeline.worker import use_one_thread

    study, store = made.study, writer.store
    use_one_thread()
    with ExitStack() as stack:
        executor = make_executor(
            options.executor, workers=options.workers, device=options.device, hang_seconds=60 * options.hang_minutes
        )
        stack.callback(executor.close)
        held: list[PlannedCell] = []
        spent_hours = sum(record.seconds for record in store.records().values()) / 3600
        if budget:
            budget.check_worker(executor.device)
            if options.trim:
                planned, held = budget.trim(planned, spent_hours=spent_hours)
            budget.check_plan(planned, spent_hours=spent_hours)
        tracker = make_tracker(options.wandb, study=study, folder=_tracking_folder(store))
        stack.callback(lambda: _say(tracker.note, tracker.close(TRACKING_CLOSE_SECONDS).message))
        tracker.catch_up(store)
        _say(f"{study.name}: {len(planned)} cells to run ({_states(made)}), store {store.folder.path()}")
        if held:
            _say(f"held back by the budget: {len(held)} cells, the first with {show_config(held[0].cell.config)}")
        progress = Progress.of(
            planned,
            already_done=sum(one.state.finished for one in made.cells),
            held=len(held),
            budget_hours=budget.hours if budget else None,
        )
        display = Display(progress)
        stack.callback(display.close)
        outcome = Driver(
            study=study,
            writer=writer,
            executor=executor,
            listeners=(display, tracker),
            budget_seconds=3600 * (budget.hours - spent_hours) if budget else math.inf,
        ).run(planned, made.throughput)
    predicted = sum(one.predicted_seconds for one in planned)
    left = f", {outcome.left} left to run: unsl run {study.name} goes on" if outcome.left else ""
    print(
        f"{study.name}: {outcome.done} done, {outcome.diverged} diverged, {outcome.failed} failed "
        f"in {clock(outcome.seconds)}{left}\n"
        f"worker-hours: {predicted / 3600:.3g} predicted, {outcome.worker_seconds / 3600:.3g} spent"
        + (" (stopped at the budget)" if outcome.over_budget else "")
    )
    if outcome.failed:
        print(f"unsl status {study.name} --failed shows why; unsl run {study.name} --retry failed tries again")
    return outcome.exit_code


def status(options: argparse.Namespace) -> int:
    from pipeline.progress import Progress

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
    progress = Progress.read(made, records, since=holder["started"], now=time.time()) if holder else None
    facts = {
        "study": study.name,
        "cells": len(made.cells),
        "states": made.counts(),
        "driver": holder,
        "progress": progress.to_json() if progress else None,
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
    if progress:
        rate = 60 * progress.cells_per_second
        print(f"{len(progress.running)} running, {progress.share:.0%} done, {rate:.3g} cells/min, {progress.eta()}")
    if failed:
        from pipeline import show

        show.failures(failed, tracebacks=options.failed)
    return 0


def fit(options: argparse.Namespace) -> int:
    from pipeline.analysis import analyse
    from pipeline.brought import fit_brought, is_file

    if is_file(options.study):
        _print_laws(fit_brought(options), options)
        return 0
    study, store = _study_and_store(options)
    how = {"laws": names(options.laws), "seed": options.seed, "loss": options.loss, "plain": options.plain}
    analysis = analyse(study, store.table(), **how)
    _print_laws(analysis.to_json(), options)
    return 0


def report(options: argparse.Namespace) -> int:
    from pipeline.analysis import analyse, fingerprint
    from pipeline.last_fit import LastFit
    from pipeline.report import write_report
    from pipeline.tracking import make_tracker

    study, store = _study_and_store(options)
    points = store.table()
    path = os.path.abspath(options.out or os.path.join(_local_folder(store), "report.html"))
    beside = os.path.splitext(path)[0] + ".json"
    made_from = fingerprint(study, points, laws=names(options.laws), seed=options.seed)
    facts = _read_json(beside) if os.path.exists(path) else {}
    unchanged = facts.get("made_from") == made_from
    if not unchanged:
        analysis = analyse(study, points, laws=names(options.laws), seed=options.seed)
        records = store.records()
        date = datetime.date.fromtimestamp(max(record.updated for record in records.values()))
        write_report(analysis, path, records=records, date=date)
        facts = {"made_from": made_from, **analysis.to_json()}
        _write_json(beside, facts)
        tracker = make_tracker(options.wandb, study=study, folder=_tracking_folder(store))
        fit = LastFit.of([_flat(law) for law in facts["laws"]], path)
        try:
            fit.save(store.folder)
        except OSError as error:  # A store that one may only read is no reason to have no report.
            _say(f"the store does not keep this fit for `unsl sync`: {error}")
        tracker.summarise(fit)
        _say(tracker.close(TRACKING_CLOSE_SECONDS).message)
    _print_laws(facts, options)
    note = " (unchanged: nothing was fitted again)" if unchanged else ""
    print(f"report: {path}{note}", file=sys.stderr if options.json == "-" else sys.stdout)
    return 0


def exam(options: argparse.Namespace) -> int:
    from fitting.exams.command import run as hold_exams

    return hold_exams(options)


def sync(options: argparse.Namespace) -> int:
    from pipeline.last_fit import LastFit
    from pipeline.tracking import sync as send

    study, store = _study_and_store(options)
    outcome = send(options.wandb, study=study, store=store, folder=_tracking_folder(store))
    fit = " and the fit" if outcome.fits else ""
    kept = LastFit.load(store.folder) if outcome.fits else None
    if kept and kept.report and not kept.report_here:
        fit += f" (without its report: {kept.report} is not on this machine)"
    print(f"{outcome.runs} runs with {outcome.points} points{fit} sent, {outcome.runs_left + outcome.fits_left} left")
    _say(outcome.message)
    return 1 if outcome.message else 0


def _flat(law: dict[str, Any]) -> dict[str, Any]:
    """A law's row without its coefficients: what fits into a W&B table."""
    return {name: value for name, value in law.items() if name != "parameters"}


def _say(*messages: str) -> None:
    """News for the person who waits, apart from the verb's output."""
    for message in filter(None, messages):
        print(message, file=sys.stderr)


def _print_laws(facts: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        _write_json(options.json, facts)
    if options.json != "-":
        from pipeline import show

        show.laws(facts)


def _study_and_store(options: argparse.Namespace) -> tuple[Study, Store]:
    study = load_study(options.study, options.tier)
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
