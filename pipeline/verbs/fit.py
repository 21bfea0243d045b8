"""`unsl fit`: fit the laws to a study, or to a table of one's own, and score them on held-out points."""

from __future__ import annotations

import argparse
import math
from typing import Any

from fitting import LAWS, Metric
from pipeline.analysis import Question, analyse, compare_tasks, is_table_file, read_table
from pipeline.errors import PipelineError
from pipeline.verbs.output import write_json
from pipeline.verbs.verb import (
    Verb,
    add_json,
    add_laws,
    add_study,
    names,
    number,
    positive,
    question_changes,
    study_and_store,
)


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser, or_table=True)
    add_json(parser)
    add_laws(parser)
    parser.add_argument(
        "--loss", choices=("msle", "huber"), default="msle", help="squared log error, or Huber's (1e-3)"
    )
    parser.add_argument(
        "--plain", action="store_true", help="one least-loss fit a law: no ridge, no average of candidates"
    )
    add_own_table(parser, "unsl fit runs.csv --metric loss --inputs N,D --hyperparameters lr --held-out 'N >= 1e9'")


def add_own_table(parser: argparse.ArgumentParser, example: str) -> None:
    """What a study says of its points must be said of a table."""
    add = parser.add_argument_group("a table of your own", example).add_argument
    add("--metric", metavar="COL", help="the column to forecast")
    add("--inputs", metavar="A,B", help="columns of scale, positive")
    add("--hyperparameters", metavar="H,..", help="columns that have an optimum, positive")
    add("--tasks", metavar="COL,..", help="columns that name a task, such as a family of models: one fit each")
    add("--group", metavar="COL", help="rows of a group with equal inputs differ by chance alone")
    add("--held-out", metavar="EXPR", help="rows to forecast: 'N >= 1e9 or 6 * N * D > 1e21'")
    add("--exclude", metavar="EXPR", action="append", default=[], help="rows to leave out; may be repeated")
    add("--ceiling", metavar="X", type=_ceiling, default="auto", help="worst value of the loss: a number, auto or none")
    add("--direction", choices=("lower", "higher"), default="lower", help="which values are better")
    add("--best", metavar="X", type=number, help="the best value, where higher is better: 1 for accuracy")
    add("--floor", metavar="X", type=number, help="a bound below every value, for those that may be negative: returns")
    add("--count", metavar="COL", help="of how many trials the metric is a rate: rates of 0 and 1 are then data too")


def run(options: argparse.Namespace) -> int:
    refuse_stray_options(options)
    if is_table_file(options.study):
        print_laws(_fit_table(options), options)
        return 0
    study, store = study_and_store(options)
    points = store.table()
    how = {"laws": names(options.laws), "seed": options.seed, "loss": options.loss, "plain": options.plain}
    analysis = analyse(study, points, **how, question_changes=question_changes(study, store))
    print_laws(analysis.to_json(), options)
    return 0


def print_laws(facts: dict[str, Any], options: argparse.Namespace) -> None:
    """The table of laws, on the terminal or as JSON."""
    from pipeline.verbs import show

    if options.json:
        write_json(options.json, facts)
    if options.json != "-":
        show.laws(facts)


def own_question(options: argparse.Namespace) -> Question:
    """What is asked of a table that is no study. Raises PipelineError where the options do not say it."""
    if not options.metric or not options.inputs:
        raise PipelineError("a table needs --metric COLUMN and --inputs COLUMN,COLUMN: which column is what?")
    inputs, hyperparameters = names(options.inputs), names(options.hyperparameters)
    return Question(
        about=options.study,
        metric=Metric(
            name=options.metric,
            direction=options.direction,
            ceiling=options.ceiling,
            best=options.best,
            floor=options.floor or 0.0,
        ),
        count=options.count or "",
        inputs=inputs,
        hyperparameters=hyperparameters,
        held_out=options.held_out or "",
        excluded={text: text for text in options.exclude},
        # Rows of one group that agree in every input and hyperparameter differ by chance alone.
        replicates=(options.group, *inputs, *hyperparameters) if options.group else (),
        tasks=names(options.tasks),
    )


def _fit_table(options: argparse.Namespace) -> dict[str, Any]:
    laws, how = names(options.laws) or tuple(LAWS), {"loss": options.loss, "plain": options.plain}
    tasks = compare_tasks(own_question(options), read_table(options.study), laws, seed=options.seed, **how)
    return {"table": options.study, **tasks.to_json()}


def refuse_stray_options(options: argparse.Namespace) -> None:
    """A study says what is asked of it; a table has no tiers."""
    if is_table_file(options.study):
        if options.tier:
            raise PipelineError(f"--tier {options.tier}: {options.study} is a table, and only studies have tiers")
        return
    for name in (
        "metric",
        "inputs",
        "hyperparameters",
        "tasks",
        "group",
        "held_out",
        "exclude",
        "best",
        "floor",
        "count",
    ):
        if getattr(options, name):
            option = name.replace("_", "-")
            raise PipelineError(f"--{option} is for a table of your own: the study '{options.study}' says it itself")


def _ceiling(text: str) -> float | None:
    """None for a ceiling that is fitted, infinity where there is none."""
    if text in ("auto", "none"):
        return None if text == "auto" else math.inf
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        message = f"{error}, auto (it is fitted) or none (there is none)"
        raise argparse.ArgumentTypeError(message) from error


FIT = Verb(
    name="fit",
    summary="fit the laws and score them on held-out points",
    example="unsl fit quickstart --laws cf,unsl",
    add_options=add_options,
    run=run,
)
