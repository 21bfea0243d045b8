"""Exams: held-out accuracy of every law on public tables, with splits that were fixed in advance.

    python -m fitting.exams --data DIR                            every exam, every law, and the known answers
    python -m fitting.exams --data DIR --half report --json results.json
    python -m fitting.exams --data DIR --only datablations --laws unsl,a3,dc,cf
    python -m fitting.exams --data DIR --known-answers            published numbers beside ours, no exam
    python -m fitting.exams --list                                names, splits, where to download the tables

`unsl exam --data DIR --html page.html` writes a page of them. DIR holds one sub-folder a source. An exam whose table is
missing says where it is published; the others are held.
"""

from .catalogue import EXAMS, choose
from .command import add_options, run_command
from .definition import Exam, Sheet, Source, load
from .known_answers import KnownAnswer, known_answers
from .page import ExamFigure, ExamPart, ExamTable, page_parts
from .report import as_json, text_report
from .runner import ExamResult, Score, run_exams
from .summary import by_law, ratio, ratio_to_best_other, win_rates

__all__ = [
    "EXAMS",
    "Exam",
    "ExamFigure",
    "ExamPart",
    "ExamResult",
    "ExamTable",
    "KnownAnswer",
    "Score",
    "Sheet",
    "Source",
    "as_json",
    "by_law",
    "choose",
    "add_options",
    "known_answers",
    "load",
    "page_parts",
    "ratio",
    "ratio_to_best_other",
    "run_command",
    "run_exams",
    "text_report",
    "win_rates",
]
