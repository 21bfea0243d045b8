"""What is shown of the desiderata is measured: other points, other words."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pandas
import pytest

from pipeline.paper import DESIDERATA, NEEDS, evidence
from pipeline.paper.desiderata import FLOOR, bottlenecks, non_monotonic, one_floor, opposing_forces, shifted_breaks

STEPS = (64, 128, 256, 512, 1_024, 2_048, 4_096)


def networks(depth_power: float, width_power: float) -> pandas.DataFrame:
    """Losses that fall from ln 2 to the floor at a step that is a power of depth and width."""
    rows = []
    for depth, width, step in itertools.product((1, 2, 4), (8, 32, 64, 128), STEPS):
        place = 2_000 * depth**depth_power * (width / 8) ** width_power
        loss = FLOOR + (np.log(2) - FLOOR) / (1 + (step / place) ** 4)
        rows.append({"cell": f"{depth}-{width}", "depth": depth, "width": width, "step": step, "loss": loss})
    return pandas.DataFrame(rows)


@pytest.mark.parametrize("powers", [(-1.0, -0.5), (-0.5, -0.25)])
def test_the_powers_by_which_breaks_are_shifted_are_found(powers):
    said = shifted_breaks(networks(*powers))
    found = re.search(r"depth\^(-?[\d.]+) width\^(-?[\d.]+), within a factor of ([\d.]+)", said)
    assert [float(found[1]), float(found[2])] == pytest.approx(powers, abs=0.03) and float(found[3]) < 1.1


def test_the_floor_is_that_of_the_flipped_labels():
    said = one_floor(networks(-1.0, -0.5))
    assert f"entropy of the flipped labels is {FLOOR:.4f}" in said and pytest.approx(0.19852, abs=1e-5) == FLOOR


def parities(climb: float) -> pandas.DataFrame:
    """On few examples the loss climbs by this before it falls."""
    rows = []
    for width, size, step in itertools.product((16, 32, 64, 128), (1_000, 4_000, 8_000, 64_000), STEPS):
        loss = 0.7 if step < 1_024 else 0.2 + 0.2 * (size == 1_000)
        loss += climb * (size == 1_000 and step == 512)
        rows.append({"cell": f"{width}-{size}", "width": width, "dataset_size": size, "step": step, "loss": loss})
    return pandas.DataFrame(rows)


def test_what_few_examples_teach_wrong_is_measured():
    assert "climbs from 0.700 to 0.900 at 512 steps" in opposing_forces(parities(0.2))
    assert "climbs from 0.700 to 0.800 at 512 steps" in opposing_forces(parities(0.1))
    assert "from 0.400 to 0.400, where 0.200 is reached" in bottlenecks(parities(0.1))


def test_the_best_rate_is_that_of_each_length():
    """It falls as the square root of the steps; to other steps and another scale of the weights nobody looks."""
    rates, rows = (0.001, 0.002, 0.004, 0.008, 0.016), []
    for step, scale, rate in itertools.product((128, 512, 1_024, 2_048), (0.4, 1.0), rates):
        best = {128: 0.008, 512: 0.004, 1_024: 0.016, 2_048: 0.002}[step] * scale / 0.4
        loss = 0.5 + 0.1 * np.log(rate / best) ** 2
        rows += [{"init_scale": scale, "steps": 2_048, "step": step, "learning_rate": rate, "loss": loss}]
    said = non_monotonic(pandas.DataFrame(rows))
    assert said.endswith("the best rate is 0.008 after 128 steps, 0.004 after 512 steps, 0.002 after 2,048 steps")
    assert "goes from 0.548 over 0.500 to 0.932 as the rate grows from 0.001 to 0.016" in said


def test_without_the_points_of_a_block_nothing_is_shown():
    assert evidence({name: pandas.DataFrame() for name in NEEDS[1:]}) == []
    assert DESIDERATA == ("number", "desideratum", "block", "evidence")
