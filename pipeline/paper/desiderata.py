"""The paper's eight desiderata of a scaling law, each with what real runs show of it: measured, not derived.

That the law's form fulfils them is a matter of algebra, and tested in `tests/fitting/test_unsl.py`. Here stands whether
networks behave so, from the points of three blocks at their cpu tier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fitting import Table, compare

NEEDS = ("initial_scale", "parity", "width_depth")
"""The blocks whose points are looked at."""
COLUMNS = ("number", "desideratum", "block", "evidence")
FLIPPED = 0.05
"""Share of the labels that those blocks flip."""
FLOOR = -FLIPPED * math.log(FLIPPED) - (1 - FLIPPED) * math.log(1 - FLIPPED)
"""Nats that no network can beat: the entropy of the flips."""
HALFWAY = math.sqrt(FLOOR * math.log(2))
"""The loss half way down, in logarithms, from guessing to the floor: where a break is looked for."""


def evidence(points: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a desideratum, in `COLUMNS`; nothing where the points of a block are not there. points: DataFrames."""
    if not all(name in points for name in NEEDS):
        return []
    return [
        {"number": number, "desideratum": says, "block": block, "evidence": show(points[block])}
        for number, (says, block, show) in enumerate(_DESIDERATA, start=1)
    ]


def one_input(points: Any) -> str:
    rows = points[(points["depth"] == 3) & (points["width"] == 64) & (points["step"] >= 64)]
    table = Table(inputs={"step": rows["step"].to_numpy(float)}, y=rows["loss"].to_numpy(float))
    unsl, bnsl = compare(("unsl", "bnsl"), table)
    apart = np.abs(np.log(unsl.fit.predict(table.columns) / bnsl.fit.predict(table.columns))).max()
    return (
        f"along steps alone (width 64, depth 3) unsl fits to {unsl.rmsle_fit.value:.3f} and bnsl to "
        f"{bnsl.rmsle_fit.value:.3f}; the two are nowhere further apart than {apart:.1%}"
    )


def shifted_breaks(points: Any) -> str:
    places = [
        (depth, width, place)
        for (depth, width), rows in points.groupby(["depth", "width"])
        if (place := _crossing(rows)) is not None
    ]
    logs = np.log(np.array(places, float))
    design = np.column_stack([np.ones(len(logs)), logs[:, :2]])
    slopes, *_ = np.linalg.lstsq(design, logs[:, 2], rcond=None)
    spread = float(np.std(logs[:, 2] - design @ slopes))
    return (
        f"the steps until the loss is half way down go as depth^{slopes[1]:.2f} width^{slopes[2]:.2f}, within a factor "
        f"of {math.exp(spread):.2f}, over {len(places)} networks that need {math.exp(logs[:, 2].min()):,.0f} to "
        f"{math.exp(logs[:, 2].max()):,.0f} steps"
    )


def bottlenecks(points: Any) -> str:
    mean = points.groupby(["step", "width", "dataset_size"])["loss"].mean()
    return (
        f"after 256 steps eight times the width and sixteen times the data move the loss from "
        f"{mean[256, 16, 4_000]:.3f} to {mean[256, 128, 64_000]:.3f}; on 1,000 examples four times the width moves it "
        f"from {mean[4_096, 32, 1_000]:.3f} to {mean[4_096, 128, 1_000]:.3f}, where {mean[4_096, 32, 64_000]:.3f} is "
        "reached on 64,000"
    )


def one_floor(points: Any) -> str:
    last = points[points["step"] == points["step"].max()].groupby(["depth", "width"])["loss"].mean()
    return (
        f"{len(last)} networks of every depth and width end between {last.min():.4f} and {last.max():.4f} nats; "
        f"the entropy of the flipped labels is {FLOOR:.4f}"
    )


def misperformance(points: Any) -> str:
    rows = points[(points["step"] >= 256) & (points["step"] <= 512) & (points["dataset_size"] >= 8_000)]
    rows = rows[rows["width"] <= 64]
    return (
        f"before they learn, {rows['cell'].nunique()} networks stand at {rows['loss'].mean():.3f} nats with a standard "
        f"deviation of {rows['loss'].std():.3f}; guessing is {math.log(2):.3f}"
    )


def bottlenecked_misperformance(points: Any) -> str:
    mean = points[points["dataset_size"] >= 4_000].groupby(["step", "width", "dataset_size"])["loss"].mean()
    early, late = mean[256], mean[4_096]
    return (
        f"256 steps hold the loss at {early.min():.3f} to {early.max():.3f} whatever the width and the data; with "
        f"4,096 the same networks lie between {late.min():.3f} and {late.max():.3f}"
    )


def non_monotonic(points: Any) -> str:
    rows = points[(points["init_scale"] == 0.4) & (points["steps"] == points["steps"].max())]
    best = {step: rows[rows["step"] == step].groupby("learning_rate")["loss"].mean() for step in (128, 512, 2_048)}
    last = best[2_048]
    return (
        f"at 2,048 steps the loss goes from {last.iloc[0]:.3f} over {last.min():.3f} to {last.iloc[-1]:.3f} as the "
        f"rate grows from {last.index[0]:g} to {last.index[-1]:g}; the best rate is "
        + ", ".join(f"{one.idxmin():g} after {step:,} steps" for step, one in best.items())
    )


def opposing_forces(points: Any) -> str:
    few, many = (
        points[(points["width"] == 64) & (points["dataset_size"] == size)].groupby("step")["loss"].mean()
        for size in (1_000, 64_000)
    )
    return (
        f"at width 64, 1,000 examples first teach what is wrong: the loss climbs from {few.iloc[1]:.3f} to "
        f"{few.max():.3f} at {few.idxmax():,} steps, above guessing, and then falls to {few.iloc[-1]:.3f}; on 64,000 "
        f"it never climbs and ends at {many.iloc[-1]:.3f}"
    )


_DESIDERATA: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("with one input the law is the broken neural scaling law", "width_depth", one_input),
    ("an input shifts the break of another by a factor", "width_depth", shifted_breaks),
    ("each input alone can be the bottleneck", "parity", bottlenecks),
    ("there is one irreducible loss for all", "width_depth", one_floor),
    ("bad performance has a limit", "parity", misperformance),
    ("that limit may itself be set by some inputs", "parity", bottlenecked_misperformance),
    ("transitions need not be monotonic", "initial_scale", non_monotonic),
    ("opposing forces act on good learning and on bad", "parity", opposing_forces),
)


def _crossing(rows: Any) -> float | None:
    """The step at which the mean loss falls through `HALFWAY`, between two measurements; None if it does not."""
    mean = rows.groupby("step")["loss"].mean()
    below = np.flatnonzero(mean.to_numpy() < HALFWAY)
    if not below.size or below[0] == 0:
        return None
    around = mean.iloc[below[0] - 1 : below[0] + 1]
    (x0, x1), (y0, y1) = np.log(around.index.to_numpy(float)), np.log(around.to_numpy())
    return float(np.exp(x0 + (math.log(HALFWAY) - y0) / (y1 - y0) * (x1 - x0)))
