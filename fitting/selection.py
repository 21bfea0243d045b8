"""Which candidates predict: decided on the frontier of the fitted rows, never on held-out ones.

Candidates (see `candidates`) are ranked by their error on the largest quarter of the fitted rows, after a fit from
scratch to the other rows. The best three tenths are refitted to all rows and ranked again, now with some regard to how
well they fit them; the best tenth predicts together, by the mean of ln y. How far the errors on the frontier exceed
what that fit foretold also stretches the intervals of the final one. [ours]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .candidates import Member, Recipe, Rows, ridge_paths, settled
from .condense import RANKED_CELLS, Condensed, condense, most_cells
from .distil import distilled
from .errors import FittingError
from .forecast import Belief
from .law import Cautious, Frame, Law
from .solver import Loss
from .table import Table

# Added under logarithms, so that a perfect fit ranks first instead of failing.
_TINY = 1e-15


def scale_coordinate(table: Table, toward: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """ln of the coordinate that is extrapolated along, running from 0 to 1 over the table's rows.

    Without `toward`, all inputs count alike, each in units of its own range. With it (the columns of the rows one
    wishes to know), an input counts by how far those rows stand beyond the table's middle.
    """
    q = np.zeros(len(table))
    for name, values in table.inputs.items():
        z = np.log(values)
        half = (z.max() - z.min()) / 2
        if half == 0:
            continue
        weight = 1.0
        if toward is not None and name in toward:
            wanted = np.asarray(toward[name], float)
            if not (wanted.size and np.isfinite(wanted).all() and (wanted > 0).all()):
                raise FittingError(f"toward: column {name!r} is empty or has values that are not positive and finite")
            weight = max(float(np.log(wanted).mean() - z.mean()) / half, 0.0)
        q += weight * (z - z.min()) / half
    if q.max() == q.min():
        return q if toward is None else scale_coordinate(table, None)
    return (q - q.min()) / (q.max() - q.min())


def frontier_rows(q: np.ndarray, share: float) -> np.ndarray:
    """A mask of the rows of largest scale: about `share` of them, in whole levels; none where the table has a single
    level.
    """
    levels = np.unique(np.round(q, 9))
    counts = 1.0 - np.searchsorted(np.sort(q), levels[1:] - 1e-9) / q.size
    if share <= 0 or counts.size == 0:
        return np.zeros(q.size, bool)
    level = levels[1:][int(np.argmin(np.abs(np.log(counts / share))))]
    return q >= level - 1e-9


def select(
    law: Law, table: Table, *, recipe: Recipe, loss: Loss, seed: int, toward: Mapping[str, np.ndarray] | None
) -> Belief | None:
    """What predicts, and what it knows; None if nothing could be fitted.

    Raises FittingError where the law does not suit the table.
    """
    frame = Frame.from_table(table)
    forms = law.forms(frame)
    q = scale_coordinate(table, toward)
    sizes = sum(form.size for form in forms)
    frontier = frontier_rows(q, recipe.frontier)
    coarse = condense(table, most=RANKED_CELLS, frontier=frontier, loss=loss)
    condensed = condense(table, most=most_cells(sizes), frontier=frontier, loss=loss)
    table, frame = condensed.table, Frame.from_table(condensed.table)
    forms = law.forms(frame)
    smallest = min(form.size for form in forms)
    if len(table) <= smallest:
        raise FittingError(
            f"{law.name} has at least {smallest} coefficients here and the table {len(table)} rows that differ; "
            "add rows"
        )
    rows = _rows(condensed, toward)
    ranking = by_frontier(law, coarse.table, _rows(coarse, toward), recipe=recipe, loss=loss, seed=seed)
    wanted, core = ranking.shortlist, law.core(frame) if isinstance(law, Cautious) else ""
    needed = {*(m.key[0] for m in wanted), core} if wanted else {form.structure for form in forms}
    again = [form for form in forms if form.structure in needed]
    refitted = {m.key: m for m in ridge_paths(again, rows, recipe=recipe, loss=loss, seed=seed)}
    ranked = ranked_again([replace(refitted[m.key], score=m.score) for m in wanted if m.key in refitted], rows, recipe)
    members = ranked[: max(1, round(recipe.share * ranking.tried))]
    members = members or _by_fit(list(refitted.values()), len(table))
    if not members:
        return None
    if len(members) == 1:
        equation = settled(members[0], rows, recipe=recipe, loss=loss)
        members = [equation]
    else:
        wished = None
        if toward is not None:
            known = {name: toward[name] for name in frame.centre if name in toward}
            wished = frame.coordinates(known, partly=True)
        simple = [replace(m, score=ranking.scores.get(m.key, math.inf)) for m in refitted.values() if m.key[0] == core]
        lean = ranked_again(simple, rows, recipe)[0] if simple else None
        equation = distilled(members, rows, wished, lean)
    belief = Belief.from_members(members, equation, rows)
    return replace(belief, stretch=ranking.stretch, missed=ranking.missed)


def _rows(condensed: Condensed, toward: Mapping[str, np.ndarray] | None) -> Rows:
    table = condensed.table
    q = scale_coordinate(table, toward)
    return Rows.from_table(table, Frame.from_table(table), q, measured=condensed.measured, within=condensed.within)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What the frontier said of candidates that were fitted without it; none where the table has no frontier to spare.

    shortlist: those that foretold it best, best first. scores: the error of each on it, by key. tried: how many there
    were. missed: the error of the mean of
    the best on it, in ln y; stretch: by how much that exceeded what they foretold, at least 1.
    """

    shortlist: Sequence[Member] = ()
    scores: Mapping[tuple[str, int, int], float] = field(default_factory=dict)
    tried: int = 0
    missed: float = math.nan
    stretch: float = 1.0


def by_frontier(law: Law, table: Table, rows: Rows, *, recipe: Recipe, loss: Loss, seed: int) -> Ranking:
    """The candidates by how well they foretell the frontier, fitted without it."""
    q = rows.q
    frontier = frontier_rows(q, recipe.frontier)
    if not frontier.any():
        return Ranking()
    rest, out = table.where(~frontier), table.where(frontier)
    try:
        # Centre, hull and bounds are those of the rest alone: taken from all rows they would leak the frontier.
        frame = Frame.from_table(rest)
        structures = {form.structure for form in law.forms(Frame.from_table(table))}
        forms = [form for form in law.forms(frame) if form.structure in structures]
    except FittingError:
        return Ranking()
    if len(rest) <= min((form.size for form in forms), default=len(rest)):
        return Ranking()
    inner = q[~frontier] / max(float(q[~frontier].max()), 1e-300)
    measured = max(round(rows.measured * float(rows.weights[~frontier].sum() / rows.weights.sum())), 1)
    inside = Rows.from_table(rest, frame, inner, measured=measured, within=rows.within)
    outside = Rows.from_table(out, frame, q[frontier], measured=rows.measured - measured, within=rows.within)
    ranked = []
    for member in ridge_paths(forms, inside, recipe=recipe, loss=loss, seed=seed):
        error = member.form.predict_log(member.raw[None, :], outside.z)[0] - outside.log_y
        if np.isfinite(error).all():
            ranked.append(replace(member, score=_rms(error, outside.weights)))
    if not ranked:
        return Ranking()
    ranked.sort(key=lambda m: m.score)
    chosen = [m for m in ranked if m.form.exclusive == ranked[0].form.exclusive]
    best = chosen[: max(1, round(recipe.share * len(chosen)))]
    belief = Belief.from_members(best, None, inside)
    return Ranking(
        shortlist=chosen[: max(1, round(recipe.shortlist * len(chosen)))],
        scores={m.key: m.score for m in chosen},
        tried=len(chosen),
        missed=_rms(belief.log_y(outside.z) - outside.log_y, outside.weights),
        stretch=belief.stretched_on(outside),
    )


def ranked_again(members: Sequence[Member], rows: Rows, recipe: Recipe) -> list[Member]:
    """By their error on the frontier, with some regard to how well they fit all rows; best first."""

    def rank(m: Member) -> float:
        error = _rms(m.form.predict_log(m.raw[None, :], rows.z)[0] - rows.log_y, rows.weights)
        return math.log(m.score + _TINY) + recipe.fit_weight * math.log(error + _TINY)

    return sorted(members, key=rank)


def _by_fit(members: Sequence[Member], rows: int) -> list[Member]:
    """Without a frontier, the candidate of least corrected information criterion, alone."""

    def criterion(m: Member) -> float:
        room = max(rows - m.form.size - 1, 0.5)
        return rows * np.log(m.loss + 1e-30) + 2 * m.form.size * (1 + (m.form.size + 1) / room)

    return sorted(members, key=criterion)[:1]


def _rms(errors: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt((weights * errors**2).sum() / weights.sum()))
