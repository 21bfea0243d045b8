"""`unsl check-trainer`: whether a trainer keeps its contract, and in words what it breaks."""

from __future__ import annotations

import argparse

from pipeline.verbs.output import say
from pipeline.verbs.verb import Verb
from trainers import load_trainer


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trainer", metavar="TRAINER", help="my_trainer.py:NAME, package.module:NAME, or a trainer that comes with unsl"
    )


def run(options: argparse.Namespace) -> int:
    from trainers.battery import CHECKS, check_trainer

    trainer = load_trainer(options.trainer)
    findings = check_trainer(trainer, progress=lambda check: say(f"... {check.replace('_', ' ')}"))
    for finding in findings:
        print(finding)
    if not findings:
        print(f"{options.trainer} keeps its contract: {len(CHECKS)} checks, nothing found")
    return 1 if findings else 0


CHECK_TRAINER = Verb(
    name="check-trainer",
    summary="check a trainer of your own, and say what it lacks",
    example="unsl check-trainer my_trainer.py:TRAINER",
    add_options=add_options,
    run=run,
)
