"""The best hyperparameters, read off a fit: where its equation is least, as a function of scale.

A harm that rises on either side of a hyperparameter, or a power law in it against another, gives the equation a least
value at every scale, and the place of that value is nearly a power law of scale itself. So is what others published:
`PUBLISHED` holds their laws, in their units, to be set beside ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .candidates import Member
from .errors import FittingError
from .forecast import Belief

# How far beyond the measured range an optimum is sought, in halves of it; one found at that edge is no optimum.
_REACH = 1.5
# Points a side and rounds of the search: each round looks a third as far around the best, to 1e-3 of a half range.
_SIDE, _ROUNDS = 9, 7
_MOST_HYPERPARAMETERS = 3
# Draws of the coefficients behind an interval.
_DRAWS = 60


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The best value of one hyperparameter at some places. low, high: an interval that holds it with probability
    `level`. inside: whether it is a minimum, and not the edge of where it was sought. exponents: d ln optimum / d ln
    input over the places, with their intervals, for the inputs that vary there; `scale` is the value where all inputs
    are 1.
    """

    hyperparameter: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    inside: np.ndarray
    level: float
    scale: float
    exponents: Mapping[str, tuple[float, float, float]]

    def __str__(self) -> str:
        powers = " ".join(
            f"{name}^{value:.3f} ({low:.3f} to {high:.3f})" for name, (value, low, high) in self.exponents.items()
        )
        beyond = int((~self.inside).sum())
        return f"{self.hyperparameter}* = {self.scale:.3g} {powers}" + (
            f"; no minimum within reach at {beyond} of {self.inside.size} places" if beyond else ""
        )


# Scale and exponents: Step Law (arXiv 2503.04715; N non-embedding parameters, D tokens, batch in tokens), DeepSeek
# (2401.02954; C compute in FLOPs, batch in tokens).
PUBLISHED: dict[str, dict[str, tuple[float, dict[str, float]]]] = {
    "Step Law": {"learning rate": (1.79, {"N": -0.713, "D": 0.307}), "batch": (0.58, {"D": 0.571})},
    "DeepSeek": {"learning rate": (0.3118, {"C": -0.125}), "batch": (0.2920, {"C": 0.3271})},
}


def published(source: str, hyperparameter: str, **inputs: float) -> float:
    """What a source's law gives, as `published("Step Law", "learning rate", N=1e9, D=2e10)`. Raises FittingError."""
    try:
        scale, exponents = PUBLISHED[source][hyperparameter]
    except KeyError:
        known = ", ".join(f"{name}: {' and '.join(laws)}" for name, laws in PUBLISHED.items())
        raise FittingError(f"{source!r} gives no law of {hyperparameter!r}; there are {known}") from None
    missing = set(exponents) - set(inputs)
    if missing:
        raise FittingError(f"{source}'s law of the {hyperparameter} reads {' and '.join(exponents)}; give {missing}")
    return scale * float(np.prod([inputs[name] ** power for name, power in exponents.items()]))


def optima(belief: Belief, inputs: Mapping[str, np.ndarray], level: float) -> dict[str, Optimum]:
    """By hyperparameter, at places given by their inputs (arrays of one length). Raises FittingError for a law that
    reads no hyperparameter."""
    from scipy import stats  # here, because importing it costs more than a plan takes

    shown = belief.shown
    frame = shown.form.frame
    if not frame.hyperparameters:
        raise FittingError("the table has no hyperparameter that varies, so there is none to choose")
    if len(frame.hyperparameters) > _MOST_HYPERPARAMETERS:
        raise FittingError(f"at most {_MOST_HYPERPARAMETERS} hyperparameters are chosen at once")
    z = frame.coordinates({name: inputs[name] for name in frame.inputs if name in inputs}, partly=True)
    missing = [name for name in frame.inputs if name not in z]
    if missing:
        raise FittingError(f"column {missing[0]!r} is missing; the fit knows {', '.join(frame.inputs)}")
    best, inside = _best(shown, z)
    rng = np.random.default_rng(0)  # part of the answer, not of the fit: the same again and again
    raws = rng.multivariate_normal(shown.raw, belief.stretch**2 * belief.covariances[0], size=_DRAWS)
    drawn = np.stack([_best(shown, z, raw)[0] for raw in raws])
    others = np.stack([_best(member, z)[0] for member in belief.members])
    reach = stats.t.ppf(0.5 + level / 2, belief.degrees_of_freedom)
    design = np.column_stack([np.ones(best.shape[1]), *(z[name] for name in frame.inputs)])
    varies = [name for name in frame.inputs if np.ptp(z[name]) > 1e-9]
    used = [0, *(1 + list(frame.inputs).index(name) for name in varies)]
    regress = np.linalg.pinv(design[:, used])
    out = {}
    for k, name in enumerate(frame.hyperparameters):
        spread = np.sqrt(drawn[:, k].var(0) + belief.shares @ (others[:, k] - best[k]) ** 2)
        slopes = regress @ best[k]
        error = np.sqrt((drawn[:, k] @ regress.T).var(0) + belief.shares @ ((others[:, k] - best[k]) @ regress.T) ** 2)
        log_scale = slopes[0] + frame.centre[name] - sum(
            s * frame.centre[c] for s, c in zip(slopes[1:], varies, strict=True)
        )  # fmt: skip
        middle = best[k] + frame.centre[name]
        out[name] = Optimum(
            hyperparameter=name,
            value=np.exp(middle),
            low=np.exp(middle - reach * spread),
            high=np.exp(middle + reach * spread),
            inside=inside[k],
            level=level,
            scale=float(np.exp(log_scale)),
            exponents={
                c: (float(s), float(s - reach * e), float(s + reach * e))
                for c, s, e in zip(varies, slopes[1:], error[1:], strict=True)
            },
        )
    return out


def _best(member: Member, z: Mapping[str, np.ndarray], raw: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Centred logarithms of the best hyperparameters, (hyperparameters, places), and whether each is a minimum."""
    frame = member.form.frame
    raw = member.raw if raw is None else raw
    names = frame.hyperparameters
    places = next(iter(z.values())).size
    half = np.array([frame.half[name] for name in names])[:, None]
    middle, width = np.zeros((len(names), places)), np.tile(half * _REACH, (1, places))
    grid = np.array(list(itertools.product(np.linspace(-1, 1, _SIDE), repeat=len(names)))).T
    for _ in range(_ROUNDS):
        tried = middle[:, :, None] + width[:, :, None] * grid[:, None, :]
        tried = np.clip(tried, -_REACH * half[:, :, None], _REACH * half[:, :, None])
        columns = {name: np.repeat(values, grid.shape[1]) for name, values in z.items()}
        columns |= {name: tried[k].ravel() for k, name in enumerate(names)}
        log_y = member.form.predict_log(raw[None, :], columns)[0].reshape(places, -1)
        least = log_y.argmin(1)
        middle = tried[:, np.arange(places), least]
        width = width / 3
    return middle, np.abs(middle) < 0.99 * _REACH * half
