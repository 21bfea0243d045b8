"""How far a forecast may be off.

The variance of ln y at a target has three parts, added:

    coefficients   what the fit leaves open, from its curvature and the prior, at the target: grows with distance
    candidates     how much the members that predict together disagree there: grows with distance too
    noise          of a single measurement: the residuals of the fit, or the spread between replicates if that is larger

The first two are what the law does not know. Rows that lie close err alike where the law does not quite suit, so that
they tell less than as many independent ones: how much less, the design effect, is seen from the correlation of their
residuals. Taken at its word, that variance is too large in the middle and too small far out: errors of extrapolation
have heavy tails. So a part of it is kept, with few degrees of freedom, beside the noise, which has many; together they
have those of Welch and Satterthwaite. Both constants were chosen on the development half of the exams. Last, how well
the unknown part foretells the error of an extrapolation is measured on the frontier of the fitted rows against a fit
without it, and stretches it. [ours]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .candidates import Member, Rows
from .errors import FittingError

# The curvature of so many members, best first, is carried to targets; more change nothing but time.
_CURVED = 8
# Of the variance of what the law does not know: the part that is kept, times the root of the design effect, and its
# degrees of freedom.
_KEPT, _TAILS = 0.5, 1.5
# Beyond this correlation a table would count as less than a twentieth of its rows, which no residuals can show.
_MOST_ALIKE = 0.9


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """An interval [low, high] around a median that holds a new measurement with probability `level`; units of the
    table's y.
    """

    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float


@dataclass(frozen=True, kw_only=True)
class Belief:
    """Members that predict together, the one equation that stands for them, and what they know.

    equation: what predicts; None if the mean of the members does.
    covariances: of the raw parameters, for the first members, with the design effect in them. residual, seed: standard
    deviations in ln y, around the fit and between replicates (0 when no row is repeated). design_effect: how many rows
    tell as much as one independent row, at least 1. degrees_of_freedom: independent rows beyond the effective number of
    coefficients. stretch: by how much errors on the frontier exceeded what was foretold, at least 1. weights: of the
    members in their mean, of sum 1; () = all alike. missed: the error on the frontier, in ln y, of what was fitted
    without it; nan if there was none.
    """

    members: tuple[Member, ...]
    equation: Member | None
    covariances: tuple[np.ndarray, ...]
    residual: float
    seed: float
    degrees_of_freedom: float
    design_effect: float = 1.0
    stretch: float = 1.0
    weights: tuple[float, ...] = ()
    missed: float = math.nan

    @classmethod
    def from_members(
        cls, members: Sequence[Member], equation: Member | None, rows: Rows, of_members: Sequence[float] = ()
    ) -> Belief:
        """From members (and their weights) and the rows that they were fitted to, without seed noise."""
        weights, size = rows.weights, rows.log_y.size
        residual = rows.log_y - _mean_log(members, equation, rows.z, of_members)
        squares = float((weights * residual**2).sum())
        curved = _curved(members, equation)
        jacobians = [m.form.evaluate(m.raw[None, :], rows.z)[1][0] for m in curved]
        curvatures = [(j * weights) @ j.T for j in jacobians]
        # The effective number of coefficients depends on the noise and the noise on it; a few rounds settle both.
        spectrum = np.maximum(np.linalg.eigvalsh(curvatures[0]), 0.0)
        effective = min(float(curved[0].form.size), size / 2)
        for _ in range(5):
            variance = max(squares / max(size - effective, 1.0), 1e-20)
            effective = min(float((spectrum / (spectrum + variance)).sum()), 0.9 * size)
        design_effect = _design_effect(np.stack(list(rows.z.values()), axis=1), np.sqrt(weights) * residual, effective)
        return cls(
            members=tuple(members),
            equation=equation,
            covariances=tuple(design_effect * np.linalg.inv(c / variance + np.eye(len(c))) for c in curvatures),
            residual=float(np.sqrt(variance + rows.within)),
            seed=0.0,
            degrees_of_freedom=max((size - effective) / design_effect, 2.0),
            design_effect=design_effect,
            weights=tuple(of_members),
        )

    @property
    def shares(self) -> np.ndarray:
        """The weight of every member, (members,)."""
        return np.array(self.weights or [1 / len(self.members)] * len(self.members))

    @property
    def shown(self) -> Member:
        """The one whose coefficients people see: the equation, or of a mean the member that ranks first."""
        return self.equation or self.members[0]

    @property
    def curved(self) -> tuple[Member, ...]:
        """Those whose covariances are known, in the order of `covariances`."""
        return tuple(_curved(self.members, self.equation)[: len(self.covariances)])

    @property
    def curved_shares(self) -> np.ndarray:
        """The weight of each of those, of sum 1."""
        if not self.weights:
            return np.full(len(self.covariances), 1 / len(self.covariances))
        some = self.shares[: len(self.covariances)]
        return some / some.sum()

    def averaged(self) -> Belief:
        """The same members without the equation: their mean predicts."""
        if self.equation is None or self.equation is self.members[0]:
            return replace(self, equation=None)
        return replace(self, equation=None, covariances=self.covariances[1:])

    def log_y(self, z: Mapping[str, np.ndarray]) -> np.ndarray:
        """ln y as predicted: by the equation, or by the mean of the members where there is none."""
        return _mean_log(self.members, self.equation, z, self.weights)

    @property
    def kept(self) -> float:
        """The part of the variance of what the law does not know that forecasts have shown to be there."""
        return _KEPT / math.sqrt(self.design_effect)

    def freedom(self, unknown: np.ndarray) -> np.ndarray:
        """Degrees of freedom of a forecast, of the shape of the variance of what the law does not know there."""
        noise = self.noise**2
        with np.errstate(invalid="ignore"):
            both = (unknown + noise) ** 2 / (unknown**2 / _TAILS + noise**2 / self.degrees_of_freedom)
        return np.nan_to_num(both, nan=_TAILS)

    def moments(self, z: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """ln y as predicted and the variance of what the law does not know, before stretching and without noise."""
        mean, coefficients, structures = self.parts(z)
        return mean, coefficients + structures

    def parts(self, z: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """ln y as predicted and the two parts of that variance: what the fit leaves open, and how much the members
        disagree."""
        mean = self.log_y(z)
        open_ = np.zeros(mean.size)
        for member, covariance, share in zip(self.curved, self.covariances, self.curved_shares, strict=True):
            jacobian = member.form.evaluate(member.raw[None, :], z)[1][0]
            # Without noise the covariance is all rounding, and a variance may come out just below 0.
            open_ += share * np.maximum(np.einsum("kn,kl,ln->n", jacobian, covariance, jacobian), 0.0)
        logs = np.stack([m.form.predict_log(m.raw[None, :], z)[0] for m in self.members])
        spread = self.design_effect * self.shares @ (logs - mean) ** 2
        return mean, self.kept * open_, self.kept * spread

    def stretched_on(self, rows: Rows) -> float:
        """The factor by which the errors on rows that were not fitted exceed what was foretold, at least 1.

        A few rows tell little, so the factor is drawn towards 1 as if two more rows had met the expectation.
        """
        mean, unknown = self.moments(rows.z)
        expected = unknown + self.noise**2
        surplus = (rows.log_y - mean) ** 2 / expected
        return float(np.sqrt(max((surplus.sum() + 2.0) / (surplus.size + 2.0), 1.0)))

    @property
    def noise(self) -> float:
        """Standard deviation of a new measurement around the truth, in ln y."""
        return max(self.residual, self.seed)

    def interval(self, z: Mapping[str, np.ndarray], level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Low, median and high of ln y for a new measurement."""
        from scipy import stats  # here, because importing it costs more than a plan takes

        if not 0 < level < 1:
            raise FittingError(f"the level of an interval is a probability between 0 and 1, not {level}")
        mean, unknown = self.moments(z)
        unknown = self.stretch**2 * unknown
        reach = stats.t.ppf(0.5 + level / 2, self.freedom(unknown)) * np.sqrt(unknown + self.noise**2)
        return mean - reach, mean, mean + reach


def _mean_log(
    members: Sequence[Member], equation: Member | None, z: Mapping[str, np.ndarray], weights: Sequence[float] = ()
) -> np.ndarray:
    if equation is not None:
        return equation.form.predict_log(equation.raw[None, :], z)[0]
    return np.average([m.form.predict_log(m.raw[None, :], z)[0] for m in members], axis=0, weights=weights or None)


def _curved(members: Sequence[Member], equation: Member | None) -> list[Member]:
    """Those whose curvature is carried to targets: the equation first, then the best members."""
    return [*([] if equation is None or equation is members[0] else [equation]), *members][:_CURVED]


def _design_effect(rows: np.ndarray, residual: np.ndarray, effective: float) -> float:
    """(1 + r) / (1 - r), r being the correlation of each residual with that of the nearest other row.

    rows: (rows, columns), centred logarithms; distances are in units of each column's range. A smooth fit of
    `effective` coefficients leaves independent noise with a correlation of about -effective / rows, which is added
    back.
    """
    squares = float((residual**2).sum())
    if residual.size < 3 or squares == 0.0:
        return 1.0
    scaled = rows / np.maximum(np.ptp(rows, axis=0), 1e-300)
    distance = ((scaled[:, None, :] - scaled[None, :, :]) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(1)
    r = float((residual * residual[nearest]).sum()) / squares + effective / residual.size
    r = min(max(r, 0.0), _MOST_ALIKE)
    return (1.0 + r) / (1.0 - r)


def seed_noise(log_y: np.ndarray, group: np.ndarray | None) -> float:
    """Standard deviation of ln y between replicates, rows equal but for the seed; 0 where no row is repeated."""
    if group is None:
        return 0.0
    _, member_of, sizes = np.unique(group, return_inverse=True, return_counts=True)
    freedom = log_y.size - sizes.size
    if freedom == 0:
        return 0.0
    means = np.bincount(member_of, weights=log_y) / sizes
    return float(np.sqrt(((log_y - means[member_of]) ** 2).sum() / freedom))
