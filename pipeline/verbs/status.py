"""`unsl status`: what is done, running and failed, also while another process runs the study."""

from __future__ import annotations

import argparse
import time

from pipeline.errors import PipelineError
from pipeline.plan import Accounts, Prices, State, make_plan
from pipeline.verbs.output import write_json
from pipeline.verbs.verb import Verb, add_json, add_prices, add_study, study_and_store


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)
    add_prices(parser)
    parser.add_argument("--failed", action="store_true", help="show the tracebacks of failed cells")


def run(options: argparse.Namespace) -> int:
    from pipeline.run import Progress
    from pipeline.verbs import show

    study, store = study_and_store(options)
    records = store.records()
    if not records:
        raise PipelineError(
            f"study '{study.name}' has no runs in {store.folder.path()}: `unsl run {study.address}` starts it"
        )
    made = make_plan(study, store)
    failed = [record for record in records.values() if record.status == "failed"]
    held = [one for one in made.cells if one.state is State.HELD]
    holder = store.holder()
    accounts = Accounts.read(store.folder)
    latest = accounts.all[-1] if accounts.all else None
    progress = Progress.read(made, records, since=holder.started, now=time.time()) if holder else None
    from pipeline.rescale import current_alarms, read_glances

    rounds = store.rounds() if study.growth else []
    alarms, glances = current_alarms(rounds), read_glances(store.folder)
    facts = {
        "study": study.name,
        "alarms": alarms,
        "rounds": len(rounds),
        "forecast": vars(glances[-1]) if glances else None,
        "round_is_open": bool(rounds) and rounds[-1].closed is None,
        "cells": len(made.cells),
        "states": made.counts(),
        "driver": {name: getattr(holder, name) for name in ("process", "host", "started")} if holder else None,
        "progress": progress.to_json() if progress else None,
        "points": sum(record.points for record in records.values()),
        "training_hours": sum(record.seconds for record in records.values()) / 3600,
        "remaining_training_hours": sum(one.remaining_seconds for one in made.cells) / 3600,
        "spent_hours": {device: seconds / 3600 for device, seconds in accounts.held.items()},
        "spent_usd": Prices.parse(options.price).cost(accounts.held) if options.price else None,
        "gpu_idle_share": latest.idle_share if latest else None,
        "sick_nodes": [vars(node) for node in latest.sick] if latest else [],
        "failed": [{"cell": r.id, "failure": r.failure, "message": r.message} for r in failed],
        "held": [{"cell": one.cell.id, "step": one.reached, "reason": one.reason} for one in held],
    }
    if options.json:
        write_json(options.json, facts)
        return 0
    for alarm in alarms:
        print(f"ALARM: {alarm}")
    print(f"{study.name}: {len(made.cells)} cells: {made.states()}; {facts['points']} points")
    if rounds:
        print(f"round {len(rounds)}, begun {rounds[-1].opened}: {'under way' if facts['round_is_open'] else 'closed'}")
    print(
        f"spent: {Prices.parse(options.price).show(accounts.held)}"
        + (f", GPUs idle {latest.idle_share:.0%}" if latest and latest.idle_share is not None else "")
        + f"; {facts['remaining_training_hours']:.3g} hours of training predicted to go"
    )
    for node in latest.sick if latest else ():
        print(f"sick: {node.to_text()}")
    print(f"driver: process {holder.process} on {holder.host}" if holder else "driver: none at work")
    if progress:
        rate = f"{progress.cells_per_minute:.3g} cells/min"
        print(f"{len(progress.running)} running, {progress.share:.0%} done, {rate}, {progress.eta()}")
    if glances:
        ago = (time.time() - glances[-1].at) / 60
        print(f"forecast, {ago:.0f} minutes ago: {glances[-1].to_text()}, ±{glances[0].interval:.1%} at first")
    if held:
        show.held(made.study, held)
    if failed:
        show.failures(failed, tracebacks=options.failed)
    return 0


STATUS = Verb(
    name="status",
    summary="what is done, running and failed",
    example="unsl status quickstart --failed",
    add_options=add_options,
    run=run,
)
