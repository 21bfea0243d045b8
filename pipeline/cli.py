"""The command line: `unsl VERB STUDY`. How a verb ends, and with which exit code, is in pipeline/verbs/ending.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from pipeline.errors import PipelineError, suggest
from pipeline.verbs import VERBS, end


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = argparse.Namespace()

    def act() -> int:
        _parser(words).parse_args(words, options)
        return options.verb(options)

    return end(act, options)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        raise PipelineError(f"{message} (`{self.prog} --help` shows what can be said)")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    known = [verb.name for verb in VERBS]
    if words and words[0] not in known and not words[0].startswith("-"):
        raise PipelineError(f"there is no verb '{words[0]}': {suggest(words[0], known)}")
    parser = _Parser(
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
