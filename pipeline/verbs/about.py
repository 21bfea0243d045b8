"""What a verb about forecasts is about: a study with its store, or a table of one's own. Either has a ledger."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.analysis import Divided, Question, by_task, is_table_file, of_grid, read_table
from pipeline.errors import PipelineError
from pipeline.store import Store
from pipeline.study import DEFAULT_LAWS, Study
from pipeline.verbs.fit import own_question, refuse_stray_options
from pipeline.verbs.verb import study_and_store


@dataclass(frozen=True, kw_only=True)
class About:
    """See the module's docstring."""

    name: str
    store: Store
    """Where its ledger is; of a study, its points too."""
    study: Study | None
    table: str = ""
    """The table's file, where it is no study."""

    @classmethod
    def of(cls, options: argparse.Namespace) -> About:
        if not is_table_file(options.study):
            study, store = study_and_store(options)
            return cls(name=study.name, store=store, study=study)
        return cls(
            name=options.study, store=Store(options.store, _folder(options.study)), study=None, table=options.study
        )

    @property
    def laws(self) -> Sequence[str]:
        return self.study.law_addresses if self.study else DEFAULT_LAWS

    def rows(self) -> Any:
        """Every measurement, as a pandas DataFrame. Raises PipelineError."""
        return self.store.table() if self.study else read_table(self.table)

    def question(self, options: argparse.Namespace, *, everything: bool = False) -> Question:
        """What is asked of it; with `everything`, nothing is held out."""
        refuse_stray_options(options)
        question = Question.of_study(self.study) if self.study else own_question(options)
        return replace(question, held_out="") if everything else question

    def by_task(self, question: Question, rows: Any) -> dict[str, tuple[Question, Any]]:
        """The tasks by name, what each is asked and its rows; one without a name where the question names none."""
        return by_task(question, of_grid(self.study, rows) if self.study else rows)

    def divide(self, question: Question, rows: Any, task: str = "") -> Divided:
        """Its rows, or those of a task, after a question's rules.

        Raises PipelineError where too little is left to fit, and where the task must be named or there is none such.
        """
        tasks = self.by_task(question, rows)
        if task not in tasks:
            what = f"there is no task '{task}'" if task else f"{self.name} has several tasks, one fit each"
            raise PipelineError(f"{what}: --task takes one of {'; '.join(filter(None, tasks)) or 'none'}")
        asked, part = tasks[task]
        return asked.divide(part)


def _folder(table: str) -> str:
    """Where a table's ledger is: by its name, and apart from that of a table of the same name elsewhere."""
    place = table if "://" in table else str(Path(table).resolve())
    stem = re.sub(r"[^a-z0-9]+", "-", Path(table).stem.lower()).strip("-") or "table"
    return f"{stem}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
