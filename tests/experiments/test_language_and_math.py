"""The studies of language and math can be planned at every tier, without training frameworks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fitting import parse_expression
from pipeline.plan import check_memory, make_plan
from pipeline.store import Store
from pipeline.study import load_study, point_columns

TIERS = [
    (name, tier)
    for name, tiers in {
        "language": ("cpu", "gpu", "paper"),
        "math": ("cpu", "gpu", "paper"),
        "math-answers": ("cpu", "gpu"),
        "math-modular": ("cpu", "gpu"),
    }.items()
    for tier in tiers
]


@pytest.mark.parametrize("name, tier", TIERS)
def test_every_tier_is_sound_and_holds_out_its_larger_scale(name, tier):
    study = load_study(name, tier)
    study.check()
    shares = [study.held_out_share(cell) for cell in study.cells]
    assert 0.05 < sum(shares) / len(shares) < 0.7 and min(shares) < 1
    assert study.name == (name if tier == "cpu" else f"{name}-{tier}")


@pytest.mark.parametrize("name, tier", [*TIERS, *[("vision", tier) for tier in ("cpu", "gpu", "paper")]])
def test_no_tier_fits_annealed_models_beside_others(name, tier):
    """All its points come from rates that have decayed, or none: a rate that decays gives points at its end alone."""
    cells = load_study(name, tier).cells
    schedules = {cell.config["schedule"] for cell in cells}
    assert schedules in ({"constant"}, {"anneal"}) or all(len(cell.evaluation_steps) == 1 for cell in cells)


@pytest.mark.parametrize("tier, but", [("cpu", {"dataset_size"}), ("gpu", set())])
def test_answers_are_forecast_along_every_input(tier, but):
    """Each input reaches at least twice as far in the points held out as in those fitted, inference steps too."""
    study = load_study("math-answers", tier)
    held_out = parse_expression(study.split.held_out)
    fitted_to, reach = dict.fromkeys(study.inputs, 0.0), dict.fromkeys(study.inputs, 0.0)
    for cell in study.cells:
        columns = {**cell.columns, **point_columns(cell)}
        mask = np.broadcast_to(held_out.evaluate(columns), cell.points)
        for name in study.inputs:
            values = np.broadcast_to(columns[name], cell.points)
            reach[name] = max(reach[name], values.max())
            fitted_to[name] = max(fitted_to[name], values[~mask].max(initial=0.0))
    assert all(0 < 2 * fitted_to[name] <= reach[name] for name in set(study.inputs) - but), (fitted_to, reach)
    assert reach["inference_steps"] == study.fixed["answers"]


LARGE = {
    "a10g": [
        "language gpu",
        "vision gpu",
        "procgen gpu",
        "hilton gpu",
        "math gpu",
        "math-answers gpu",
        "math-modular gpu",
    ],
    "h100": ["language paper", "vision paper", "procgen paper", "math paper"],
}
"""By the least GPU that the cluster files bring, or that a docstring names."""


@pytest.mark.parametrize("device", LARGE)
def test_large_tiers_fit_their_gpu(device, tmp_path):
    for name, tier in map(str.split, LARGE[device]):
        study = load_study(name, tier)
        made = make_plan(study, Store(str(tmp_path), study.name), device)
        check_memory(study, made.to_run(retry_failed=True), made.device)


@pytest.mark.parametrize("name", sorted({name for name, _ in TIERS}))
def test_the_first_tier_costs_minutes_on_two_cores(name):
    """At about 20 GFLOP/s a core."""
    assert sum(cell.counts.flops for cell in load_study(name).cells) < 2 * 20e9 * 300


def test_counting_loads_no_framework():
    program = (
        "import sys; from pipeline.study import load_study; "
        "[load_study(n).cells for n in ('language', 'math', 'math-answers', 'math-modular')]; "
        "sys.exit(str({'torch', 'transformers', 'datasets'} & set(sys.modules) or ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=Path(__file__).parents[2], text=True
    )
    assert not done.stderr.strip(), done.stderr
