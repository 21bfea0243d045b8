"""What the laws of a table say about spending: the best use of budgets under what its runs cost, and the best
hyperparameters along scale. A fit and its rows in, facts out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fitting import PUBLISHED, Fit, FittingError, allocate
from fitting import Optimum as BestValue
from pipeline.analysis import Divided
from pipeline.report.facts import (
    LEVEL,
    Allocation,
    Cost,
    Isoflop,
    Optimum,
    Power,
    PublishedSetting,
    Setting,
    SettingLine,
)
from pipeline.report.words import exact, tidy

FLOPS = "flops"
"""The column of what a run has cost by a point."""
NEARLY = 0.1
"""A product of columns is a cost where every run costs it within this part: counts of small models have a remainder."""
BUDGETS, DRAWS = 7, 40
"""Along the path, and draws behind its intervals: enough for the ends of a band on a screen."""
LEAST, MOST = 0.01, 30.0
"""The budgets of the path, times what the dearest measured run has cost."""
CURVE_PLACES, CURVE_REACH = 33, 30.0
"""Of an isoFLOP curve: places, and by what factor it goes beyond the optimum to either side."""
HYPERPARAMETER_REACH, INPUT_REACH = 10.0, 1e6
"""How far beyond the fitted range `fitting.allocate` looks; the page's own search looks as far."""
MOST_TRIED = 3
"""Laws that are asked, the best first, until one has an optimum."""
SETTING_PLACES, SETTING_LINES = 12, 3
DIGITS = 5


def cost_of(divided: Divided) -> Cost | None:
    """The cost of a run as a product of the laws' columns, each to the power of one, that all measured runs keep; None
    where there is none of at least two inputs, so that nothing could be traded."""
    rows, question = divided.rows, divided.question
    if FLOPS not in rows or not (rows[FLOPS] > 0).all():
        return None
    names = [one for one in (*question.inputs, *question.hyperparameters) if rows[one].nunique() > 1]
    flops, logs = np.log(rows[FLOPS].to_numpy(float)), {one: np.log(rows[one].to_numpy(float)) for one in names}
    found = []
    for size in range(2, len(names) + 1):
        for some in itertools.combinations(names, size):
            rest = flops - sum(logs[one] for one in some)
            off = float(np.ptp(rest)) / 2
            if off <= np.log1p(NEARLY) and sum(one in question.inputs for one in some) >= 2:
                found.append((off, some, float(np.exp((rest.max() + rest.min()) / 2))))
    if not found:
        return None
    off, some, scale = min(found, key=lambda one: (one[0], len(one[1])))
    scale = float(f"{scale:.4g}")
    text = " * ".join([tidy(f"{scale:.4g}"), *some])
    return Cost(text=text, unit="FLOPs", scale=scale, powers=dict.fromkeys(some, 1.0), off=float(np.expm1(off)))


def allocation_facts(fits: Sequence[Fit], divided: Divided) -> Allocation | None:
    """The best use of budgets by the first of the fits, best first, that has one; None where there is none."""
    cost = cost_of(divided)
    if cost is None:
        return None
    for fit in fits[:MOST_TRIED]:
        try:
            found = _allocation(fit, cost, divided)
        except FittingError:  # this law allocates nothing: it reads no input of the cost, or is no law of these columns
            continue
        # A law without an optimum is told by one that hangs on the end of the search at every budget.
        if not all(set(one.edges) & set(divided.question.inputs) for one in found.path):
            return found
    return None


def _allocation(fit: Fit, cost: Cost, divided: Divided) -> Allocation:
    rows = divided.rows
    dearest = float(rows[FLOPS].max())
    fixed = {
        name: float(rows[name].max())
        for name in fit.columns
        if name in divided.question.inputs and name not in cost.powers
    }
    if unread := [name for name in cost.powers if name not in fit.columns]:
        raise FittingError(f"the law does not read {unread[0]}")
    budgets = [float(f"{one:.4g}") for one in np.geomspace(dearest * LEAST, dearest * MOST, BUDGETS)]
    found = allocate(fit, cost.text, budgets, fixed=fixed, level=LEVEL, draws=DRAWS)
    free = _free(fit, fixed, cost, divided)
    along = next(name for name in free if name in cost.powers)
    path, curves = [], []
    for one in found.optima:
        path.append(
            Optimum(
                budget=one.budget,
                loss=_short(one.y),
                loss_low=_short(one.low),
                loss_high=_short(one.high),
                at={name: float(f"{value:.12g}") for name, value in one.at.items()},
                low={name: _short(ends[0]) for name, ends in one.intervals.items()},
                high={name: _short(ends[1]) for name, ends in one.intervals.items()},
                beyond=_short(max(one.beyond.values())),
                edges=tuple(one.edges),
            )
        )
        x = one.at[along] * np.geomspace(1 / CURVE_REACH, CURVE_REACH, CURVE_PLACES)
        loss = found.curve(one.budget, along, x)
        kept = np.isfinite(loss)
        curves.append(Isoflop(budget=one.budget, x=tuple(map(_short, x[kept])), loss=tuple(map(_short, loss[kept]))))
    return Allocation(
        law=fit.law,
        cost=cost,
        along=along,
        free=free,
        ends={name: _ends(name, divided) for name in free[:-1]},
        fixed=fixed,
        path=tuple(path),
        curves=tuple(curves),
        growth=tuple(_power(name, *of) for name, of in found.exponents.items()),
        measured=dearest,
    )


def _power(name: str, value: float, low: float, high: float) -> Power:
    """Where draws run into the end of the search, their quantiles may leave out the value itself."""
    return Power(name=name, value=_short(value), low=_short(min(low, value)), high=_short(max(high, value)))


def _free(fit: Fit, fixed: Mapping[str, float], cost: Cost, divided: Divided) -> tuple[str, ...]:
    """What is chosen; last the input that spends."""
    names = [name for name in fit.columns if name not in fixed]
    spends = [name for name in divided.question.inputs if name in names and name in cost.powers][-1]
    return (*(name for name in names if name != spends), spends)


def _ends(name: str, divided: Divided) -> tuple[float, float]:
    values = divided.fitted.columns[name]
    reach = INPUT_REACH if name in divided.question.inputs else HYPERPARAMETER_REACH
    return float(values.min() / reach), float(values.max() * reach)


def setting_facts(fits: Sequence[Fit], divided: Divided, units: Mapping[str, str]) -> tuple[Setting, ...]:
    """The best hyperparameters along scale by the first of the fits that has a minimum in any. units: what columns
    count: laws that others published are of tokens, and stand beside ours where tokens are counted."""
    hyperparameters = [one for one in divided.question.hyperparameters if divided.rows[one].nunique() > 1]
    if not hyperparameters:
        return ()
    for fit in fits[:MOST_TRIED]:
        found = [one for one in _settings(fit, divided, units) if one.lines]
        if found:
            return tuple(found)
    return ()


def _settings(fit: Fit, divided: Divided, units: Mapping[str, str]) -> list[Setting]:
    rows = divided.rows
    inputs = [name for name in fit.columns if name in divided.question.inputs]
    hyperparameters = [name for name in fit.columns if name in divided.question.hyperparameters]
    if not inputs or not hyperparameters:
        return []
    fewer = max(len(hyperparameters), 1)  # each further one is searched along as well, in a grid
    ends = {name: (float(rows[name].min()), float(rows[name].max())) for name in inputs}
    corners = np.array(list(itertools.product(*(np.geomspace(*ends[name], 3 if fewer == 1 else 2) for name in inputs))))
    try:
        whole = fit.optima({name: corners[:, k] for k, name in enumerate(inputs)}, LEVEL)
    except FittingError:
        return []
    out = []
    for name in hyperparameters:
        if name not in whole or not whole[name].inside.any():
            continue
        powers = whole[name].exponents
        along = inputs[0]
        others = sorted((one for one in inputs if one != along), key=lambda one: -abs(powers.get(one, (0.0,))[0]))
        by = others[0] if others else None
        at = {one: ends[one][1] for one in others[1:]}
        x = np.geomspace(*ends[along], max(SETTING_PLACES // fewer, 4))
        levels = np.geomspace(*ends[by], max(SETTING_LINES // fewer, 2)) if by else np.array([1.0])
        places = {along: np.tile(x, levels.size)} | ({by: np.repeat(levels, x.size)} if by else {})
        values = fit.optima(places | {one: np.full(x.size * levels.size, value) for one, value in at.items()}, LEVEL)
        lines = [_line(values[name], x, k, float(level) if by else None) for k, level in enumerate(levels)]
        said, drawn = _published(name, {along: x} | at | ({by: np.full(x.size, levels[-1])} if by else {}), rows, units)
        out.append(
            Setting(
                law=fit.law,
                name=name,
                along=along,
                by=by,
                at=at,
                lines=(*(line for line in lines if line.x), *drawn) if any(line.x for line in lines) else (),
                growth=tuple(_power(one, *of) for one, of in powers.items()),
                tested=(float(divided.fitted.columns[name].min()), float(divided.fitted.columns[name].max())),
                published=said,
            )
        )
    return out


def _line(best: BestValue, x: np.ndarray, k: int, level: float | None) -> SettingLine:
    part = slice(k * x.size, (k + 1) * x.size)
    inside = best.inside[part]
    value, low, high = (ends[part][inside] for ends in (best.value, best.low, best.high))
    return SettingLine(
        x=tuple(map(_short, x[inside])),
        value=tuple(map(_short, value)),
        low=tuple(map(_short, low)),
        high=tuple(map(_short, high)),
        level=None if level is None else _short(level),
    )


_CALLED = {"learning_rate": "learning rate", "lr": "learning rate", "batch_size": "batch", "batch": "batch"}
_COUNTS_N = ("parameters_without_embeddings", "parameters", "N")
_COUNTS_D = ("examples", "tokens", "dataset_size", "D")


def _published(
    name: str, places: Mapping[str, np.ndarray], rows: Any, units: Mapping[str, str]
) -> tuple[tuple[PublishedSetting, ...], tuple[SettingLine, ...]]:
    """What others say of this hyperparameter, in words; and as lines where the columns are what theirs are."""
    said, drawn = [], []
    parameters = next((one for one in _COUNTS_N if one in places), None)
    tokens = next((one for one in _COUNTS_D if one in places and units.get(one) == "tokens"), None)
    for source, laws in PUBLISHED.items():
        if _CALLED.get(name) not in laws:
            continue
        scale, powers = laws[_CALLED[name]]
        text = " ".join([f"{exact(scale)}", *(f"{one}^{power:g}" for one, power in powers.items())])
        said.append(PublishedSetting(source=source, text=text))
        if parameters and tokens:
            n, d = places[parameters], places[tokens]
            known = {"N": n, "D": d, "C": 6 * n * d}
            value = scale * np.prod([np.broadcast_to(known[one] ** power, n.shape) for one, power in powers.items()], 0)
            x = next(iter(places.values()))
            drawn.append(SettingLine(x=tuple(map(_short, x)), value=tuple(map(_short, value)), source=source))
    return tuple(said), tuple(drawn)


def _short(value: float) -> float:
    return float(f"{float(value):.{DIGITS}g}")
