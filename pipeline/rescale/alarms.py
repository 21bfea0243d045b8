"""What the person who pays should hear first: forecasts that missed, laws that drift, money that teaches nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.analysis import task_name
from pipeline.forecasts import Entry, Scored
from pipeline.rescale.drift import CERTAIN, Drifts
from pipeline.rescale.knowledge import Knowledge
from pipeline.store import Round

SURPRISING = 0.05
"""Misses that chance would bring more often than this are none to wake anybody for."""
HALF_SPENT = 0.5
"""Of a round's budget, by when its interval should have narrowed."""


def missed(scored: Scored, entries: Sequence[Entry], law: str) -> str:
    """Whether a law's blind forecasts were missed beyond their 99% interval more often than chance would have it, in
    words; empty where not. A run counts once, by its last point: its points err alike. Of several tasks, each that
    was is named."""
    by_number = {entry.number: entry for entry in entries}
    tasks = [task_name(by_number[int(entry)].question.get("task", {})) for entry in scored.entry]
    said = {
        name: text
        for name in dict.fromkeys(tasks)
        if (text := _missed(scored.where(np.array([task == name for task in tasks], bool)), by_number, law))
    }
    return "; ".join(f"{name}: {text}" if name else text for name, text in said.items())


def _missed(scored: Scored, by_number: Mapping[int, Entry], law: str) -> str:
    """Of one task."""
    from scipy import stats

    last: dict[tuple, tuple[float, float]] = {}
    own = scored.where(scored.blind & (scored.law == law))
    for entry, target, pit in zip(own.entry, own.target, own.pit, strict=True):
        columns = by_number[int(entry)].targets
        cell = columns["cell"][target] if "cell" in columns else (int(entry), int(target))
        step = float(columns.get("step", [0.0] * (target + 1))[target])
        last[cell] = max(last.get(cell, (-1.0, 0.0)), (step, float(pit)))
    outside = sum(abs(pit - 0.5) > CERTAIN / 2 for _, pit in last.values())
    chance = float(stats.binom.sf(outside - 1, len(last), 1 - CERTAIN)) if outside else 1.0
    if chance >= SURPRISING:
        return ""
    return (
        f"{outside} of {len(last)} runs ended beyond the 99% interval that {law} had foretold "
        f"({(1 - CERTAIN) * len(last):.2g} by chance)"
    )


def drifted(drifts: Drifts, law: str) -> list[str]:
    """Forecasts and coefficients of a law that moved by more than noise, in words."""
    return [
        f"{law} has drifted: {one.what} was {_interval(one.before)} and is {_interval(one.now)}, "
        f"{one.deviations:.1f} standard deviations away"
        for one in drifts.alarming
        if one.law == law
    ]


def not_narrowing(before: Knowledge, now: Knowledge, law: str, *, spent: float, budget: float, unit: str) -> str:
    """Whether half of a budget went and the forecast is as wide as it was, in words; empty where not, and where that of
    one task is narrower: its cells may have been all that the budget bought."""
    for name, one in now.tasks.items():
        if name in before.tasks and one.interval(law) < before.tasks[name].interval(law):
            return ""
    then, since = before.interval(law), now.interval(law)
    if spent < HALF_SPENT * budget or not math.isfinite(then) or since < then:
        return ""
    return (
        f"{spent:.3g} of {budget:.3g} {unit} are spent and the forecast of {law} is no narrower: it was "
        f"±{then:.1%} and is ±{since:.1%}"
    )


def current_alarms(rounds: Sequence[Round]) -> list[str]:
    """Those of the last round that said any of itself, each with its number."""
    for one in reversed(rounds):
        if one.closed is not None:
            return [f"round {one.number}: {text}" for text in one.closed.get("alarms", [])]
    return []


def of_cells(scored: Scored, entries: Sequence[Entry], cells: set[str]) -> Scored:
    """The forecasts of some cells alone."""
    by_number = {entry.number: entry.targets.get("cell") for entry in entries}
    inside = [
        bool(by_number[int(entry)]) and by_number[int(entry)][target] in cells
        for entry, target in zip(scored.entry, scored.target, strict=True)
    ]
    return scored.where(np.array(inside, bool))


def _interval(value: Sequence[float]) -> str:
    return f"{value[0]:.4g} ({value[1]:.4g} to {value[2]:.4g})"
