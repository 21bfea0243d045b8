"""What a blend of laws predicts with and knows, from the fits of its laws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from .candidates import Member
from .forecast import Belief, seed_noise
from .laws import Blend, Part
from .table import Table

# A law of less weight than this changes nothing that one could read.
_LEAST = 1e-3


def blended(law: Blend, beliefs: Mapping[str, Belief], table: Table) -> Belief:
    """The belief whose members are the laws' equations, the heaviest first, by the weights of `law.shares`.

    beliefs: by the name of the law, of fits to `table`. What each knows of its noise and rows is averaged likewise.
    """
    shares = law.shares({name: belief.missed for name, belief in beliefs.items()})
    names = sorted((name for name, share in shares.items() if share >= _LEAST), key=lambda name: -shares[name])
    weights = np.array([shares[name] for name in names])
    weights /= weights.sum()
    frame = beliefs[names[0]].shown.form.frame
    members = tuple(_part(name, beliefs[name].shown, frame) for name in names)

    def mean(what: Callable[[Belief], float]) -> float:
        return float(np.dot(weights, [what(beliefs[name]) for name in names]))

    belief = Belief(
        members=members,
        equation=None,
        covariances=tuple(beliefs[name].covariances[0] for name in names),
        residual=0.0,
        seed=seed_noise(np.log(table.y), table.group),
        degrees_of_freedom=mean(lambda b: b.degrees_of_freedom),
        design_effect=mean(lambda b: b.design_effect),
        stretch=mean(lambda b: b.stretch),
        weights=tuple(weights.tolist()),
        missed=mean(lambda b: b.missed),
    )
    error = np.log(table.y) - belief.log_y(frame.coordinates(table.columns))
    return replace(belief, residual=float(np.sqrt(np.average(error**2, weights=table.weights))))


def _part(name: str, member: Member, frame: object) -> Member:
    return replace(member, form=Part(frame=frame, law=name, form=member.form))
