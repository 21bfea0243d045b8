"""`unsl plan`: every cell with its state, cost and split, before anything runs."""

from __future__ import annotations

import argparse

from pipeline.plan import make_plan
from pipeline.verbs.output import write_json
from pipeline.verbs.verb import Verb, add_json, add_study, study_and_store


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)
    parser.add_argument("--all", action="store_true", help="show every cell")


def run(options: argparse.Namespace) -> int:
    made = make_plan(*study_and_store(options))
    if options.json:
        write_json(options.json, made.to_json())
    else:
        from pipeline.verbs import show

        show.plan(made, all_cells=options.all)
    return 0


PLAN = Verb(
    name="plan",
    summary="list every cell with its state, cost and split",
    example="unsl plan quickstart --json plan.json",
    add_options=add_options,
    run=run,
)
