"""What a ledger says, as facts: its forecasts with what came, and the scores of every law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.forecasts import Check, Entry
from pipeline.report.facts import Foretold, LawScore, LedgerFacts, Reliability

MOST_FORETOLD = 300
"""Forecasts that the page lists: what a person looks through."""


def ledger_facts(entries: Sequence[Entry], check: Check) -> LedgerFacts | None:
    """The facts of a ledger's entries and of their check; None where nothing was foretold."""
    if not entries and not check.faults:
        return None
    scores = check.to_json()
    levels = tuple(scores["reliability"].pop("level"))
    return LedgerFacts(
        forecasts=sum(entry.forecasts for entry in entries),
        scored=scores["scored"],
        blind=scores["blind"],
        waiting=scores["waiting"],
        entries=len(entries),
        first=entries[0].time if entries else "",
        last=entries[-1].time if entries else "",
        simplest=check.simplest,
        not_scored=scores["not_scored"],
        faults=tuple(check.faults),
        laws=tuple(_score(row) for row in scores["laws"]),
        days=tuple(_score(row, day=row["date"]) for row in scores["by_date"]),
        reliability=tuple(
            Reliability(law=law, level=levels, held=tuple(held)) for law, held in scores["reliability"].items()
        ),
        foretold=_foretold(entries, check),
    )


def _score(row: Mapping[str, Any], day: str = "") -> LawScore:
    return LawScore(
        law=row["law"],
        forecasts=row["forecasts"],
        error=row["rmsle"],
        bias=row["bias"],
        held_50=row["held_50"],
        held_90=row["held_90"],
        skill=row["skill"],
        day=day,
    )


def _foretold(entries: Sequence[Entry], check: Check) -> tuple[Foretold, ...]:
    """An even selection of all targets, those first that were forecast last; every law says its own of each, and all
    with the same columns."""
    scored = check.scored
    came = {
        (int(number), int(target), str(law)): float(error)
        for number, target, law, error in zip(scored.entry, scored.target, scored.law, scored.error, strict=True)
    }
    places = [(entry, k) for entry in reversed(entries) for k in range(len(entry)) if entry.laws]
    laws = max((len(entry.laws) for entry in entries), default=1) or 1
    if not places:
        return ()
    telling = set[str]().union(*(_telling(entry) for entry in entries if entry.laws))
    names = list(dict.fromkeys(name for entry in reversed(entries) for name in entry.targets if name in telling))
    shown = np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_FORETOLD // laws)).round().astype(int))
    return tuple(
        Foretold(
            entry=entry.number,
            day=entry.time[:10],
            law=law.law,
            target={name: entry.targets[name][k] if name in entry.targets else None for name in names},
            median=law.median[k],
            low=law.low_90[k],
            high=law.high_90[k],
            blind=bool(entry.blind[k]),
            measured=float(law.median[k] * np.exp(came[entry.number, k, law.law]))
            if (entry.number, k, law.law) in came
            else None,
        )
        for entry, k in (places[i] for i in shown)
        for law in entry.laws
    )


def _telling(entry: Entry) -> set[str]:
    """The columns that laws read and that tell its targets apart; all that laws read where it has one target."""
    read = set(entry.ranges)
    return {name for name in read if len(set(entry.targets[name])) > 1} or read
