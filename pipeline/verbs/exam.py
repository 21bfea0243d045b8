"""`unsl exam`: score every law on public tables."""

from __future__ import annotations

from fitting.exams import add_options, run_command
from pipeline.verbs.verb import Verb

EXAM = Verb(
    name="exam",
    summary="score every law on public tables",
    example="unsl exam --data DIR",
    add_options=add_options,
    run=run_command,
)
