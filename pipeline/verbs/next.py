"""`unsl next`: the cells to run next, those that narrow a forecast most for what they cost."""

from __future__ import annotations

import argparse

from pipeline.errors import PipelineError
from pipeline.plan import Budget, Prices
from pipeline.verbs.about import About
from pipeline.verbs.fit import add_own_table
from pipeline.verbs.output import write_json
from pipeline.verbs.verb import Verb, add_json, add_prices, add_study, add_target, positive, target_texts, whole_number

MOST = 8
"""Cells that are proposed where neither a number nor a budget is given."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser, or_table=True)
    add_json(parser)
    add = parser.add_argument
    add_target(
        parser, "what is to be foretold: 'parameters=7e9, dataset_size=1.4e11' (default: what the study's growth says)"
    )
    add("--budget", metavar="LIMIT", help="what they may cost together: 4gpu-hours; of a table, in the unit of --cost")
    add("-n", type=whole_number(1), metavar="N", help=f"at most so many (default: {MOST}, or what the budget covers)")
    add("--law", default="", help="the law whose forecast counts (default: the study's last, or unsl)")
    add("--cost", metavar="EXPR", help="of a table's row: '6 * N * D'")
    add(
        "--device-type",
        default="",
        metavar="NAME",
        help="predict costs for h100, a10g, cpu, ... (default: what was used)",
    )
    add("--seed", type=whole_number(0), default=0, help="seed of the fit's random starts")
    add_prices(parser)
    add_own_table(parser, "unsl next runs.csv --metric loss --inputs N,D --target 'N=7e9, D=1.4e11' --cost '6 * N * D'")


def run(options: argparse.Namespace) -> int:
    from pipeline.forecasts import named_targets
    from pipeline.rescale import leading_law, next_cells, next_rows, read_targets

    about = About.of(options)
    question = about.question(options)
    most = options.n or (None if options.budget else MOST)
    if about.study:
        study = about.study
        if options.cost:
            raise PipelineError(f"--cost is for a table of your own: what a cell of '{study.name}' costs is measured")
        budget = Budget.parse(options.budget, Prices.parse(options.price)) if options.budget else None
        texts = target_texts(options, study)
        made = next_cells(
            study,
            about.store,
            read_targets(study, texts),
            law=options.law or leading_law(study),
            budget=budget,
            most=most,
            device=options.device_type,
            seed=options.seed,
        )
    else:
        if not options.cost:
            raise PipelineError(f"{about.name} is a table: say what a row costs, as in --cost '6 * N * D'")
        texts = target_texts(options, None)
        made = next_rows(
            question,
            about.rows(),
            named_targets(texts, question, question.tasks),
            law=options.law or "unsl",
            cost=options.cost,
            budget=_amount(options.budget) if options.budget else None,
            most=most,
            seed=options.seed,
        )
    facts = {"about": about.name, "metric": question.metric.name, "targets": list(texts), **made.to_json()}
    if options.json:
        write_json(options.json, facts)
    if options.json != "-":
        from pipeline.verbs import show_rounds

        show_rounds.proposal(facts)
    return 0


def _amount(text: str) -> float:
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise PipelineError(f"--budget {error}: of a table it is a number in the unit of --cost") from error


NEXT = Verb(
    name="next",
    summary="choose the cells to run next: those that narrow a forecast most for what they cost",
    example="unsl next quickstart --target 'parameters=2e4, dataset_size=1e5, step=8192, learning_rate=3e-3' -n 8",
    add_options=add_options,
    run=run,
)
