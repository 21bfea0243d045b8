"""Which structure, how much ridge, which rows count: decided on the frontier of the fitted rows, never on held-out
ones.

Every form of a law is fitted along a path of ridges from heavy to light, each level starting where the last ended,
with and without extra weight on the rows of largest scale. Candidates are ranked by their error on the largest
quarter of the fitted rows, after a fit from scratch to the other rows; the best tenth is refitted to all rows and
predicts together, by the mean of ln y. [ours]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import FittingError
from .law import Form, Frame, Law
from .solver import Ending, Loss, solve
from .table import Table


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The constants of the procedure; the defaults were chosen on one half of the public tables and checked on the
    other.

    ridges: fixed levels of the path. own_ridges: then levels in units of the fit's own mean squared error / rows, the
    weight that the standard normal prior has under that noise. starts: a start at the prior's centre and draws from
    it. emphasis: exponents of the weight exp(emphasis * (q - 1)), q running from 0 to 1 with scale. share: the part
    of the candidates that predicts. frontier: the part of the rows that ranks. budget: the most solver steps a level.
    gain: a start stops when its steps gain less than this part of the objective.
    """

    ridges: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
    own_ridges: tuple[float, ...] = (1.0, 0.1)
    starts: int = 3
    emphasis: tuple[float, ...] = (0.0, 2.0)
    share: float = 0.1
    frontier: float = 0.25
    budget: int = 30
    gain: float = 1e-5


# One fit of least loss for each form, without ridge, ranking or averaging: what tables of published coefficients
# report. The small gain is for the Huber loss: its minimum is so flat that coefficients are a per cent off at 1e-5.
PLAIN = Recipe(
    ridges=(1e-3, 1e-5, 1e-8, 0.0),
    own_ridges=(),
    starts=8,
    emphasis=(0.0,),
    share=0.0,
    frontier=0.0,
    budget=400,
    gain=1e-10,
)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One fitted candidate: a form, its raw parameters, its mean loss on the fitted rows, its error on the frontier
    (nan if none).
    """

    form: Form
    raw: np.ndarray
    loss: float
    ending: Ending
    score: float
    key: tuple[str, int, int]


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
            weight = max(float(np.mean(np.log(np.asarray(toward[name], float))) - z.mean()) / half, 0.0)
        q += weight * (z - z.min()) / half
    if q.max() == q.min():
        return q if toward is None else scale_coordinate(table, None)
    return (q - q.min()) / (q.max() - q.min())


def frontier_rows(q: np.ndarray, share: float) -> np.ndarray:
    """A mask of the rows of largest scale: about `share` of them, in whole levels; none where the table has a single
    level.
    """
    levels = np.unique(np.round(q, 9))
    counts = np.array([(q >= level - 1e-9).mean() for level in levels[1:]])
    if share <= 0 or counts.size == 0:
        return np.zeros(q.size, bool)
    level = levels[1:][int(np.argmin(np.abs(np.log(counts / share))))]
    return q >= level - 1e-9


def ridge_path(
    form: Form, z: Mapping[str, np.ndarray], log_y: np.ndarray, q: np.ndarray, *, recipe: Recipe, loss: Loss, seed: int
) -> list[Member]:
    """All candidates of one form: the best start at every (ridge level, emphasis)."""
    draws = np.random.default_rng(seed).standard_normal((recipe.starts - 1, form.size))
    start = np.concatenate([np.zeros((1, form.size)), draws])
    kinds = len(recipe.emphasis)
    raw = np.tile(start, (kinds, 1))
    weights = np.repeat(np.exp(np.outer(recipe.emphasis, q - 1.0)), recipe.starts, axis=0)
    members: list[Member] = []
    own: np.ndarray | None = None
    for level in range(len(recipe.ridges) + len(recipe.own_ridges)):
        if level < len(recipe.ridges):
            ridge = np.full(len(raw), recipe.ridges[level])
        else:
            assert own is not None
            ridge = own * recipe.own_ridges[level - len(recipe.ridges)]
        solution = solve(
            form, z, log_y, raw, ridge=ridge, weights=weights, loss=loss, budget=recipe.budget, gain=recipe.gain
        )
        raw = solution.raw
        if level == len(recipe.ridges) - 1:
            own = np.empty(len(raw))
        for kind in range(kinds):
            block = slice(kind * recipe.starts, (kind + 1) * recipe.starts)
            best = block.start + int(np.argmin(solution.objective[block]))
            if own is not None and level == len(recipe.ridges) - 1:
                own[block] = solution.loss[best] / log_y.size
            if np.isfinite(solution.objective[best]):
                members.append(
                    Member(
                        form=form,
                        raw=raw[best].copy(),
                        loss=float(solution.loss[best]),
                        ending=solution.endings[best],
                        score=float("nan"),
                        key=(form.structure, level, kind),
                    )
                )
    return members


def select(
    law: Law, table: Table, *, recipe: Recipe, loss: Loss, seed: int, toward: Mapping[str, np.ndarray] | None
) -> tuple[Member, ...]:
    """The members that predict, best first. Empty if nothing could be fitted. Raises FittingError where the law does
    not suit.
    """
    frame = Frame.of(table)
    forms = law.forms(frame)
    smallest = min(form.size for form in forms)
    if len(table) <= smallest:
        raise FittingError(
            f"{law.name} has at least {smallest} coefficients here and the table {len(table)} rows; add rows"
        )
    q = scale_coordinate(table, toward)
    ranked = _rank_on_frontier(law, table, q, {form.structure for form in forms}, recipe=recipe, loss=loss, seed=seed)
    wanted = None
    if ranked:
        chosen = [m for m in ranked if m.form.exclusive == ranked[0].form.exclusive]
        wanted = chosen[: max(1, round(recipe.share * len(chosen)))]
    z, log_y = frame.coordinates(table.columns), np.log(table.y)
    needed = None if wanted is None else {m.key[0] for m in wanted}
    refitted = {
        m.key: m
        for form in forms
        if needed is None or form.structure in needed
        for m in ridge_path(form, z, log_y, q, recipe=recipe, loss=loss, seed=seed)
    }
    if wanted is not None:
        members = [_scored(refitted[m.key], m.score) for m in wanted if m.key in refitted]
        if members:
            return tuple(members)
    return _by_fit(list(refitted.values()), len(table))


def _rank_on_frontier(
    law: Law, table: Table, q: np.ndarray, structures: set[str], *, recipe: Recipe, loss: Loss, seed: int
) -> list[Member]:
    """Candidates fitted without the frontier and ranked by their error on it; empty where the table has no frontier
    to spare.
    """
    frontier = frontier_rows(q, recipe.frontier)
    if not frontier.any():
        return []
    rest = table.where(~frontier)
    try:
        frame = Frame.of(rest)
        forms = [form for form in law.forms(frame) if form.structure in structures and form.size < len(rest)]
    except FittingError:
        return []
    inner = q[~frontier] / max(float(q[~frontier].max()), 1e-300)
    z, log_y = frame.coordinates(rest.columns), np.log(rest.y)
    out = table.where(frontier)
    z_out, log_out = frame.coordinates(out.columns), np.log(out.y)
    ranked = []
    for form in forms:
        members = ridge_path(form, z, log_y, inner, recipe=recipe, loss=loss, seed=seed)
        for member in members:
            error = member.form.predict_log(member.raw[None, :], z_out)[0] - log_out
            score = float(np.sqrt(np.mean(error**2)))
            if np.isfinite(score):
                ranked.append(_scored(member, score))
    return sorted(ranked, key=lambda m: m.score)


def _by_fit(members: Sequence[Member], rows: int) -> tuple[Member, ...]:
    """Without a frontier, the candidate of least corrected information criterion alone (at the lightest ridge, that
    is by its loss).
    """

    def criterion(m: Member) -> float:
        room = max(rows - m.form.size - 1, 0.5)
        return rows * np.log(m.loss + 1e-30) + 2 * m.form.size * (1 + (m.form.size + 1) / room)

    return tuple(sorted(members, key=criterion)[:1])


def _scored(member: Member, score: float) -> Member:
    return Member(form=member.form, raw=member.raw, loss=member.loss, ending=member.ending, score=score, key=member.key)
