"""The still figures of what changes with time: skill by the day of a forecast, and what rounds foretell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.drawing import LEVELS, MARKERS, MUTED, WIDTH, MetricScale, draw, limits
from pipeline.report.facts import LedgerFacts, Round
from pipeline.report.words import short

HEIGHT, NARROW = 2.8, 0.62
LONGEST = 90
"""Characters of a target in the legend of the drift, which has the width of the figure."""


def skill(ledger: LedgerFacts) -> str:
    """The part of the simplest law's error that each law saves, by the day on which its forecasts were made."""
    days = sorted({one.day for one in ledger.days})
    laws = list(dict.fromkeys(one.law for one in ledger.days if one.skill is not None))

    def build(figure) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=MUTED, linewidth=0.8, dashes=(4, 3))
        for k, law in enumerate(laws):
            known = [one for one in ledger.days if one.law == law and one.skill is not None]
            look = {"color": LEVELS[k % len(LEVELS)], "marker": MARKERS[k % len(MARKERS)], "markersize": 4}
            places = [days.index(one.day) for one in known]
            axes.plot(places, [one.skill for one in known], linewidth=1.3, label=short(law, 20), **look)
        shown = np.unique(np.linspace(0, len(days) - 1, min(len(days), 6)).round().astype(int))
        axes.set_xticks(shown, labels=[days[k] for k in shown])
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_ylabel(f"error saved against {short(ledger.simplest, 20)}")
        figure.legend(loc="outside right center")

    return draw(build, height=HEIGHT, width=WIDTH * NARROW, label="skill by the day on which forecasts were made")


def drift(rounds: Sequence[Round], scale: MetricScale) -> str:
    """What the law that counts said of the last targets after each round, with its 90% interval."""
    names = list(dict.fromkeys(one.name for number in rounds for one in number.coefficients))
    said = {name: [(one.number, c) for one in rounds for c in one.coefficients if c.name == name] for name in names}
    places = [
        scale.place(np.array([end for _, c in some for end in (c.low or c.value, c.value, c.high or c.value)]))
        for some in said.values()
    ]
    span = limits(places)

    def build(figure) -> None:
        axes = figure.subplots()
        for k, (name, some) in enumerate(said.items()):
            colour, aside = LEVELS[k % len(LEVELS)], 0.06 * (k - (len(said) - 1) / 2)
            at = np.array([number + aside for number, _ in some])
            ends = [
                scale.place(np.array([(c.low or c.value, c.high or c.value) for _, c in some]))[:, i] for i in (0, 1)
            ]
            axes.vlines(at, *ends, color=colour, linewidth=3, alpha=0.35)
            value = scale.place(np.array([c.value for _, c in some]))
            axes.plot(
                at, value, color=colour, marker=MARKERS[k % len(MARKERS)], markersize=4, label=short(name, LONGEST)
            )
        axes.set_xticks([one.number for one in rounds])
        axes.set_ylim(*span)
        scale.on(axes.yaxis, *span)
        axes.set_xlabel("round")
        axes.set_ylabel(scale.label)
        figure.legend(loc="outside upper left", ncols=1)

    return draw(build, height=HEIGHT + 0.3, width=WIDTH * NARROW, label="what each round foretells of the target")
