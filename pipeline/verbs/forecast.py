"""`unsl forecast`: what the laws say of places that nobody has measured, how sure they are and why."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.verbs.about import About
from pipeline.verbs.fit import add_own_table
from pipeline.verbs.output import say, write_json
from pipeline.verbs.verb import Verb, add_json, add_laws, add_study, names, positive

EXAMS_REACH = 4.0
"""By what factor beyond the fitted range the exams ask. In their farthest input, three of four exams with several
inputs, and all of those with one but eight of 136, hold out no more than four times the largest that is fitted."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser, or_table=True)
    add_json(parser)
    add_laws(parser)
    add = parser.add_argument
    add(
        "--at",
        metavar="TARGET",
        action="append",
        default=[],
        help="'parameters=7e9, dataset_size=1.4e11'; may be repeated (default: what the study holds out)",
    )
    add("--level", type=positive, default=0.9, help="probability that the interval holds a measurement (default: 0.9)")
    add("--everything", action="store_true", help="fit what was held out too")
    add("--inside", action="store_true", help="allow targets that lie within the fitted ranges")
    add("--ledger", action="store_true", help="write the forecast into the ledger: `unsl check` scores it later")
    add_own_table(parser, "unsl forecast runs.csv --metric loss --inputs N,D --at 'N=7e9, D=1.4e11'")


def run(options: argparse.Namespace) -> int:
    from pipeline.forecasts import held_out_targets, named_targets

    if not 0 < options.level < 1:
        raise PipelineError(f"--level {options.level:g} must be a probability between 0 and 1, such as 0.9")
    about = About.of(options)
    question = about.question(options, everything=options.everything)
    rows = about.rows()
    if options.at:
        targets = named_targets(options.at, question, [str(name) for name in rows.columns])
    elif about.study:
        targets = held_out_targets(about.study)
    else:
        raise PipelineError(f"{about.name} is a table: say what to forecast, as in --at 'N=7e9, D=1.4e11'")
    tasks = about.by_task(question, rows)
    if unknown := [i for i in range(len(targets)) if not _in_a_task(targets, i, tasks)]:
        asked = ", ".join(f"{name}={targets.columns[name][unknown[0]]}" for name in question.tasks)
        raise PipelineError(f"no measurement is of the task {asked}: those measured are {'; '.join(tasks)}")
    facts = {
        name: _forecast(about, options, asked, part, wanted)
        for name, (asked, part) in tasks.items()
        if len(wanted := targets.of_task(asked.task)) or not len(targets)
    }
    said = {"about": about.name, "tasks": facts} if question.tasks else facts[""]
    if options.json:
        write_json(options.json, said)
    if options.json != "-":
        from pipeline.verbs import show

        for name, one in facts.items():
            if name:
                print(f"{name}:")
            show.forecasts(one)
    return 0


def _in_a_task(targets: Any, number: int, tasks: Mapping[str, Any]) -> bool:
    one = targets.where(np.arange(len(targets)) == number)
    return any(len(one.of_task(asked.task)) for asked, _ in tasks.values())


def _forecast(about: About, options: argparse.Namespace, question: Any, rows: Any, targets: Any) -> dict[str, Any]:
    """What the laws of one task say of its targets."""
    from pipeline.forecasts import Ledger, fit_laws, make_entry

    divided = question.divide(rows)
    _refuse_inside(divided.fitted, targets, allowed=options.inside)
    laws = names(options.laws) or tuple(about.laws)
    fitted = fit_laws(question, divided, laws, targets, seed=options.seed)
    _refuse_failed(fitted.failed, all_of=laws, asked=bool(options.laws))
    ledger = Ledger(about.store.folder)
    keep = ledger.keep_fit if options.ledger else lambda fit: ""
    entry = make_entry(about.name, fitted, targets, blind=~targets.measured(about.rows()), keep=keep)
    if options.ledger:
        made = ledger.append(entry)
        old = made.time < entry.time
        say(f"{'already there as' if old else 'written as'} entry {made.number} of the ledger, {made.hash[:12]}")
        entry = made
    return to_json(fitted, targets, entry, level=options.level)


def to_json(fitted: Any, targets: Any, entry: Any, *, level: float) -> dict[str, Any]:
    """The forecasts of every law at every target, with what their uncertainty is made of."""
    from pipeline.forecasts import distance

    question, table = fitted.question, fitted.table
    beyond = distance(table, targets)
    reads = (*question.inputs, *question.hyperparameters)
    wanted = targets.numbers(reads)
    said: dict[str, Mapping[str, Any]] = {}
    for law, fit in fitted.fits.items():
        known = fit.uncertainty({name: wanted[name] for name in fit.columns})
        ends = np.stack([question.metric.from_loss(end) for end in known.interval(level)])
        said[law] = {
            "median": question.metric.from_loss(np.exp(known.log_median)),
            "low": ends.min(0),
            "high": ends.max(0),
            **known.shares(),
        }
    listed = [
        {
            "at": {name: float(wanted[name][i]) for name in reads},
            "beyond": {name: float(factors[i]) for name, factors in beyond.items()},
            "blind": entry.blind[i],
            "laws": {law: {name: float(values[i]) for name, values in facts.items()} for law, facts in said.items()},
        }
        for i in range(len(targets))
    ]
    return {
        "about": entry.about,
        "metric": question.metric.name,
        "level": level,
        "rows": entry.rows,
        "ranges": {name: list(ends) for name, ends in entry.ranges.items()},
        "entry": entry.number or None,
        "failed": dict(fitted.failed),
        "warnings": _warnings(beyond, table),
        "targets": listed,
    }


def _warnings(beyond: Mapping[str, np.ndarray], table: Any) -> list[str]:
    found = []
    for name, factors in beyond.items():
        values, most = table.columns[name], float(factors.max())
        if values.min() == values.max() and most > 1:
            found.append(f"{name} was {values[0]:g} in every fitted row: no law knows what it does")
        elif most > EXAMS_REACH:
            found.append(
                f"{name} lies up to {most:.3g} times outside what was fitted, and the exams of the laws reach "
                f"{EXAMS_REACH:g} times: nothing is known of how well their intervals hold out there"
            )
    return found


def _refuse_inside(table: Any, targets: Any, *, allowed: bool) -> None:
    from pipeline.forecasts import distance

    if not len(targets):
        raise PipelineError("the study holds nothing out: say what to forecast, as in --at 'parameters=7e9'")
    if not allowed and all((factors <= 1).all() for factors in distance(table, targets).values()):
        raise PipelineError(
            "nothing to forecast lies outside what was fitted, in any column: ask further out, or add --inside"
        )


def _refuse_failed(failed: Mapping[str, str], *, all_of: Sequence[str], asked: bool) -> None:
    """A law that was asked for must answer; of the study's own, one must."""
    if failed and (asked or len(failed) == len(all_of)):
        law, reason = next(iter(failed.items()))
        raise PipelineError(f"{law} says nothing here: {reason}")


FORECAST = Verb(
    name="forecast",
    summary="say what a larger run will measure, how sure that is and why",
    example="unsl forecast quickstart --at 'parameters=2e4, dataset_size=1e5, step=8192, learning_rate=3e-3'",
    add_options=add_options,
    run=run,
)
