"""`unsl allocate`: the inputs and hyperparameters that a law would spend a budget on."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.errors import PipelineError, suggest
from pipeline.verbs.about import About
from pipeline.verbs.fit import add_own_table
from pipeline.verbs.output import say, write_json
from pipeline.verbs.verb import Verb, add_json, add_study, names, new_file, positive, whole_number

COUNTINGS = {"parameters": ("parameters_without_embeddings",)}
"""Columns of a study's table that count the same thing in another way."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser, or_table=True)
    add_json(parser)
    add = parser.add_argument
    add("--cost", required=True, metavar="EXPR", help="'6 * parameters * dataset_size', or '6*N*D + 2*N*T'")
    add("--budget", required=True, metavar="C,..", help="in the unit of the cost: 1e21,1e22")
    add("--fix", metavar="NAME=X,..", action="append", default=[], help="columns or names of the cost that are given")
    add("--within", metavar="EXPR", default="", help="what the optimum must fulfil: 'N <= 1e11'")
    add("--law", default="unsl", help="the law that decides (default: unsl)")
    add("--seed", type=whole_number(0), default=0, help="seed of the fit's starts and of the draws")
    add("--level", type=positive, default=0.9, help="probability of the intervals (default: 0.9)")
    add("--task", metavar="NAME", default="", help="whose law, where there are several: as `unsl fit` names it")
    add("--everything", action="store_true", help="fit what was held out too")
    add("--counting", metavar="COL,..", default="", help="columns that count the first input in other ways")
    add("--figure", metavar="FILE", type=new_file, help="isoFLOP curves with the optimum's path, as SVG")
    add_own_table(parser, "unsl allocate runs.csv --metric loss --inputs N,D --cost '6 * N * D' --budget 1e21,1e22")


def run(options: argparse.Namespace) -> int:
    about = About.of(options)
    question = about.question(options, everything=options.everything)
    budgets, fixed = _budgets(options.budget), _fixed(options.fix)
    rows = about.rows()
    first = question.inputs[0]
    answers = []
    for counting in (first, *_countings(options.counting, first, rows)):
        counted = rows if counting == first else rows.assign(**{first: rows[counting]})
        table = about.divide(question, counted, options.task).fitted
        answers.append((counting, _allocate(table, options, budgets, fixed)))
    facts = {
        "about": about.name,
        "metric": question.metric.name,
        "law": options.law,
        "cost": options.cost,
        "level": options.level,
        "answers": [to_json(found, question.metric, counting) for counting, found in answers],
    }
    if options.figure:
        from pipeline.forecasts import draw_allocation

        draw_allocation(answers[0][1], question.metric, first, options.figure)
        say(f"figure: {options.figure}")
    if options.json:
        write_json(options.json, facts)
    if options.json != "-":
        from pipeline.verbs import show

        show.allocation(facts)
    return 0


def _allocate(table: Any, options: argparse.Namespace, budgets: Sequence[float], fixed: Mapping[str, float]) -> Any:
    from fitting import FitStatus, allocate, fit

    found = fit(options.law, table, seed=options.seed)
    if found.status is FitStatus.FAILED:
        raise PipelineError(f"{options.law} cannot be fitted here, so it allocates nothing: try another --law")
    how = {"fixed": fixed, "within": options.within, "level": options.level, "seed": options.seed}
    return allocate(found, options.cost, budgets, **how)


def to_json(found: Any, metric: Any, counting: str) -> dict[str, Any]:
    """One answer; the metric in its own units."""
    return {
        "counting": counting,
        "exponents": {name: list(values) for name, values in found.exponents.items()},
        "optima": [
            {
                "budget": one.budget,
                "at": dict(one.at),
                "metric": float(metric.from_loss(one.y)),
                "interval": sorted(float(metric.from_loss(end)) for end in (one.low, one.high)),
                "intervals": {name: list(ends) for name, ends in one.intervals.items()},
                "off_by_two": {
                    name: [rise if math.isfinite(rise) else None for rise in rises]
                    for name, rises in one.off_by_two.items()
                },
                "worth": one.worth,
                "edges": list(one.edges),
                "beyond": dict(one.beyond),
            }
            for one in found.optima
        ],
    }


def _budgets(text: str) -> list[float]:
    try:
        found = [float(part) for part in names(text)]
    except ValueError as error:
        raise PipelineError(f"--budget {text}: give numbers, such as 1e21,1e22") from error
    if not found or not all(0 < one < math.inf for one in found):
        raise PipelineError(f"--budget {text}: give positive finite numbers, such as 1e21,1e22")
    return found


def _fixed(texts: Sequence[str]) -> dict[str, float]:
    fixed = {}
    for part in (part for text in texts for part in names(text)):
        name, _, value = (piece.strip() for piece in part.partition("="))
        try:
            fixed[name] = float(value)
        except ValueError as error:
            raise PipelineError(f"--fix {part}: write NAME=NUMBER, such as learning_rate=1e-3") from error
    return fixed


def _countings(asked: str, first: str, rows: Any) -> list[str]:
    """Other columns that count the first input, and say something else than it does."""
    for name in names(asked):
        if name not in rows:
            raise PipelineError(f"--counting {name}: there is no such column; {suggest(name, rows)}")
    known = names(asked) or tuple(name for name in COUNTINGS.get(first, ()) if name in rows)
    return [name for name in known if not (rows[name] == rows[first]).all()]


ALLOCATE = Verb(
    name="allocate",
    summary="what a budget is best spent on, by a law that was fitted",
    example="unsl allocate quickstart --cost 'parameters * step' --budget 1e7,1e8 --fix dataset_size=32000",
    add_options=add_options,
    run=run,
)
