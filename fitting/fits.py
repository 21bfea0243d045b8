"""Fit one law to a table, or compare several."""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from . import storage
from .candidates import Member, Recipe
from .code import python_function
from .errors import FittingError
from .forecast import Belief, Forecast, seed_noise
from .law import Law
from .laws import SUFFIX, Averaged, Constrained, find_law
from .optimum import Optimum, optima
from .rmsle import Rmsle, rmsle
from .selection import scale_coordinate, select
from .solver import Ending, Loss
from .summary import Coefficient, Summary, diagnostics, latex, residual_warnings
from .table import Table
from .threads import single_threaded
from .uncertainty import Uncertainty, uncertainty

# Fits of a table of counts, each weighted by the one before: the third moves coefficients by less than their errors.
_ROUNDS = 3
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

    law: name. structure: what selection picked. coefficients: of the equation, named, in the units of the table. rmsle:
    of what the law predicts with (the equation; the mean of its members for a law called `-mean`), on all rows of the
    table. rows: of the table. seconds: time taken. fingerprint: of the table. fixed, tied: coefficients that
    were held, and pairs. table: itself, unless the fit was read
    from JSON.
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
    fixed: Mapping[str, float] = field(default_factory=dict)
    tied: Sequence[tuple[str, str]] = ()
    table: Table | None = field(repr=False, default=None, compare=False)

    @property
    def members(self) -> tuple[Member, ...]:
        """What predicts: one equation, or for the mean of a law all whose mean it is; none if the fit failed. The
        candidates that the equation stands for are `belief.members`.
        """
        if self.belief is None:
            return ()
        return self.belief.members if self.belief.equation is None else (self.belief.equation,)

    @property
    def predictors(self) -> tuple[Member, ...]:
        """What predicts, by the mean of its logarithms: the one equation, or the members under the other condition."""
        equation = None if self.belief is None else self.belief.equation
        return self.members if equation is None else (equation,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that a forecast needs: those that varied; none if the fit failed."""
        return () if self.belief is None else tuple(self.belief.members[0].form.frame.centre)

    def predict(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The metric at columns (arrays of one common shape, or scalars), in units of the table's y; of that shape."""
        z, shape = self._coordinates(columns)
        return np.exp(self.belief.log_y(z)).reshape(shape)

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
        first = self.belief.shown
        # The draws are part of the answer, not of the fit: a fixed seed makes the answer repeatable.
        raws = np.random.default_rng(0).multivariate_normal(first.raw, self.belief.covariances[0], size=_DRAWS)
        values = [first.form.coefficients(raw) for raw in raws]
        tails = (0.5 - level / 2, 0.5 + level / 2)
        return {
            name: tuple(float(q) for q in np.quantile([v[name] for v in values], tails)) for name in self.coefficients
        }

    def averaged(self) -> Fit:
        """The same fit under the other condition: it predicts with the mean of its members."""
        belief = self._known.averaged()
        score = self.rmsle
        if self.table is not None:
            score = rmsle(np.exp(belief.log_y(self._coordinates(self.table.columns)[0])), self.table.y)
        return replace(self, law=self.law + SUFFIX, rmsle=score, belief=belief)

    def residuals(self, table: Table | None = None) -> np.ndarray:
        """ln measured - ln predicted, a row each; of the table that was fitted, or of another.

        Raises FittingError after `from_json`, which has no table, unless one is given.
        """
        table = self.table if table is None else table
        if table is None:
            raise FittingError("a fit that was read from JSON has no table; give it: residuals(table)")
        return np.log(table.y) - np.log(self.predict(table.columns))

    def summary(self) -> Summary:
        """The equation, its coefficients with errors, diagnostics of the residuals, and what to mind."""
        belief = self._known
        shown = belief.shown
        wide, narrow = self.coefficient_intervals(0.9), self.coefficient_intervals(0.68)
        facts = {"rows": f"{self.rows}", "RMSLE on them": str(self.rmsle)}
        warnings = []
        if self.status is not FitStatus.CONVERGED:
            names = ", ".join(at_bound(shown))
            warnings.append(f"status: {self.status.value}" + (f" ({names})" if names else ""))
        if self.table is not None:
            residuals = self.residuals()
            found = diagnostics(residuals, scale_coordinate(self.table, None))
            facts |= {
                "residuals": f"skewness {found['skewness']:.2f}, excess kurtosis {found['kurtosis']:.2f}, "
                f"correlation of neighbours {found['neighbours']:.2f}"
            }
            warnings += residual_warnings(residuals, found)
        facts |= {
            "noise of a measurement": f"{belief.noise:.2%}"
            + (" (replicates)" if belief.seed > belief.residual else ""),
            "independent rows left": f"{belief.degrees_of_freedom:.0f}",
        }
        if self.rows < 3 * shown.form.size:
            warnings.append(f"{self.rows} rows for {shown.form.size} coefficients: they say little one by one")
        return Summary(
            law=self.law,
            status=self.status.value,
            structure=self.structure,
            equation=shown.form.equation,
            latex="y = " + latex(shown.form.equation, list(shown.form.frame.centre)),
            coefficients=tuple(
                Coefficient(
                    name=name,
                    value=value,
                    error=(narrow[name][1] - narrow[name][0]) / 2,
                    low=wide[name][0],
                    high=wide[name][1],
                )
                for name, value in self.coefficients.items()
            ),
            diagnostics=facts,
            warnings=tuple(warnings),
        )

    def optima(self, inputs: Mapping[str, np.ndarray], level: float = 0.9) -> dict[str, Optimum]:
        """The best hyperparameters at places given by their inputs, by name, with intervals; see `optimum`."""
        columns = {name: np.atleast_1d(np.asarray(values, float)) for name, values in inputs.items()}
        try:
            spread = np.broadcast_arrays(*columns.values())
        except ValueError:
            raise FittingError("the inputs have different lengths; give arrays of one length") from None
        return optima(self._known, dict(zip(columns, spread, strict=True)), level)

    def to_python(self, name: str = "predict") -> str:
        """Source of a Python function of the columns that gives the same y and needs nothing but `math`.

        Raises FittingError for a law that calculates outside `tape`, and for the mean of candidates.
        """
        belief = self._known
        if belief.equation is None:
            one = self.law.removesuffix(SUFFIX)
            raise FittingError(f"{self.law} is the mean of several equations; {one} is a single one")
        columns = ", ".join(f"{c} = {v:.12g}" for c, v in self.coefficients.items())
        comments = [f"{self.law}: y = {belief.equation.form.equation}", "", columns]
        return python_function(belief.equation.form, belief.equation.raw, name=name, comments=comments)

    def plot(self, axes: Any = None) -> Any:
        """Measured against predicted, and residuals against scale: a matplotlib Figure. axes: two of your own."""
        from .plot import draw  # here, because importing matplotlib costs more than a fit

        return draw(self, axes)

    @property
    def _known(self) -> Belief:
        if self.belief is None:
            raise FittingError(f"{self.law} could not be fitted to this table (status failed), so it has no equation")
        return self.belief

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
                "fixed": dict(self.fixed),
                "tied": [list(pair) for pair in self.tied],
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
        value["tied"] = tuple((one, other) for one, other in value["tied"])
        known = _constrained(find_law(value["law"] if law is None else law), value["fixed"], value["tied"])
        value["belief"] = storage.belief_from_json(value["belief"], known)
        value["status"], value["rmsle"] = FitStatus(value["status"]), Rmsle(**value["rmsle"])
        return cls(**{f.name: value[f.name] for f in fields(cls) if f.name != "table"})

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


class Comparisons(tuple[Comparison, ...]):
    """The laws of one comparison, in the order in which they were named."""

    def summary(self) -> str:
        """A table for people: the least held-out error first, laws without one last, each with its reason."""

        def order(row: Comparison) -> float:
            return math.inf if row.rmsle_held_out is None else row.rmsle_held_out.value

        rows = [("law", "held out", "fitted", "status", "")]
        for row in sorted(self, key=order):
            if row.fit is None or row.rmsle_fit is None:
                rows.append((row.law, "-", "-", "no fit", row.reason))
            else:
                held_out = "-" if row.rmsle_held_out is None else str(row.rmsle_held_out)
                rows.append((row.law, held_out, str(row.rmsle_fit), row.fit.status.value, row.fit.structure))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        return "\n".join(
            "  ".join([*(text.ljust(w) for text, w in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows
        )


@single_threaded
def fit(
    law: str | Law,
    table: Table,
    *,
    seed: int = 0,
    loss: Loss | str = Loss.MSLE,
    toward: Mapping[str, np.ndarray] | None = None,
    recipe: Recipe | None = None,
    fixed: Mapping[str, float] | None = None,
    tied: Sequence[tuple[str, str]] = (),
) -> Fit:
    """Fit a law to a table.

    seed: of the random starts; equal seeds give equal fits. loss: "msle" or "huber" (width 1e-3 in ln y). toward: the
    columns (not the metric) of rows one wishes to forecast: they tell selection which way is out; without it all
    inputs count alike. recipe: how to select; the default averages candidates, `PLAIN` is one fit of least loss.
    fixed: coefficients that are held at a value; tied: pairs that are held equal; see `laws.constrained`.

    Raises FittingError where the law cannot be fitted to such a table; numbers that go wrong are a status, not an
    error.
    """
    began = time.perf_counter()
    chosen = _constrained(find_law(law), fixed or {}, tied)
    kind = _loss(loss)
    rows = table
    for _ in range(1 if table.counts is None else _ROUNDS):
        belief = select(chosen, rows, recipe=recipe or Recipe(), loss=kind, seed=seed, toward=toward)
        if belief is None or table.counts is None:
            break
        rows = table.reweighted(np.exp(belief.log_y(belief.members[0].form.frame.coordinates(table.columns))))
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
            fixed=dict(fixed or {}),
            tied=tuple(tied),
        )
    # From all rows: their means no longer show how replicates differ.
    belief = replace(belief, seed=seed_noise(np.log(table.y), table.group))
    shown = belief.equation
    belief = belief.averaged() if isinstance(chosen, Averaged) else belief
    log_y = belief.log_y(shown.form.frame.coordinates(table.columns))
    return Fit(
        law=chosen.name,
        status=_status(shown),
        structure=shown.form.describe(shown.raw),
        coefficients=shown.form.coefficients(shown.raw),
        rmsle=rmsle(np.exp(log_y), table.y),
        rows=len(table),
        seconds=time.perf_counter() - began,
        fingerprint=table.fingerprint,
        belief=belief,
        fixed=dict(fixed or {}),
        tied=tuple(tied),
        table=table,
    )


def compare(
    laws: Sequence[str | Law],
    fitted: Table,
    held_out: Table | None = None,
    *,
    seed: int = 0,
    loss: Loss | str = Loss.MSLE,
    recipe: Recipe | None = None,
) -> Comparisons:
    """Fit several laws to one table with equal care and score them on another, which none of them has seen.

    Of the held-out rows, only the columns are used before scoring: they tell selection which way is out.
    Never raises because one law fails; raises FittingError for an unknown name, which is a mistake in the call.
    """
    found = [find_law(law) for law in laws]
    kind = _loss(loss)
    toward = None if held_out is None or len(held_out) == 0 else held_out.columns
    results = []
    fits: dict[str, Fit] = {}
    for law in found:
        began = time.perf_counter()
        result, reason, inside, outside = None, "", None, None
        try:
            # Both conditions of a law are one fit.
            alone = law.law if isinstance(law, Averaged) else law
            if alone.name not in fits:
                fits[alone.name] = fit(alone, fitted, seed=seed, loss=kind, toward=toward, recipe=recipe)
            result = fits[alone.name]
            if isinstance(law, Averaged) and result.status is not FitStatus.FAILED:
                result = result.averaged()
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
    return Comparisons(results)


def _loss(loss: Loss | str) -> Loss:
    try:
        return Loss(loss)
    except ValueError:
        raise FittingError(f"unknown loss {loss!r}; write one of: {', '.join(kind.value for kind in Loss)}") from None


def _constrained(law: Law, fixed: Mapping[str, float], tied: Sequence[tuple[str, str]]) -> Law:
    if not fixed and not tied:
        return law
    if isinstance(law, Averaged):
        return Averaged(law=Constrained(law=law.law, fixed=fixed, tied=tied))
    return Constrained(law=law, fixed=fixed, tied=tied)


def at_bound(member: Member) -> tuple[str, ...]:
    """The parameters of a member that stand at a bound."""
    raw = dict(zip(member.form.parameters, member.raw, strict=True))
    return tuple(name for name, (low, high) in member.form.bounds.items() if not low <= raw[name] <= high)


def _status(member: Member) -> FitStatus:
    if member.ending is Ending.FAILED:
        return FitStatus.FAILED
    if at_bound(member):
        return FitStatus.AT_BOUND
    return FitStatus.CONVERGED if member.ending is Ending.CONVERGED else FitStatus.BUDGET_SPENT
