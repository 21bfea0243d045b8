"""Compute-optimal values: where a fitted law spends a budget, and that Lagrange's condition holds there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fitting import Fit, FittingError, allocate, parse_quantity
from pipeline.paper.answers import Answers
from pipeline.study import Spending

STEP = 1e-4
"""Of the differences, in ln x."""
DRAWS = 10
"""Behind intervals, which are not shown here: `unsl allocate` shows them."""
LAWS = ("unsl", "a3", "cf")
"""Whose allocations are shown side by side."""


def spend(answers: Answers) -> list[dict[str, Any]]:
    """A row a task, law and budget: the optimum, the loss there, how it grows with the budget, and Lagrange's
    multiplier by each input; they are equal where dy/dx_i = mu dC/dx_i."""
    spending = answers.block.spending.get(answers.tier)
    if spending is None:
        return []
    tasks = answers.asks[""]
    found = []
    for task, comparisons in tasks.comparisons.items():
        for one in comparisons:
            if one.law in LAWS and one.fit is not None and one.rmsle_fit is not None:
                found += [{"task": task, "law": one.law, **row} for row in _rows(one.fit, spending)]
    return found


def _rows(fit: Fit, spending: Spending) -> list[dict[str, Any]]:
    try:
        found = allocate(fit, spending.cost, spending.budgets, fixed=spending.fixed, draws=DRAWS)
    except FittingError as error:
        return [{"reason": str(error)}]
    return [
        {
            "budget": one.budget,
            **{f"best_{name}": float(one.at[name]) for name in found.exponents},
            **{f"exponent_{name}": float(slope) for name, (slope, _, _) in found.exponents.items()},
            "loss": float(one.y),
            **{f"multiplier_{name}": mu for name, mu in multipliers(fit, spending, one.at).items()},
            "beyond": max(one.beyond.values()),
            "held_by_the_search": ", ".join(one.edges),
        }
        for one in found.optima
    ]


def multipliers(fit: Fit, spending: Spending, at: Mapping[str, float]) -> dict[str, float]:
    """(d ln y / d ln x) / (d ln C / d ln x) by each input that is free and costs something, at a place."""
    cost = parse_quantity(spending.cost)

    def ends(name: str, value) -> float:
        up, down = ({**at, name: at[name] * np.exp(sign * STEP)} for sign in (1, -1))
        return float(np.log(value(up) / value(down)))

    free = [name for name in cost.names if name not in spending.fixed and name in fit.columns]
    slopes = {name: ends(name, lambda place: fit.predict({c: place[c] for c in fit.columns})) for name in free}
    return {name: slope / ends(name, lambda place: cost.evaluate(place)) for name, slope in slopes.items()}
