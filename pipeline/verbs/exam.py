"""`unsl exam`: score every law on public tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fitting.exams import ExamPart, run_command
from fitting.exams import add_options as add_exam_options
from pipeline.verbs.output import say
from pipeline.verbs.verb import Verb, new_file


def add_options(parser: argparse.ArgumentParser) -> None:
    add_exam_options(parser)
    parser.add_argument("--html", type=new_file, metavar="FILE", help="write a page with a figure an exam here")


def run(options: argparse.Namespace) -> int:
    def write_page(parts: Sequence[ExamPart]) -> None:
        from pipeline.report import exams_document, write_document

        write_document(exams_document(parts), options.html)
        say(f"page: {options.html}")

    return run_command(options, write_page=write_page if options.html else None)


EXAM = Verb(
    name="exam",
    summary="score every law on public tables",
    example="unsl exam --data DIR --html exams.html",
    add_options=add_options,
    run=run,
)
