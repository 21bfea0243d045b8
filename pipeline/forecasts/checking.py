"""Scoring what is due: entries of the ledger held against what has been measured since."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import PipelineError, suggest
from pipeline.forecasts.entry import Entry
from pipeline.forecasts.scores import crps, held, interval_score, pit, reach, reliability
from pipeline.forecasts.targets import matches

DISTANCES = (1.0, 2.0, 4.0, 10.0, math.inf)
"""Edges of the classes of distance: by what factor a target lies outside the fitted range, in its farthest column."""
LEVELS = np.linspace(0.05, 0.95, 19)
"""Of the reliability diagram."""
BINS = 10
"""Of the histogram of the PIT."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A forecast against a measurement, one in each place of the arrays; all of shape (scored,)."""

    law: np.ndarray
    entry: np.ndarray
    """Number in the ledger."""
    day: np.ndarray
    """On which it was made, UTC."""
    blind: np.ndarray
    distance: np.ndarray
    """By what factor its target lies outside the fitted range, in the farthest column."""
    target: np.ndarray
    """Number among the entry's targets."""
    error: np.ndarray
    """ln measured - ln median, of the loss."""
    scale: np.ndarray
    freedom: np.ndarray
    crps: np.ndarray
    interval_50: np.ndarray
    interval_90: np.ndarray
    """Interval scores, in ln y."""
    pit: np.ndarray

    def __len__(self) -> int:
        return self.error.size

    def where(self, mask: np.ndarray) -> Scored:
        return Scored(**{name: values[mask] for name, values in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Check:
    """What came of a ledger."""

    scored: Scored
    waiting: int
    """Forecasts whose targets have not been measured."""
    not_scored: Mapping[str, int]
    """Forecasts that are due and cannot be scored, by the reason."""
    faults: Sequence[str]
    """What does not hold in the ledger."""
    simplest: str
    """The law that skill is measured against; empty where there is none."""

    def to_json(self) -> dict[str, Any]:
        blind, seen = self.scored.where(self.scored.blind), self.scored.where(~self.scored.blind)
        return {
            "scored": len(self.scored),
            "blind": len(blind),
            "waiting": self.waiting,
            "not_scored": dict(self.not_scored),
            "faults": list(self.faults),
            "simplest": self.simplest,
            "laws": _rows(blind, self.simplest),
            "laws_not_blind": _rows(seen, self.simplest),
            "by_distance": [
                {"distance": name, **row}
                for name, mask in _by_distance(blind)
                for row in _rows(blind.where(mask), self.simplest)
            ],
            "by_date": [
                {"date": str(day), **row}
                for day in np.unique(blind.day)
                for row in _rows(blind.where(blind.day == day), self.simplest)
            ],
            "reliability": {
                "level": LEVELS.tolist(),
                **{law: reliability(blind.where(blind.law == law).pit, LEVELS).tolist() for law in _laws(blind)},
            },
            "pit": {
                law: np.histogram(blind.where(blind.law == law).pit, BINS, (0, 1))[0].tolist() for law in _laws(blind)
            },
        }


def check(
    entries: Sequence[Entry],
    rows: Any,
    *,
    why_not: Callable[[Entry], str] = lambda entry: "",
    evaluations: Callable[[Entry], Sequence[str]] | None = None,
    excluded: np.ndarray | None = None,
    faults: Sequence[str] = (),
) -> Check:
    """Hold entries against measurements.

    rows: a pandas DataFrame with the targets' key columns and the metric, a row a measurement. why_not: the reason for
    which an entry must not be scored, as that its question changed; empty where it may. evaluations: the fingerprints
    of the evaluation sets on which an entry's targets are measured now. Where an entry knows another one, the target is
    not scored. excluded: for each row the rule by which it takes no part in fits, empty where it does; such a
    measurement is no measurement of what was foretold.

    Raises PipelineError where the rows lack the metric.
    """
    pieces: list[dict[str, np.ndarray]] = []
    waiting, not_scored = 0, {}

    def refuse(reason: str, count: int) -> None:
        if count:
            not_scored[reason] = not_scored.get(reason, 0) + count

    for entry in entries:
        if not len(entry):
            continue
        targets, places = matches(entry.targets, entry.keys, rows)
        waiting += (len(entry) - np.unique(targets).size) * len(entry.laws)
        if not targets.size:
            continue
        if reason := why_not(entry):
            refuse(reason, targets.size * len(entry.laws))
            continue
        if evaluations:
            then, since = np.asarray(entry.evaluation), np.asarray(evaluations(entry))
            same = ((then == since) | (then == ""))[targets]
            refuse("the evaluation set changed", int((~same).sum()) * len(entry.laws))
            targets, places = targets[same], places[same]
        if excluded is not None:
            for rule in sorted(set(excluded[places]) - {""}):
                refuse(f"excluded: {rule}", int((excluded[places] == rule).sum()) * len(entry.laws))
            kept = excluded[places] == ""
            targets, places = targets[kept], places[kept]
        metric = entry.metric.name
        if metric not in rows:
            raise PipelineError(f"the measurements have no column '{metric}'; {suggest(metric, rows)}")
        with np.errstate(invalid="ignore", divide="ignore"):
            log_y = np.log(entry.metric.to_loss(rows[metric].to_numpy(float)[places]))
        usable = np.isfinite(log_y)
        refuse("the metric is at its bound, or was not measured", int((~usable).sum()) * len(entry.laws))
        pieces += _score(entry, targets[usable], log_y[usable])
    return Check(
        scored=_together(pieces),
        waiting=waiting,
        not_scored=not_scored,
        faults=list(faults),
        simplest=_simplest(entries),
    )


def _score(entry: Entry, targets: np.ndarray, log_y: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Of every law of one entry."""
    size = targets.size
    beyond = np.max(list(entry.beyond().values()), axis=0)[targets] if entry.ranges else np.ones(size)
    head = {
        "entry": np.full(size, entry.number),
        "day": np.full(size, entry.time[:10]),
        "blind": np.asarray(entry.blind, bool)[targets],
        "distance": beyond,
        "target": targets,
    }
    pieces = []
    for law in entry.laws:
        scale, freedom = np.asarray(law.scale, float)[targets], np.broadcast_to(law.freedom, len(law.scale))[targets]
        error = log_y - np.log(entry.metric.to_loss(np.asarray(law.median, float)[targets]))
        half_50, half_90 = reach(0.5, scale, freedom), reach(0.9, scale, freedom)
        pieces.append(
            {
                **head,
                "law": np.full(size, law.law),
                "error": error,
                "scale": scale,
                "freedom": freedom,
                "crps": crps(error, scale, freedom),
                "interval_50": interval_score(-half_50, half_50, error, 0.5),
                "interval_90": interval_score(-half_90, half_90, error, 0.9),
                "pit": pit(error, scale, freedom),
            }
        )
    return pieces


def _together(pieces: Sequence[Mapping[str, np.ndarray]]) -> Scored:
    names = Scored.__dataclass_fields__
    kinds = {"law": str, "day": str, "entry": int, "target": int, "blind": bool}
    return Scored(
        **{
            name: np.concatenate([piece[name] for piece in pieces]) if pieces else np.zeros(0, kinds.get(name, float))
            for name in names
        }
    )


def _simplest(entries: Sequence[Entry]) -> str:
    """The law with the fewest coefficients."""
    sizes = {law.law: len(law.coefficients) for entry in entries for law in entry.laws}
    return min(sizes, key=lambda law: (sizes[law], law), default="")


def _laws(scored: Scored) -> list[str]:
    return list(dict.fromkeys(scored.law.tolist()))


def _by_distance(scored: Scored) -> list[tuple[str, np.ndarray]]:
    classes = [("inside", scored.distance <= 1.0)]
    for low, high in zip(DISTANCES, DISTANCES[1:], strict=False):
        name = f"{low:g}-{high:g}x" if math.isfinite(high) else f"beyond {low:g}x"
        classes.append((name, (scored.distance > low) & (scored.distance <= high)))
    return [(name, mask) for name, mask in classes if mask.any()]


def _rows(scored: Scored, simplest: str) -> list[dict[str, Any]]:
    """Means over the forecasts of each law. Skill: the part of the simplest law's CRPS that a law saves, on the targets
    that both foretold."""
    rows = []
    reference = scored.where(scored.law == simplest)
    for law in _laws(scored):
        own = scored.where(scored.law == law)
        rows.append(
            {
                "law": law,
                "forecasts": len(own),
                "bias": float(own.error.mean()),
                "rmsle": float(np.sqrt((own.error**2).mean())),
                "median_error": float(np.median(np.abs(own.error))),
                "held_50": float(held(own.pit, 0.5).mean()),
                "held_90": float(held(own.pit, 0.9).mean()),
                "crps": float(own.crps.mean()),
                "interval_50": float(own.interval_50.mean()),
                "interval_90": float(own.interval_90.mean()),
                "skill": _skill(own, reference),
            }
        )
    return rows


def _skill(own: Scored, reference: Scored) -> float | None:
    shared = np.intersect1d(own.entry, reference.entry)
    ours, theirs = (one.crps[np.isin(one.entry, shared)] for one in (own, reference))
    return float(1 - ours.mean() / theirs.mean()) if shared.size and theirs.mean() > 0 else None
