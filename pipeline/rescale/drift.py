"""Drift: what a law says now against what it said before more was measured, and whether chance explains it.

A law that suits learns from more rows without leaving the interval that it gave. If both of its answers are right
about their own errors, the change has the variance of the earlier answer less that of the later one (Hausman, 1978):
the earlier interval, without a measurement's noise, is more than wide enough for it. What leaves the 99% of it is said
to be more than noise. Coefficients are held to that level together, since one of many leaves any interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.rescale.knowledge import LEVEL, Knowledge, LawKnown

CERTAIN = 0.99
"""Probability with which what is called more than noise is not chance."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One quantity of one law, then and now."""

    law: str
    what: str
    """A target as it was written, or the name of a coefficient."""
    is_forecast: bool
    before: Sequence[float]
    """Value, and the ends of its 90% interval."""
    now: Sequence[float]
    deviations: float
    """The change in standard deviations of the earlier answer."""
    more_than_noise: bool


@dataclass(frozen=True, kw_only=True)
class Drifts:
    """Of all laws since the last round."""

    drifts: Sequence[Drift]
    restructured: Sequence[str]
    """Laws whose equation is another now, in words; their coefficients cannot be compared."""

    @property
    def alarming(self) -> list[Drift]:
        return [one for one in self.drifts if one.more_than_noise]


def drift(before: Knowledge, now: Knowledge) -> Drifts:
    """Every forecast that both made, and every coefficient of equations that are the same; task by task where there are
    tasks."""
    if now.tasks:
        of_tasks = {name: drift(before.tasks[name], one) for name, one in now.tasks.items() if name in before.tasks}
        return Drifts(
            drifts=[_named(name, one) for name, drifts in of_tasks.items() for one in drifts.drifts],
            restructured=[f"{name}, {text}" for name, drifts in of_tasks.items() for text in drifts.restructured],
        )
    found: list[Drift] = []
    restructured = []
    for law, new in now.laws.items():
        if (old := before.laws.get(law)) is None:
            continue
        if before.targets == now.targets:
            found += _forecasts(law, old, new, now.targets)
        if old.structure == new.structure and old.coefficients.keys() == new.coefficients.keys():
            found += _coefficients(law, old, new)
        else:
            restructured.append(f"{law}: {old.structure} -> {new.structure}")
    return Drifts(drifts=found, restructured=restructured)


def _named(task: str, one: Drift) -> Drift:
    """A target says its task itself."""
    return one if one.is_forecast else replace(one, what=f"{task}: {one.what}")


def _forecasts(law: str, old: LawKnown, new: LawKnown, targets: Sequence[str]) -> list[Drift]:
    from scipy import stats

    found = []
    for text, then, now in zip(targets, old.said, new.said, strict=False):
        change = abs(now.log_median - then.log_median)
        deviations = change / then.unknown if then.unknown > 0 else math.inf if change else 0.0
        found.append(
            Drift(
                law=law,
                what=text,
                is_forecast=True,
                before=(then.median, then.low, then.high),
                now=(now.median, now.low, now.high),
                deviations=min(deviations, _MOST),
                more_than_noise=bool(deviations > stats.t.ppf(0.5 + CERTAIN / 2, then.freedom)),
            )
        )
    return found


def _coefficients(law: str, old: LawKnown, new: LawKnown) -> list[Drift]:
    from scipy import stats

    normal = float(stats.norm.ppf(0.5 + LEVEL / 2))
    each = 1 - (1 - CERTAIN) / max(len(old.coefficients), 1)
    found = []
    for name, (value, low, high) in old.coefficients.items():
        now = new.coefficients[name]
        # By the side to which it went: an interval of a positive coefficient is lopsided.
        side = (high - value if now[0] > value else value - low) / normal
        deviations = abs(now[0] - value) / side if side > 0 else math.inf if now[0] != value else 0.0
        found.append(
            Drift(
                law=law,
                what=name,
                is_forecast=False,
                before=(value, low, high),
                now=now,
                deviations=min(deviations, _MOST),
                more_than_noise=bool(deviations > stats.norm.ppf(0.5 + each / 2)),
            )
        )
    return found


_MOST = 1e6
"""Deviations that are written down at most: JSON has no infinity."""
