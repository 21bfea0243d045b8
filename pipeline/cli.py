"""The command line: `unsl VERB STUDY`.

Exit codes: 0 done, 1 some cells failed, 2 bad use, 130 stopped on request or at the budget
with cells left to run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from fitting import FittingError
from fitting.exams import command as exams
from pipeline import verbs
from pipeline.errors import PipelineError
from trainers import TrainerError

DEFAULT_STORE = "runs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.verb(options)
    except (PipelineError, FittingError, TrainerError) as error:
        print(f"unsl: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output has gone, as in `unsl plan STUDY | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unsl", description="Plan, run, fit and report scaling studies.", epilog="example: unsl run quickstart"
    )
    add = parser.add_subparsers(required=True, metavar="VERB").add_parser

    one = _verb(
        add, verbs.plan, "list every cell with its state, cost and split", "unsl plan quickstart --json plan.json"
    )
    one.add_argument("--all", action="store_true", help="show every cell")

    one = _verb(add, verbs.run, "run the cells that are not done", "unsl run quickstart --executor inline", json=False)
    one.add_argument("--executor", choices=("ray", "inline"), default="ray", help="a Ray cluster, or this process")
    one.add_argument("--workers", type=_positive, metavar="N", help="tasks at once (default: every core or GPU)")
    one.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    one.add_argument("--retry", choices=("failed",), help="run cells again that failed")
    one.add_argument("--accept-changes", action="store_true", help="run changed cells as new ones")
    one.add_argument("--budget", metavar="HOURS", help="what the study may cost in all, such as 40gpu-hours")
    one.add_argument("--trim", action="store_true", help="hold back the cells that the budget does not cover")
    one.add_argument(
        "--hang-minutes", type=float, default=30.0, help="end a job that is silent this long (default: 30)"
    )
    _wandb(one)

    one = _verb(add, verbs.status, "what is done, running and failed", "unsl status quickstart --failed")
    one.add_argument("--failed", action="store_true", help="show the tracebacks of failed cells")

    one = _verb(add, verbs.fit, "fit the laws and score them on held-out points", "unsl fit quickstart --laws cf,unsl")
    _laws(one)
    one.add_argument("--loss", choices=("msle", "huber"), default="msle", help="squared log error, or Huber's (1e-3)")
    one.add_argument(
        "--plain", action="store_true", help="one least-loss fit a law: no ridge, no average of candidates"
    )
    own = one.add_argument_group(
        "a table of your own",
        "unsl fit runs.csv --metric loss --inputs N,D --hyperparameters lr --held-out 'N >= 1e9' --json out.json",
    )
    own.add_argument("--metric", metavar="COL", help="the column to forecast")
    own.add_argument("--inputs", metavar="A,B", help="columns of scale, positive")
    own.add_argument("--hyperparameters", metavar="H,..", help="columns that have an optimum, positive")
    own.add_argument("--group", metavar="COL", help="rows of a group with equal inputs differ by chance alone")
    own.add_argument("--held-out", metavar="EXPR", help="rows to forecast: 'N >= 1e9 or 6 * N * D > 1e21'")
    own.add_argument(
        "--exclude", metavar="EXPR", action="append", default=[], help="rows to leave out; may be repeated"
    )
    own.add_argument("--ceiling", metavar="X", default="auto", help="worst value of the loss: a number, auto or none")
    own.add_argument("--direction", choices=("lower", "higher"), default="lower", help="which values are better")
    own.add_argument("--best", metavar="X", type=float, help="the best value, where higher is better: 1 for accuracy")

    one = add("exam", help="score every law on public tables", description="Score every law on public tables.")
    one.set_defaults(verb=verbs.exam)
    exams.add_options(one)

    one = _verb(add, verbs.report, "fit, and write the report", "unsl report quickstart --out report.html")
    _laws(one)
    one.add_argument("--out", metavar="FILE", help="the HTML file (default: report.html in the study's store)")
    _wandb(one)

    one = _verb(
        add, verbs.sync, "send W&B what it lacks of the store", "unsl sync quickstart --wandb online", json=False
    )
    _wandb(one)
    return parser


def _verb(add: Any, verb: Any, summary: str, example: str, *, json: bool = True) -> argparse.ArgumentParser:
    parser = add(verb.__name__, help=summary, description=summary, epilog=f"example: {example}")
    parser.set_defaults(verb=verb)
    parser.add_argument(
        "study", metavar="STUDY", help="a file of experiments/, without .py; for fit also a CSV or Parquet"
    )
    parser.add_argument("--tier", metavar="NAME", help="which size of the study: cpu, gpu or paper, where it has them")
    parser.add_argument(
        "--store",
        default=os.environ.get("UNSL_STORE", DEFAULT_STORE),
        help=f"folder or URL of all studies (default: $UNSL_STORE or {DEFAULT_STORE})",
    )
    if json:
        parser.add_argument(
            "--json", nargs="?", const="-", metavar="FILE", help="write JSON, to FILE or standard output"
        )
    return parser


def _laws(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--laws", help="laws to fit, separated by commas (default: the study's)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the fits' random starts")


def _wandb(parser: argparse.ArgumentParser) -> None:
    modes = ("auto", "online", "offline", "off")
    parser.add_argument("--wandb", choices=modes, default="auto", help="W&B: auto is online where there is a key")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
