"""Rounds of a study that grows, on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.verbs.terminal import table

MOST_COEFFICIENTS = 6
"""Coefficients whose drift is shown, those first that moved most."""


def begun(facts: Mapping[str, Any]) -> None:
    """What a round knows when it begins, and what it adds."""
    began, cells = facts["began"], facts["cells"]
    varied = list(cells[0])
    print(
        f"round {facts['round']} adds {len(cells)} of the {began['candidates']} cells that the study could grow by, "
        f"for {began['cost']:.3g} of {began['budget']}"
    )
    _forecasts(began["knowledge"], began["law"])
    if began["after"] is not None:
        before, after = (math.expm1(began[name]) for name in ("before", "after"))
        print(f"they are to narrow the forecast of {began['law']} from ±{before:.1%} to ±{after:.1%}")
    if began["drift"]:
        _drift(began["drift"], began["law"])
    rows = [
        (
            *(f"{cell[name]:g}" if isinstance(cell[name], float) else str(cell[name]) for name in varied),
            f"{choice['cost']:.3g}",
            f"±{math.expm1(choice['half']):.1%}" if choice["half"] is not None else "-",
        )
        for cell, choice in zip(cells, began["choices"], strict=True)
    ]
    table([*varied, began["unit"], "forecast then"], rows)


def closed(facts: Mapping[str, Any]) -> None:
    """What came of a round."""
    began, came = facts["began"], facts["closed"]
    for alarm in came["alarms"]:
        print(f"ALARM: {alarm}")
    left = f", {len(came['left'])} left by its budget" if came["left"] else ""
    failed = f", {came['failed']} failed" if came["failed"] else ""
    print(
        f"round {facts['round']}: {came['done']} of {len(facts['cells'])} cells done{failed}{left}; "
        f"{came['spent']:.3g} of {began['budget']} spent"
    )
    if came["scores"]:
        print("its forecasts, blind, in ln(loss)")
        table(
            ["law", "forecasts", "RMSLE", "bias", "in 50%", "in 90%"],
            [
                (
                    row["law"],
                    f"{row['forecasts']:,}",
                    f"{row['rmsle']:.4f}",
                    f"{row['bias']:+.4f}",
                    f"{row['held_50']:.0%}",
                    f"{row['held_90']:.0%}",
                )
                for row in came["scores"]
            ],
        )
    _forecasts(came["knowledge"], began["law"])
    _drift(came["drift"], began["law"])


def _forecasts(known: Mapping[str, Any], law: str) -> None:
    """What the leading law says of the targets."""
    for text, said in zip(known["targets"], known["laws"].get(law, {}).get("said", ()), strict=False):
        print(
            f"{law} foretells {said['median']:.4g} ({said['low']:.4g} to {said['high']:.4g}, "
            f"±{math.expm1(said['half']):.1%}) at {text}, from {known['rows']:,} points"
        )
    if law in known["failed"]:
        print(f"{law} says nothing: {known['failed'][law]}")


def _drift(facts: Mapping[str, Any], law: str) -> None:
    """Forecasts of every law and coefficients of the leading one, then and now."""
    forecasts = [one for one in facts["drifts"] if one["is_forecast"]]
    own = [one for one in facts["drifts"] if not one["is_forecast"] and one["law"] == law]
    own.sort(key=lambda one: -one["deviations"])
    rows = [
        (
            one["law"],
            one["what"],
            _interval(one["before"]),
            _interval(one["now"]),
            f"{one['deviations']:.1f}",
            "more than noise" if one["more_than_noise"] else "",
        )
        for one in (*forecasts, *own[:MOST_COEFFICIENTS])
    ]
    if rows:
        table(["law", "drift of", "before", "now", "deviations", ""], rows)
    for text in facts["restructured"]:
        print(f"another equation: {text}")


def _interval(value: Any) -> str:
    return f"{value[0]:.4g} ({value[1]:.4g} to {value[2]:.4g})"


def proposal(facts: Mapping[str, Any]) -> None:
    """What to run next, from `unsl next`."""
    for text, median in zip(facts["targets"], facts["median"], strict=True):
        print(f"{facts['law']} foretells {facts['metric']} {median:.4g} at {text}, from {facts['rows']:,} points")
    pending = f", {facts['pending']} under way are counted in" if facts["pending"] else ""
    print(
        f"{len(facts['next'])} of {facts['candidates']:,} candidates narrow its 90% interval from "
        f"±{facts['before']:.1%} to ±{facts['after']:.1%} for {facts['cost']:.3g} {facts['unit']}{pending}"
    )
    names = list(facts["next"][0]["at"])
    table(
        [*names, "cost", "forecast then"],
        [
            (
                *(
                    f"{one['at'][name]:g}" if isinstance(one["at"][name], float) else str(one["at"][name])
                    for name in names
                ),
                f"{one['cost']:.3g}",
                f"±{one['interval']:.1%}",
            )
            for one in facts["next"]
        ],
    )


def rehearsed(facts: Mapping[str, Any]) -> None:
    """What a rehearsal says, a line a grid; of each task in turn."""
    for name, one in facts.get("tasks", {}).items():
        print(f"{name}:")
        rehearsed({**facts, **one, "tasks": {}})
    if "grids" not in facts:
        return
    truth = "" if facts["truth"] == facts["law"] else f", truths drawn by {facts['truth']}"
    print(
        f"{facts['law']} at {'; '.join(facts['targets'])}: truths from the {facts['from']}{truth}, noise "
        f"{facts['noise']:.2%}"
    )
    if not truth and facts["law"] != "unsl":
        print(f"this supposes that {facts['law']} is right: --truth unsl supposes less, once small runs are measured")
    how = "" if facts["measured_throughput"] else ", by an assumed speed"
    table(
        [
            "grid",
            "cells",
            f"{facts['device']}-hours{how}",
            "off by (median)",
            "9 of 10 within",
            "interval",
            "held 50%",
            "held 90%",
        ],
        [
            (
                one["grid"],
                str(one["cells"]),
                f"{one['hours']:.3g}" + (f" (+{one['more_hours']:.3g})" if one["more_hours"] > 0 else ""),
                *(
                    (
                        f"±{one['error']:.1%}",
                        f"±{one['error_90']:.1%}",
                        f"±{one['interval']:.1%}",
                        f"{one['held_50']:.0%}",
                        f"{one['held_90']:.0%}",
                    )
                    if one["fitted"]
                    else ("no draw could be fitted", "", "", "", "")
                ),
            )
            for one in facts["grids"]
        ],
    )
