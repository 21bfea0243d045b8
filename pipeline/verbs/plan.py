"""`unsl plan`: every cell with its state, cost and split, before anything runs."""

from __future__ import annotations

import argparse

from pipeline.plan import Prices, check_even, check_memory, make_plan
from pipeline.verbs.output import write_json
from pipeline.verbs.verb import Verb, add_json, add_prices, add_study, study_and_store


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)
    add_prices(parser)
    parser.add_argument(
        "--device-type", default="", metavar="NAME", help="predict for h100, a10g, cpu, ... (default: what was used)"
    )
    parser.add_argument("--all", action="store_true", help="show every cell")


def run(options: argparse.Namespace) -> int:
    study, store = study_and_store(options)
    made = make_plan(study, store, options.device_type)
    check_even(study, made.cells, study.devices_per_cell)
    if options.json:
        write_json(options.json, made.to_json())
    else:
        from pipeline.verbs import show

        show.plan(made, Prices.parse(options.price), all_cells=options.all)
    if not made.device_assumed:
        check_memory(study, made.to_run(retry_failed=True), made.device)
    return 0


PLAN = Verb(
    name="plan",
    summary="list every cell with its state, cost and split",
    example="unsl plan quickstart --json plan.json",
    add_options=add_options,
    run=run,
)
