"""The exams as a command: its options and what it prints. `python -m fitting.exams` and `unsl exam` share it; a page of
the results is made by who knows how pages look.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fitting import LAWS, FittingError

from . import sldbench
from .catalogue import EXAMS
from .definition import HALVES
from .known_answers import known_answers
from .page import ExamPart, page_parts
from .report import as_json, text_report
from .runner import Score, run_exams


def add_options(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--data", metavar="DIR", help="folder with one sub-folder a source")
    parser.add_argument("--only", metavar="NAMES", default="", help="parts of exams' names, separated by commas")
    parser.add_argument("--half", choices=HALVES, help="one half of the exams")
    parser.add_argument("--kind", choices=("several", "one"), help="exams of several inputs, or of one")
    parser.add_argument("--laws", metavar="LAWS", help=f"separated by commas; default all: {','.join(LAWS)}")
    parser.add_argument("--law", default="unsl", help="the law that ratios and win rates are about (default unsl)")
    parser.add_argument("--json", metavar="OUT", help="write all numbers here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--known-answers", action="store_true", help="check published numbers, hold no exam")
    parser.add_argument("--no-known-answers", action="store_true", help="skip them; --only skips them too")
    parser.add_argument("--sldbench", action="store_true", help="hold SLDBench's tasks, beside the scores on record")
    parser.add_argument("--list", action="store_true", help="print the exams and where their tables are, and stop")


def run_command(options: argparse.Namespace, *, write_page: Callable[[Sequence[ExamPart]], None] | None = None) -> int:
    """Hold the exams and print them. write_page: makes a page of the results too. Returns 0, or 1 if an exam was not
    held or a known answer missed."""
    if options.list:
        for exam in EXAMS:
            where = f"{exam.source.folder}/{exam.file} from {exam.source.url}"
            print(f"{exam.name}  [{exam.domain}, {exam.half}]  held out: {exam.held_out}  {where}")
        return 0
    if options.processes < 1:
        raise FittingError(f"--processes {options.processes}: '{options.processes}' must be a whole number, at least 1")
    if not options.data:
        raise FittingError("name the folder of the tables with --data; --list shows where to download them")
    began = time.perf_counter()

    def progress(done: int, total: int, share: float, exam: str, score: Score) -> None:
        left = (time.perf_counter() - began) * (1.0 / share - 1.0)
        value = str(score.rmsle_held_out) if score.rmsle_held_out else score.reason
        print(
            f"[{done}/{total}] {exam} {score.law}: {value[:60]} (about {left:.0f} s left)", file=sys.stderr, flush=True
        )

    if options.sldbench:
        return _sldbench(options)
    if options.known_answers:
        answers = known_answers(options.data)
        print(text_report((), answers))
        return 0 if all(a.agrees for a in answers) else 1

    results = run_exams(
        options.data,
        laws=options.laws.split(",") if options.laws else None,
        half=options.half,
        only=[name for name in options.only.split(",") if name],
        kind=f"{options.kind} input{'s' * (options.kind == 'several')}" if options.kind else None,
        seed=options.seed,
        processes=options.processes,
        progress=progress,
    )
    answers = () if options.no_known_answers or options.only else known_answers(options.data)
    print(text_report(results, answers, law=options.law))
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    if options.json:
        Path(options.json).write_text(
            json.dumps(as_json(results, answers, law=options.law), indent=1), encoding="utf-8"
        )
    if write_page:
        write_page(page_parts(results, answers, options.data, law=options.law))
    return 1 if any(result.reason for result in results) else 0


def _sldbench(options: argparse.Namespace) -> int:
    scores = sldbench.published(options.data)
    results = sldbench.run_sldbench(
        options.data,
        laws=options.laws.split(",") if options.laws else ("unsl", "blend", "cf"),
        tasks=[name for name in options.only.split(",") if name],
        seed=options.seed,
        progress=lambda one: print(f"{one.task} {one.law}: {one.r2:.4f} ({one.seconds:.0f} s)", file=sys.stderr),
    )
    print(sldbench.text_report(results, scores))
    if options.json:
        Path(options.json).write_text(sldbench.as_json(results, scores), encoding="utf-8")
    return 1 if any(result.reason for result in results) else 0
