"""What the laws answer: every question of a block, put to every task of its study, one fit each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipeline.analysis import Divided, Question, Tasks, divide_tasks, of_grid
from pipeline.study import Ask, Block, Study

COLUMNS = (
    *("block", "tier", "ask", "task", "law", "rows_fit", "rows_held_out"),
    *("rmsle_fit", "rmsle_fit_error", "rmsle_held_out", "rmsle_held_out_error", "best", "status", "structure"),
)
DIGITS = 6
"""Significant ones of an error in a table: more than its error bar can use, and the same on every run of a machine."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The laws of a block at one tier."""

    block: Block
    tier: str
    study: Study
    asks: Mapping[str, Tasks]
    """By question; that of the study itself, the first, has no name."""

    def rows(self) -> list[dict[str, Any]]:
        """A row a question, task and law, in `COLUMNS`; texts and numbers that CSV keeps as they are."""
        return [
            {"block": self.block.name, "tier": self.tier, "ask": ask, "task": task, **row}
            for ask, tasks in self.asks.items()
            for task, divided in tasks.divided.items()
            for row in _rows(divided, tasks.comparisons[task])
        ]

    @property
    def seconds(self) -> float:
        """That the fits took."""
        rows = (row for tasks in self.asks.values() for rows in tasks.comparisons.values() for row in rows)
        return sum(row.seconds for row in rows)


def answer(
    block: Block,
    tier: str,
    points: Any,
    *,
    laws: Sequence[str] = (),
    seed: int = 0,
    tell: Callable[[str], None] = lambda said: None,
) -> Answers:
    """Put every question of a block to its points, a DataFrame from `Store.table`. tell: hears what is fitted.

    Raises PipelineError where too little is left to fit of every task.
    """
    study = block.study(tier)
    rows = of_grid(study, points)
    asks = {}
    for name, ask in block.asked(tier).items():
        question = asked_of(study, ask)
        divided, left_out = divide_tasks(question, rows)
        comparisons = {}
        for task, one in divided.items():
            divided[task] = one = drawn(one, ask.points)
            tell(", ".join(filter(None, (block.name, name, task))) + f": {len(one.fitted)} points fitted")
            comparisons[task] = one.compare(tuple(laws) or study.law_addresses, seed=seed)
        asks[name] = Tasks(columns=question.tasks, divided=divided, comparisons=comparisons, left_out=left_out)
    return Answers(block=block, tier=tier, study=study, asks=asks)


def asked_of(study: Study, ask: Ask) -> Question:
    """A block's question: that of its study, with what the ask says otherwise."""
    own = Question.of_study(study)
    return replace(
        own,
        metric=ask.metric or own.metric,
        held_out=ask.held_out or own.held_out,
        excluded={**own.excluded, **ask.excluded},
    )


def drawn(divided: Divided, most: int) -> Divided:
    """The same with so many fitted points at most, drawn at random; 0 keeps all. The same ones at every call."""
    if not 0 < most < len(divided.fitted):
        return divided
    chosen = np.sort(np.random.default_rng(0).choice(len(divided.fitted), most, replace=False))
    held_out = divided.rows["held_out"].to_numpy()
    kept = np.sort(np.concatenate([np.flatnonzero(~held_out)[chosen], np.flatnonzero(held_out)]))
    return replace(divided, fitted=divided.fitted.where(chosen), rows=divided.rows.iloc[kept].reset_index(drop=True))


def _rows(divided: Divided, comparisons: Sequence[Any]) -> list[dict[str, Any]]:
    facts = divided.to_json(comparisons)
    score = "rmsle_held_out" if facts["rows_held_out"] else "rmsle_fit"
    least = min((law[score] for law in facts["laws"] if law.get(score) is not None), default=None)
    return [
        {
            "law": law["law"],
            "rows_fit": facts["rows_fit"],
            "rows_held_out": facts["rows_held_out"],
            **{name: _short(law.get(name)) for name in COLUMNS if name.startswith("rmsle")},
            "best": int(least is not None and law.get(score) == least),
            "status": law["status"],
            "structure": law.get("structure") or law.get("reason", ""),
        }
        for law in facts["laws"]
    ]


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.{DIGITS}g}"
