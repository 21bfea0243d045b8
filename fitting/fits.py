"""Fit one law to a table, or compare several."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np

from . import storage
from .candidates import Member, Recipe
from .errors import FittingError
from .forecast import Belief, Forecast, seed_noise
from .law import Law
from .laws import find_law
from .rmsle import Rmsle, rmsle
from .selection import select
from .solver import Ending, Loss
from .table import Table
from .threads import single_threaded
from .uncertainty import Uncertainty, uncertainty

# Beyond this, a raw parameter that saturates has moved its quantity to within half a per cent of the limit.
_SATURATED = 3.0
# Rows beyond this many are thinned before fitting: they add time, not knowledge, to laws of some twenty coefficients.
_MOST_ROWS = 500
# Draws behind an interval of a coefficient: the ends of a 90% interval then repeat to a tenth of its width.
_DRAWS = 500


class FitStatus(enum.Enum):
    """How a fit ended, for the member that ranks first."""

    CONVERGED = "converged"
    AT_BOUND = "at bound"
    BUDGET_SPENT = "budget spent"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A law with its coefficients.

    law: name. structure: what selection picked, for the member that ranks first. coefficients: that member's, named,
    in the units of the table. rmsle: of the averaged prediction, on the rows that were fitted (as many as its `points`:
    a long table is thinned). rows: of the table. seconds: time taken. fingerprint: of the table.
    """

    law: str
    status: FitStatus
    structure: str
    coefficients: Mapping[str, float]
    rmsle: Rmsle
    rows: int
    seconds: float
    fingerprint: str = field(repr=False)
    belief: Belief | None = field(repr=False)

    @property
    def members(self) -> tuple[Member, ...]:
        """The candidates that predict together, best first; none if the fit failed."""
        return () if self.belief is None else self.belief.members

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that a forecast needs: those that varied; none if the fit failed."""
        return () if self.belief is None else tuple(self.belief.members[0].form.frame.centre)

    def predict(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The metric at columns (arrays of one common shape, or scalars), in units of the table's y; of that shape."""
        z, shape = self._coordinates(columns)
        return np.exp(np.mean([m.form.predict_log(m.raw[None, :], z)[0] for m in self.members], axis=0)).reshape(shape)

    def forecast(self, columns: Mapping[str, np.ndarray], level: float = 0.9) -> Forecast:
        """The prediction with an interval that holds a new measurement with probability `level`; see `forecast`."""
        z, shape = self._coordinates(columns)
        low, middle, high = self.belief.interval(z, level)
        return Forecast(
            median=np.exp(middle).reshape(shape),
            low=np.exp(low).reshape(shape),
            high=np.exp(high).reshape(shape),
            level=level,
        )

    def uncertainty(self, columns: Mapping[str, np.ndarray]) -> Uncertainty:
        """The whole distribution behind `forecast`, and what it is made of."""
        z, shape = self._coordinates(columns)
        return uncertainty(self.belief, z, shape)

    def coefficient_intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """For each coefficient, the interval that holds it with probability `level` if this structure is the true one.

        From draws of the raw parameters around the member that ranks first, so that a coefficient that is positive by
        construction has a positive interval. Amplitudes far from x = 1 have wide ones, and they are right to.
        """
        if not 0 < level < 1:
            raise FittingError(f"the level of an interval is a probability between 0 and 1, not {level}")
        if self.belief is None:
            return {}
        first = self.belief.members[0]
        # The draws are part of the answer, not of the fit: a fixed seed makes the answer repeatable.
        raws = np.random.default_rng(0).multivariate_normal(first.raw, self.belief.covariances[0], size=_DRAWS)
        values = [first.form.coefficients(raw) for raw in raws]
        tails = (0.5 - level / 2, 0.5 + level / 2)
        return {
            name: tuple(float(q) for q in np.quantile([v[name] for v in values], tails)) for name in self.coefficients
        }

    def to_json(self) -> str:
        """Everything that a forecast is made of, as text; see `storage`. The table itself is not in it."""
        return storage.write(
            {
                "law": self.law,
                "status": self.status.value,
                "structure": self.structure,
                "coefficients": dict(self.coefficients),
                "rmsle": asdict(self.rmsle),
                "rows": self.rows,
                "seconds": self.seconds,
                "fingerprint": self.fingerprint,
                "belief": storage.belief_to_json(self.belief),
            }
        )

    @classmethod
    def from_json(cls, text: str, *, law: str | Law | None = None) -> Fit:
        """The fit that `to_json` wrote; its forecasts are the same to the bit on the same machine.

        law: needed for a law of the user's own (the law or its address). Raises FittingError for other text, and for a
        law whose formula has changed since.
        """
        value = storage.read(text)
        value["belief"] = storage.belief_from_json(value["belief"], find_law(value["law"] if law is None else law))
        value["status"], value["rmsle"] = FitStatus(value["status"]), Rmsle(**value["rmsle"])
        return cls(**{f.name: value[f.name] for f in fields(cls)})

    def _coordinates(self, columns: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
        if self.belief is None:
            raise FittingError(f"{self.law} could not be fitted to this table (status failed), so it cannot predict")
        z = self.belief.members[0].form.frame.coordinates(columns)
        try:
            spread = np.broadcast_arrays(*z.values())
        except ValueError:
            raise FittingError("the columns have different lengths; give arrays of one shape") from None
        return {name: values.ravel() for name, values in zip(z, spread, strict=True)}, spread[0].shape


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One law in a comparison. `fit` is None when the law does not suit the table; `reason` then says why."""

    law: str
    fit: Fit | None
    reason: str
    rmsle_fit: Rmsle | None
    rmsle_held_out: Rmsle | None
    seconds: float


@single_threaded
def fit(
    law: str | Law,
    table: Table,
    *,
    seed: int = 0,
    loss: Loss | str = Loss.MSLE,
    toward: Mapping[str, np.ndarray] | None = None,
    recipe: Recipe | None = None,
) -> Fit:
    """Fit a law to a table.

    seed: of the random starts; equal seeds give equal fits. loss: "msle" or "huber" (width 1e-3 in ln y). toward: the
    columns (not the metric) of rows one wishes to forecast: they tell selection which way is out; without it all
    inputs count alike. recipe: how to select; the default averages candidates, `PLAIN` is one fit of least loss.
    Raises FittingError where the law cannot be fitted to such a table; numbers that go wrong are a status, not an
    error.
    """
    began = time.perf_counter()
    chosen = find_law(law)
    kind = _loss(loss)
    ordered = _canonical(table)
    belief = select(chosen, ordered, recipe=recipe or Recipe(), loss=kind, seed=seed, toward=toward)
    if belief is None:
        return Fit(
            law=chosen.name,
            status=FitStatus.FAILED,
            structure="",
            coefficients={},
            rmsle=Rmsle(value=math.nan, error=math.nan, points=0),
            rows=len(table),
            seconds=time.perf_counter() - began,
            fingerprint=table.fingerprint,
            belief=None,
        )
    # From all rows: thinning leaves few replicates together.
    belief = replace(belief, seed=seed_noise(np.log(table.y), table.group))
    first = belief.members[0]
    z = first.form.frame.coordinates(ordered.columns)
    log_y = np.mean([m.form.predict_log(m.raw[None, :], z)[0] for m in belief.members], axis=0)
    return Fit(
        law=chosen.name,
        status=_status(first),
        structure=first.form.structure,
        coefficients=first.form.coefficients(first.raw),
        rmsle=rmsle(np.exp(log_y), ordered.y),
        rows=len(table),
        seconds=time.perf_counter() - began,
        fingerprint=table.fingerprint,
        belief=belief,
    )


def compare(
    laws: Sequence[str | Law],
    fitted: Table,
    held_out: Table | None = None,
    *,
    seed: int = 0,
    loss: Loss | str = Loss.MSLE,
    recipe: Recipe | None = None,
) -> tuple[Comparison, ...]:
    """Fit several laws to one table with equal care and score them on another, which none of them has seen.

    Of the held-out rows, only the columns are used before scoring: they tell selection which way is out.
    Never raises because one law fails; raises FittingError for an unknown name, which is a mistake in the call.
    """
    found = [find_law(law) for law in laws]
    kind = _loss(loss)
    toward = None if held_out is None or len(held_out) == 0 else held_out.columns
    results = []
    for law in found:
        began = time.perf_counter()
        result, reason, inside, outside = None, "", None, None
        try:
            result = fit(law, fitted, seed=seed, loss=kind, toward=toward, recipe=recipe)
            if result.status is FitStatus.FAILED:
                reason = "no start gave finite numbers"
            else:
                inside = result.rmsle
                if held_out is not None and len(held_out):
                    outside = rmsle(result.predict(held_out.columns), held_out.y)
        except FittingError as error:
            result, reason = None, str(error)
        results.append(
            Comparison(
                law=law.name,
                fit=result,
                reason=reason,
                rmsle_fit=inside,
                rmsle_held_out=outside,
                seconds=time.perf_counter() - began,
            )
        )
    return tuple(results)


def _loss(loss: Loss | str) -> Loss:
    try:
        return Loss(loss)
    except ValueError:
        raise FittingError(f"unknown loss {loss!r}; write one of: {', '.join(kind.value for kind in Loss)}") from None


def _status(member: Member) -> FitStatus:
    if member.ending is Ending.FAILED:
        return FitStatus.FAILED
    names = member.form.parameters
    if any(abs(member.raw[names.index(name)]) > _SATURATED for name in member.form.bounded):
        return FitStatus.AT_BOUND
    return FitStatus.CONVERGED if member.ending is Ending.CONVERGED else FitStatus.BUDGET_SPENT


def _canonical(table: Table) -> Table:
    """The rows in an order of their own, so that the order they came in changes nothing; a draw of them if too many."""
    order = np.lexsort([table.y, *table.columns.values()])
    if order.size > _MOST_ROWS:
        # A draw and not every k-th row, which on a grid could keep one level of an input and lose the others.
        order = order[np.sort(np.random.default_rng(0).permutation(order.size)[:_MOST_ROWS])]
    return table.where(order)
