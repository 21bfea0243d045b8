"""A table with its laws as facts: errors, coefficients, programs, slices; everything that a page shows of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fitting import Comparison, Fit, Forecast, Table
from pipeline.analysis import Divided
from pipeline.report.allocation import allocation_facts, setting_facts
from pipeline.report.equation import equation
from pipeline.report.facts import (
    LEVEL,
    MOST_DRAWN,
    Band,
    Coefficient,
    Column,
    Error,
    Hyperbreak,
    Interval,
    LawFacts,
    Line,
    Points,
    SliceFacts,
    TaskFacts,
)
from pipeline.report.program import translate
from pipeline.report.slices import Slice, slices
from pipeline.report.thinning import by_shape
from pipeline.report.words import words

MOST_POINTS = 3000
"""Points of a task that a page holds: more would hide each other."""
MOST_LEVELS = 12
"""Values of a column that are a grid's levels rather than a continuum."""
MOST_SCORED = 20_000
"""Points that coverage and error by distance are counted on, an even selection: a share repeats to half a percent."""
MOST_PANELS, MOST_LINES, MOST_MARKS = 2, 4, 400
"""Slices along a column, lines of a slice and marks of a line: more would be smaller or would hide each other."""
MOST_PROGRAMS = 6
"""Laws that the explorer offers, the best first."""
REACH = 4.0
"""How far beyond the largest measured scale the explorer looks; `explorer.js` says the same."""
CURVE = 90
"""Places along a curve."""
MOST_PLACES, MOST_A_COLUMN = 4096, 9
"""Places at which half-widths of intervals are kept, and along one column: they change slowly."""
DIGITS = 6
"""Significant ones of a measurement on a page: a tenth of a pixel needs four."""


def task_facts(
    divided: Divided,
    comparisons: Sequence[Comparison],
    *,
    name: str = "",
    units: Mapping[str, str],
    spend: bool = False,
) -> TaskFacts:
    """A table after its split and the laws fitted to it. units: what columns count, as a trainer declares. spend: ask
    the best laws for allocations and hyperparameters too, which takes seconds."""
    rows, question = divided.rows, divided.question
    names = [*question.inputs, *question.hyperparameters]
    varying = [one for one in names if rows[one].nunique() > 1]
    kept = rows.iloc[
        by_shape([*(np.log(rows[one].to_numpy(float)) for one in (*varying, "loss")), rows["held_out"]], MOST_POINTS)
    ]
    target = divided.fitted if divided.held_out is None else divided.held_out
    scored = np.linspace(0, len(target) - 1, min(len(target), MOST_SCORED)).round().astype(int)
    ranked = sorted(comparisons, key=lambda one: _rank(one, divided.held_out is not None))
    fits = [one.fit for one in ranked if one.fit is not None and one.rmsle_fit is not None]
    columns = {one: kept[one].to_numpy(float) for one in names}
    best, second = (*fits, None, None)[:2]
    return TaskFacts(
        name=name,
        fitted=len(divided.fitted),
        held_out=0 if divided.held_out is None else len(divided.held_out),
        excluded=dict(divided.excluded),
        columns=tuple(_column(one, rows, one in question.inputs, units) for one in varying),
        idle=tuple(one for one in names if one not in varying),
        points=Points(
            total=len(rows),
            columns={one: _short(columns[one]) for one in varying},
            loss=_short(kept["loss"].to_numpy(float)),
            held_out=tuple(map(bool, kept["held_out"])),
            cells=tuple(map(str, kept["cell"])) if "cell" in kept else (),
        ),
        laws=tuple(
            _law(one, divided, target.where(scored), columns, rank=ranked.index(one), varying=varying) for one in ranked
        ),
        slices=tuple(
            _slice(one, names, best, second)
            for along in varying[:MOST_DRAWN]
            for one in slices(divided, along, most=MOST_PANELS, most_levels=MOST_LINES)
        ),
        allocation=allocation_facts(fits, divided) if spend else None,
        settings=setting_facts(fits, divided, units) if spend else (),
    )


def _rank(one: Comparison, held_out: bool) -> float:
    score = one.rmsle_held_out if held_out else one.rmsle_fit
    if one.fit is None or one.rmsle_fit is None:
        return math.inf
    return score.value if score is not None and math.isfinite(score.value) else 1e300


def _column(name: str, rows: Any, scale: bool, units: Mapping[str, str]) -> Column:
    values, fitted = rows[name].to_numpy(float), rows.loc[~rows["held_out"], name].to_numpy(float)
    levels = np.unique(values)
    return Column(
        name=name,
        title=words(name, units),
        role="input" if scale else "hyperparameter",
        low=float(values.min()),
        high=float(values.max()),
        fitted_low=float(fitted.min()),
        fitted_high=float(fitted.max()),
        levels=tuple(map(float, levels)) if levels.size <= MOST_LEVELS else (),
    )


def _law(
    one: Comparison,
    divided: Divided,
    target: Table,
    columns: Mapping[str, np.ndarray],
    *,
    rank: int,
    varying: Sequence[str],
) -> LawFacts:
    """target: the scored points; columns: those of the points on the page."""
    fit = one.fit
    if fit is None or one.rmsle_fit is None:
        return LawFacts(law=one.law, status="does not apply", seconds=one.seconds, reason=one.reason or "not fitted")
    forecast = fit.forecast(target.columns, LEVEL)
    shown = fit.forecast(columns, LEVEL)
    offered = rank < MOST_PROGRAMS
    ends = fit.coefficient_intervals(LEVEL)
    return LawFacts(
        law=one.law,
        status=fit.status.value,
        seconds=one.seconds,
        structure=fit.structure,
        candidates=len(fit.predictors),
        error_fitted=_error(one.rmsle_fit),
        error_held_out=_error(one.rmsle_held_out),
        reach=float(np.sqrt(np.median(forecast.high / forecast.low))),
        holds=float(_inside(forecast, target.y).mean()),
        bands=_bands(forecast, target, divided),
        coefficients=tuple(
            Coefficient(name=name, value=value, **dict(zip(("low", "high"), ends.get(name, ()), strict=False)))
            for name, value in fit.coefficients.items()
        ),
        equation=equation(one.law, fit.coefficients, varying, fit.structure),
        latex=fit.summary().latex if rank == 0 else "",
        program=translate(fit) if offered else None,
        interval=_interval(fit, divided, varying) if offered else None,
        breaks=_breaks(fit.coefficients, varying),
        predicted=_short(shown.median),
        low=_short(shown.low) if rank == 0 else (),
        high=_short(shown.high) if rank == 0 else (),
    )


def _error(score: Any) -> Error | None:
    return None if score is None else Error(value=score.value, bar=score.error)


def _inside(forecast: Forecast, y: np.ndarray) -> np.ndarray:
    return (forecast.low <= y) & (y <= forecast.high)


def outside(columns: Mapping[str, np.ndarray], fitted: Mapping[str, np.ndarray]) -> np.ndarray:
    """For every row, the largest factor by which a column leaves the fitted range; 1 inside."""
    factor = np.ones(next(iter(columns.values())).size)
    for name, values in columns.items():
        factor = np.maximum(factor, np.maximum(values / fitted[name].max(), fitted[name].min() / values))
    return factor


def _bands(forecast: Forecast, target: Any, divided: Divided) -> tuple[Band, ...]:
    """Error, coverage and bias by how far out a point lies, in powers of two."""
    factor = outside(target.columns, divided.fitted.columns)
    error, inside = np.log(target.y / forecast.median), _inside(forecast, target.y)
    # A point exactly a power of two outside belongs to the band that ends there.
    octave = np.ceil(np.log2(factor) - 1e-9).astype(int)
    return tuple(
        Band(
            low=1.0 if one <= 1 else 2.0 ** (int(one) - 1),
            high=2.0 ** int(one),
            points=int((octave == one).sum()),
            error=float(np.sqrt((error[octave == one] ** 2).mean())),
            holds=float(inside[octave == one].mean()),
            bias=float(error[octave == one].mean()),
        )
        for one in np.unique(octave)
    )


def _interval(fit: Fit, divided: Divided, varying: Sequence[str]) -> Interval | None:
    """Half-widths on a grid over the range of all rows, and as far beyond as the explorer looks."""
    if not varying:
        return None
    count = int(min(MOST_A_COLUMN, MOST_PLACES ** (1 / len(varying)) + 1e-9))
    if count < 2:
        return None
    rows = divided.rows
    reach = {name: REACH if name in divided.question.inputs else 1.0 for name in varying}
    places = [np.geomspace(rows[name].min(), rows[name].max() * reach[name], count) for name in varying]
    grid = dict(zip(varying, (one.ravel() for one in np.meshgrid(*places, indexing="ij")), strict=True))
    fixed = {name: np.full(count ** len(varying), rows[name].iloc[0], float) for name in divided.fitted.columns}
    forecast = fit.forecast(fixed | grid, LEVEL)
    half = np.log(forecast.high / forecast.low) / 2
    return Interval(
        columns=tuple(varying),
        places=tuple(tuple(map(float, one)) for one in places),
        half=_short(half, 4),
    )


def _breaks(coefficients: Mapping[str, float], columns: Sequence[str]) -> tuple[Hyperbreak, ...]:
    """The unified law's: along w with ln d."""
    found = []
    for i in range(1, 9):
        weights = {name: coefficients[f"w{i}_{name}"] for name in columns if f"w{i}_{name}" in coefficients}
        if weights and coefficients.get(f"d{i}", 0) > 0:
            found.append(Hyperbreak(weights=weights, place=math.log(coefficients[f"d{i}"])))
    return tuple(found)


def _slice(one: Slice, names: Sequence[str], best: Fit | None, second: Fit | None) -> SliceFacts:
    out = int(one.rows["held_out"].sum())
    return SliceFacts(
        along=one.along,
        by=one.by,
        at={name: value.item() if hasattr(value, "item") else value for name, value in one.at.items()},
        fitted=len(one.rows) - out,
        held_out=out,
        lines=tuple(_line(one, level, names, best, second) for level in one.levels),
    )


def _line(one: Slice, level: float, names: Sequence[str], best: Fit | None, second: Fit | None) -> Line:
    """The points of a level, and the laws' curves from the least to the largest value of the whole slice."""
    rows = one.of(level)
    x, loss = rows[one.along].to_numpy(float), rows["loss"].to_numpy(float)
    kept = by_shape([np.log(x), np.log(loss), rows["held_out"]], MOST_MARKS)
    values = one.rows[one.along].to_numpy(float)
    at = np.geomspace(values.min(), values.max(), CURVE)
    # A column that laws read and that does not vary in the study is at its one value.
    columns = {name: np.full(CURVE, one.at.get(name, one.rows[name].iloc[0]), float) for name in names}
    columns |= {one.along: at} | ({one.by: np.full(CURVE, level)} if one.by else {})
    forecast = best.forecast(columns, LEVEL) if best else None
    return Line(
        level=level,
        x=_short(x[kept]),
        loss=_short(loss[kept]),
        held_out=tuple(map(bool, rows["held_out"].iloc[kept])),
        at=_short(at),
        median=_short(forecast.median) if forecast else (),
        low=_short(forecast.low) if forecast else (),
        high=_short(forecast.high) if forecast else (),
        second=_short(second.predict(columns)) if second else (),
    )


def _short(values: np.ndarray, digits: int = DIGITS) -> tuple[float, ...]:
    return tuple(float(f"{value:.{digits}g}") for value in np.asarray(values, float).ravel())
