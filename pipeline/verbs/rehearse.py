"""`unsl rehearse`: how far off a study's forecast will be and what more cells would buy, before anything is paid."""

from __future__ import annotations

import argparse
import itertools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.plan import make_plan
from pipeline.verbs.output import say, write_json
from pipeline.verbs.verb import (
    Verb,
    add_json,
    add_study,
    add_target,
    positive,
    study_and_store,
    target_texts,
    whole_number,
)

if TYPE_CHECKING:
    from fitting import Fit
    from pipeline.store import Store
    from pipeline.study import Study


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)
    add = parser.add_argument
    add_target(parser, "what is to be foretold: 'parameters=7e9, step=1e5' (default: what the study's growth says)")
    add("--law", default="", help="the law that is true and that is fitted (default: the study's last)")
    add("--truth", default="", metavar="LAW", help="the law that is true, where another one is fitted")
    add("--prior", action="store_true", help="draw truths from the law's prior, whatever was measured")
    add("--noise", type=positive, help="standard deviation of ln(loss) between seeds (default: measured, or 0.02)")
    add(
        "--losses",
        default="0.5,4",
        metavar="LOW,HIGH",
        help="of the prior: losses at the best and the worst fitted point",
    )
    add("-n", type=whole_number(2), default=50, metavar="N", help="draws (default: 50)")
    add("--processes", type=whole_number(1), default=os.cpu_count() or 1, help="that fit at once (default: every core)")
    add("--device-type", default="", metavar="NAME", help="predict costs for h100, a10g, cpu, ...")
    add("--seed", type=whole_number(0), default=0, help="seed of the draws")


def run(options: argparse.Namespace) -> int:
    from fitting import find_law
    from pipeline.rescale import leading_law, read_targets, rehearsal

    study, store = study_and_store(options)
    texts = target_texts(options, study)
    targets, law = read_targets(study, texts), options.law or leading_law(study)
    losses = _losses(options.losses)
    for one in filter(None, (law, options.truth)):
        find_law(one)
    known = None if options.prior else _known(study, store, options.truth or law, targets)
    made = make_plan(study, store, options.device_type)
    grids = rehearsal.grids(study, made.throughput)
    source = f"a fit of {known.rows} measured points" if known else "its prior: nothing is measured yet"
    if options.prior:
        source = "its prior"
    say(f"{study.name}: {len(grids)} grids, {options.n} draws each; truths by {options.truth or law} from {source}")
    tasks = []
    for grid in grids:
        rng = np.random.default_rng(options.seed)  # The same truths for every grid, as far as their sizes allow.
        truths = rehearsal.truths(
            study,
            grid,
            targets,
            law=options.truth or law,
            known=known,
            noise=options.noise,
            losses=losses,
            rng=rng,
        )
        drawn = itertools.islice(truths, options.n)
        tasks += [rehearsal.task(study, grid, truth, targets, law=law, rng=rng) for truth in drawn]
    came: dict[str, list[Any]] = {grid.name: [] for grid in grids}
    for one, result in zip(tasks, rehearsal.in_processes(tasks, options.processes), strict=True):
        came[one.grid].append(result)
        if len(came[one.grid]) == options.n:
            say(f"{one.grid}: {sum(result is not None for result in came[one.grid])} of {options.n} draws fitted")
    rows = [
        rehearsal.summed_up(grid, grids[0], [one for one in came[grid.name] if one is not None], options.n)
        for grid in grids
    ]
    facts: dict[str, Any] = {
        "study": study.name,
        "targets": list(texts),
        "law": law,
        "truth": options.truth or law,
        "from": "fit" if known else "prior",
        "noise": options.noise or (float(known.belief.noise) if known else rehearsal.NOISE),
        "device": made.device.name,
        "measured_throughput": bool(made.throughput.cells),
        "grids": rows,
    }
    if options.json:
        write_json(options.json, facts)
    if options.json != "-":
        from pipeline.verbs import show_rounds

        show_rounds.rehearsed(facts)
    return 0


def _known(study: Study, store: Store, law: str, targets: Any) -> Fit | None:
    """A fit of what is measured, where that is enough."""
    from fitting import FitStatus, FittingError, fit
    from pipeline.analysis import Question, divide

    try:
        table = divide(study, store.table(), Question.of_study(study)).fitted
    except PipelineError:
        return None
    try:
        found = fit(law, table, toward=targets.numbers(table.columns))
    except FittingError as error:
        raise PipelineError(f"{law} cannot be the truth here: {error}") from error
    return None if found.status is FitStatus.FAILED else found


def _losses(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not 0 < low < high < math.inf:
        raise PipelineError(f"--losses '{text}': give the least and the greatest that you expect, as in 0.5,4")
    return low, high


REHEARSE = Verb(
    name="rehearse",
    summary="say how far off a study's forecast will be, and what more cells would buy",
    example="unsl rehearse quickstart --target 'parameters=2e4, dataset_size=1e5, step=8192, learning_rate=3e-3'",
    add_options=add_options,
    run=run,
)
