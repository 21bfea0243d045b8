"""`unsl check`: score the forecasts whose targets have been measured."""

from __future__ import annotations

import argparse

from pipeline.verbs.about import About
from pipeline.verbs.output import say, write_json
from pipeline.verbs.verb import Verb, add_json, add_study, new_file


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser, or_table=True)
    add_json(parser)
    parser.add_argument("--figure", metavar="FILE", type=new_file, help="reliability diagram and PIT, as SVG")


def run(options: argparse.Namespace) -> int:
    from pipeline.forecasts import check_ledger, draw_check

    about = About.of(options)
    checked = check_ledger(about.store, about.rows(), study=about.study, table=about.table)
    facts = {"about": about.name, **checked.to_json()}
    if options.figure:
        draw_check(facts, options.figure)
        say(f"figure: {options.figure}")
    if options.json:
        write_json(options.json, facts)
    if options.json != "-":
        from pipeline.verbs import show

        show.check(facts)
    return 1 if facts["faults"] else 0


CHECK = Verb(
    name="check",
    summary="score the forecasts whose targets have been measured",
    example="unsl check quickstart --figure reliability.svg",
    add_options=add_options,
    run=run,
)
