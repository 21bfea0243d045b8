"""Candidates: one form of a law, fitted along a path of ridges.

Each level of the path starts where the heavier one ended, which makes starts agree; and the whole path is walked with
and without extra weight on the rows of largest scale. Every (level, emphasis) is a candidate; `selection` decides
which of them predict. [ours]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .law import Form, Frame
from .solver import Ending, Loss, solve
from .table import Table


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The constants of the procedure; the defaults were chosen on one half of the public tables and checked on the
    other.

    ridges: fixed levels of the path. own_ridges: then levels in units of the fit's own mean squared error / rows, the
    weight that the standard normal prior has under that noise. starts: a start at the prior's centre and draws from
    it. emphasis: exponents of the weight exp(emphasis * (q - 1)), q running from 0 to 1 with scale. shortlist: the
    part of the candidates, by their error on the frontier, that is refitted to all rows. fit_weight: they are ranked
    by ln(error on the frontier) + fit_weight * ln(error of the refit). share: the part of the candidates that
    predicts. frontier: the part of the rows that ranks. budget: the most solver steps a level. settling: the most
    further steps of the candidate that is shown by its coefficients. gain: a start stops when its steps gain less than
    this part of the objective.
    """

    ridges: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
    own_ridges: tuple[float, ...] = (1.0, 0.1)
    starts: int = 3
    emphasis: tuple[float, ...] = (0.0, 2.0)
    shortlist: float = 0.3
    fit_weight: float = 0.25
    share: float = 0.1
    frontier: float = 0.25
    budget: int = 30
    settling: int = 1000
    gain: float = 1e-3


# One fit of least loss for each form, without ridge, ranking or averaging: what tables of published coefficients
# report. The small gain is for the Huber loss: its minimum is so flat that coefficients are a per cent off at 1e-5.
PLAIN = Recipe(
    ridges=(1e-3, 1e-5, 1e-8, 0.0),
    own_ridges=(),
    starts=8,
    emphasis=(0.0,),
    shortlist=0.0,
    share=0.0,
    frontier=0.0,
    budget=400,
    gain=1e-10,
)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What forms are fitted to. z: centred logarithms, each (rows,); log_y; weights, of mean 1; q: 0 to 1 with scale.
    measured: how many measurements the rows are means of; within: their mean squared difference from those means.
    """

    z: Mapping[str, np.ndarray]
    log_y: np.ndarray
    weights: np.ndarray
    q: np.ndarray
    measured: int
    within: float

    @classmethod
    def from_table(cls, table: Table, frame: Frame, q: np.ndarray, *, measured: int, within: float) -> Rows:
        weights = np.ones(len(table)) if table.weights is None else table.weights
        return cls(
            z=frame.coordinates(table.columns),
            log_y=np.log(table.y),
            weights=weights / weights.mean(),
            q=q,
            measured=measured,
            within=within,
        )

    def emphasised(self, emphasis: float | Sequence[float]) -> np.ndarray:
        """Weights with more on the rows of largest scale, (rows,) or (emphases, rows)."""
        return self.weights * np.exp(np.multiply.outer(emphasis, self.q - 1.0))


@dataclass(frozen=True, kw_only=True)
class Member:
    """One fitted candidate: a form, its raw parameters, the ridge they were fitted with, its mean loss on the fitted
    rows, its error on the frontier (nan if none).
    """

    form: Form
    raw: np.ndarray
    ridge: float
    loss: float
    ending: Ending
    score: float
    key: tuple[str, int, int]


def ridge_paths(forms: Sequence[Form], rows: Rows, *, recipe: Recipe, loss: Loss, seed: int) -> list[Member]:
    """All candidates of several forms, in their order: the best start at every (ridge level, emphasis)."""
    batches: dict[str, list[Form]] = {}
    for form in forms:
        batches.setdefault(form.host[0].structure, []).append(form)
    members = [m for batch in batches.values() for m in _batch(batch, rows, recipe=recipe, loss=loss, seed=seed)]
    place = {form.structure: k for k, form in enumerate(forms)}
    return sorted(members, key=lambda m: place[m.form.structure])


def _batch(forms: Sequence[Form], rows: Rows, *, recipe: Recipe, loss: Loss, seed: int) -> list[Member]:
    """The candidates of forms of one host: form by form, and within each the emphases and their starts."""
    host = forms[0].host[0]
    kinds, starts = len(recipe.emphasis), recipe.starts
    each = kinds * starts
    raw, fixed = np.zeros((len(forms) * each, host.size)), np.zeros((len(forms) * each, host.size))
    own_places = []
    for k, form in enumerate(forms):
        mine = slice(k * each, (k + 1) * each)
        absent = form.host[1]
        places = [host.parameters.index(name) for name in form.parameters]
        draws = np.random.default_rng(seed).standard_normal((starts - 1, form.size))
        raw[mine, places] = np.tile(np.concatenate([np.zeros((1, form.size)), draws]), (kinds, 1))
        for name, value in absent.items():
            raw[mine, host.parameters.index(name)] = value
            fixed[mine, host.parameters.index(name)] = 1.0
        own_places.append(places)
    weights = np.tile(np.repeat(rows.emphasised(recipe.emphasis), starts, axis=0), (len(forms), 1))
    members: list[Member] = []
    own: np.ndarray | None = None
    for level in range(len(recipe.ridges) + len(recipe.own_ridges)):
        if level < len(recipe.ridges):
            ridge = np.full(len(raw), recipe.ridges[level])
        else:
            assert own is not None
            ridge = own * recipe.own_ridges[level - len(recipe.ridges)]
        solution = solve(
            host,
            rows.z,
            rows.log_y,
            raw,
            ridge=ridge,
            weights=weights,
            fixed=fixed if fixed.any() else None,
            loss=loss,
            budget=recipe.budget,
            gain=recipe.gain,
        )
        raw = solution.raw
        if level == len(recipe.ridges) - 1:
            own = np.empty(len(raw))
        for k, form in enumerate(forms):
            for kind in range(kinds):
                block = slice(k * each + kind * starts, k * each + (kind + 1) * starts)
                best = block.start + int(np.argmin(solution.objective[block]))
                if own is not None and level == len(recipe.ridges) - 1:
                    own[block] = (solution.loss[best] + rows.within) / rows.measured
                if np.isfinite(solution.objective[best]):
                    members.append(
                        Member(
                            form=form,
                            raw=raw[best, own_places[k]],
                            ridge=float(ridge[best]),
                            loss=float(solution.loss[best]),
                            ending=solution.endings[best],
                            score=float("nan"),
                            key=(form.structure, level, kind),
                        )
                    )
    return members


def settled(member: Member, rows: Rows, *, recipe: Recipe, loss: Loss) -> Member:
    """The same candidate taken to its minimum, if the path left it on the way there."""
    if member.ending in (Ending.CONVERGED, Ending.FAILED):
        return member
    found = solve(
        member.form,
        rows.z,
        rows.log_y,
        member.raw[None, :],
        ridge=member.ridge,
        weights=rows.emphasised(recipe.emphasis[member.key[2]]),
        loss=loss,
        budget=recipe.settling,
        gain=0.0,
    )
    return replace(member, raw=found.raw[0], loss=float(found.loss[0]), ending=found.endings[0])
