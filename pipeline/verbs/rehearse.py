"""`unsl rehearse`: how far off a study's forecast will be and what more cells would buy, before anything is paid."""

from __future__ import annotations

import argparse
import math
import os
from functools import partial
from typing import Any

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
    add("--executor", choices=("processes", "ray"), default="processes", help="this machine's cores, or a Ray cluster")
    add("--processes", type=whole_number(1), help="that fit at once (default: every core)")
    add("--device-type", default="", metavar="NAME", help="predict costs for h100, a10g, cpu, ...")
    add("--seed", type=whole_number(0), default=0, help="seed of the draws")


def run(options: argparse.Namespace) -> int:
    from fitting import find_law
    from pipeline.rescale import leading_law, read_targets, rehearsal

    study, store = study_and_store(options)
    texts = target_texts(options, study)
    law = options.law or leading_law(study)
    wishes = rehearsal.Wishes(
        law=law,
        truth=options.truth or law,
        prior=options.prior,
        noise=options.noise,
        losses=_losses(options.losses),
        draws=options.n,
        seed=options.seed,
    )
    for one in (law, wishes.truth):
        find_law(one)
    made = make_plan(study, store, options.device_type)
    if options.executor == "ray":
        carry = partial(rehearsal.on_ray, workers=options.processes)
    else:
        carry = partial(rehearsal.in_processes, processes=options.processes or os.cpu_count() or 1)
    targets = read_targets(study, texts)
    found = rehearsal.rehearse(study, store, made, targets, wishes, carry=carry, told=say)
    about = {
        **{"study": study.name, "law": law, "truth": wishes.truth},
        **{"device": made.device.name, "measured_throughput": bool(made.throughput.cells)},
    }
    said = {
        one.name: {"targets": [texts[i] for i in np.flatnonzero(targets.in_task(one.task))], **one.facts}
        for one in found
    }
    facts: dict[str, Any] = {**about, **({"tasks": said} if study.tasks else said[""])}
    if options.json:
        write_json(options.json, facts)
    if options.json != "-":
        from pipeline.verbs import show_rounds

        show_rounds.rehearsed(facts)
    return 0


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
