"""What a seed draws: the cells of one identity were measured on it, so it may never change without a new version."""

from __future__ import annotations

import numpy as np
import pytest

from trainers import TrainerError, load_trainer
from trainers.data.order import EpochOrder
from trainers.data.subset import nested_subset
from trainers.math.answering import distinct
from trainers.vision.games import GameFrames


def test_a_seed_draws_what_it_has_always_drawn():
    nothing = np.empty(0, np.int64)
    assert nested_subset(seed=3, size=5, population=100).tolist() == [95, 54, 20, 21, 76]
    assert EpochOrder(seed=3, size=5).take(3, 6).tolist() == [3, 0, 1, 4, 0, 2]
    assert distinct(space=100, seed=3, count=5, without=np.arange(50)).tolist() == [75, 81, 84, 73, 83]
    assert distinct(space=2**30, seed=3, count=3, without=nothing).tolist() == [1050365060, 271928421, 621937646]
    assert GameFrames(4, 0).drawn("train", 2, seed=1).tolist() == [2**29, 2**29 + 1]


def test_a_run_is_measured_where_it_has_always_been():
    parity, oracle = load_trainer("parity"), load_trainer("oracle")
    assert parity.evaluation_steps(parity.Config(steps=300)) == (32, 45, 64, 91, 128, 181, 256, 300)
    assert oracle.evaluation_steps(oracle.Config(steps=300)) == (16, 32, 64, 128, 256, 300)


def test_one_step_is_a_run_and_none_is_not():
    oracle = load_trainer("oracle")
    assert oracle.evaluation_steps(oracle.Config(steps=1)) == (1,)
    with pytest.raises(TrainerError, match="steps"):
        oracle.Config(steps=0)
