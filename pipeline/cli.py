"""The command line: `unsl VERB STUDY`.

Exit codes: 0 done, 1 some cells failed, 2 bad use, 130 stopped on request or at the budget
with cells left to run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fitting import FittingError
from pipeline.errors import PipelineError
from pipeline.verbs import VERBS
from trainers import TrainerError


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
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for verb in VERBS:
        one = verbs.add_parser(
            verb.name, help=verb.summary, description=verb.summary, epilog=f"example: {verb.example}"
        )
        one.set_defaults(verb=verb.run)
        verb.add_options(one)
    return parser
