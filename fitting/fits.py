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
from .blending import blended
from .candidates import Member, Recipe
from .code import python_function
from .errors import FittingError
from .forecast import Belief, Forecast, seed_noise
from .law import Law
from .laws import SUFFIX, Averaged, Blend, Constrained, find_law
from .optimum import Optimum, optima
from .rmsle import Rmsle, rmsle
from .selection import scale_coordinate, select
from .solver import Ending, Loss, loss_named
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
    def predictors(self) -> tuple[Member, ...]:
        """What predicts, by the mean of its logarithms: one equation, or for the mean of a law all whose mean it is;
        none if the fit failed. The candidates that an equation stands for are `belief.members`.
        """
        if self.belief is None:
            return ()
        return self.belief.members if self.belief.equation is None else (self.belief.equation,)

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of each of `predictors`, of sum 1."""
        if self.belief is None or self.belief.equation is not None:
            return (1.0,) * len(self.predictors)
        return tuple(float(share) for share in self.belief.shares)

    @property
    def equation(self) -> str:
        """The right side of y = ..., with the coefficients' names."""
        belief = self._known
        if belief.weights:
            return " * ".join(f"{name.removeprefix('w_')}^{name}" for name in self.coefficients)
        return belief.shown.form.equation

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
        construction has a positive interval. Amplitudes far from x = 1 have wide ones, and they are right to. The
        weights of a blend are chosen, not estimated, and have none.
        """
        if not 0 < level < 1:
            raise FittingError(f"the level of an interval is a probability between 0 and 1, not {level}")
        if self.belief is None or self.belief.weights:
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
            equation=self.equation,
            latex="y = " + latex(self.equation, list(shown.form.frame.centre)),
            coefficients=tuple(
                Coefficient(
                    name=name,
                    value=value,
                    error=(narrow[name][1] - narrow[name][0]) / 2 if narrow else math.nan,
                    low=wide[name][0] if wide else math.nan,
                    high=wide[name][1] if wide else math.nan,
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
            one = "each of its laws" if belief.weights else self.law.removesuffix(SUFFIX)
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
    parts: Mapping[str, Fit] | None = None,
) -> Fit:
    """Fit a law to a table.

    seed: of the random starts; equal seeds give equal fits. loss: "msle" or "huber" (width 1e-3 in ln y). toward: the
    columns (not the metric) of rows one wishes to forecast: they tell selection which way is out; without it all
    inputs count alike. recipe: how to select; the default averages candidates, `PLAIN` is one fit of least loss.
    fixed: coefficients that are held at a value; tied: pairs that are held equal; see `laws.constrained`. parts: of a
    blend, fits of its laws to the same table that are known already; the others are made.

    Raises FittingError where the law cannot be fitted to such a table; numbers that go wrong are a status, not an
    error.
    """
    began = time.perf_counter()
    chosen = _constrained(find_law(law), fixed or {}, tied)
    how = {"seed": seed, "loss": loss_named(loss), "toward": toward, "recipe": recipe or Recipe()}
    belief = _blended(chosen, table, parts or {}, how) if isinstance(chosen, Blend) else _single(chosen, table, how)
    known: dict[str, Any] = {
        "status": FitStatus.FAILED,
        "structure": "",
        "coefficients": {},
        "rmsle": Rmsle(value=math.nan, error=math.nan, points=0),
    }
    if belief is not None:
        shown = belief.shown
        # Under the other condition it predicts with the mean, and shows the equation all the same.
        belief = belief.averaged() if isinstance(chosen, Averaged) else belief
        log_y = belief.log_y(shown.form.frame.coordinates(table.columns))
        known = {
            "status": _status(shown),
            "structure": shown.form.describe(shown.raw),
            "coefficients": shown.form.coefficients(shown.raw),
            "rmsle": rmsle(np.exp(log_y), table.y),
        }
        if isinstance(chosen, Blend):
            by_law = zip(belief.members, belief.weights, strict=True)
            known["coefficients"] = {f"w_{member.form.law}": weight for member, weight in by_law}
            known["structure"] = f"mean of {len(belief.members)} laws"
    return Fit(
        law=chosen.name,
        **known,
        rows=len(table),
        seconds=time.perf_counter() - began,
        fingerprint=table.fingerprint,
        belief=belief,
        fixed=dict(fixed or {}),
        tied=tuple(tied),
        table=table if belief is not None else None,
    )


def _single(law: Law, table: Table, how: Mapping[str, Any]) -> Belief | None:
    rows = table
    for _ in range(1 if table.counts is None else _ROUNDS):
        belief = select(law, rows, **how)
        if belief is None:
            return None
        if table.counts is not None:
            rows = table.reweighted(np.exp(belief.log_y(belief.shown.form.frame.coordinates(table.columns))))
    # From all rows: their means no longer show how replicates differ.
    return replace(belief, seed=seed_noise(np.log(table.y), table.group))


def _blended(law: Blend, table: Table, parts: Mapping[str, Fit], how: Mapping[str, Any]) -> Belief | None:
    beliefs, reasons = {}, []
    for one in law.laws:
        try:
            found = parts[one.name] if one.name in parts else fit(one, table, **how)
        except FittingError as error:
            reasons.append(str(error))
            continue
        if found.belief is not None:
            beliefs[one.name] = found.belief
    if reasons and not beliefs:
        raise FittingError(reasons[0])
    return blended(law, beliefs, table) if beliefs else None


def _constrained(law: Law, fixed: Mapping[str, float], tied: Sequence[tuple[str, str]]) -> Law:
    if not fixed and not tied:
        return law
    if isinstance(law, Blend):
        raise FittingError(f"{law.name} has no coefficient of its own that could be held or tied; fit one of its laws")
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
