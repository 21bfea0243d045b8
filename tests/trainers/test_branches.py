"""Runs of many lengths in one, on cells whose whole state is a sum of learning rates: every branch can be reckoned."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from trainers import Counts, Point
from trainers.battery import Recorder
from trainers.battery import run_in_memory as run
from trainers.loop import Cohort, branch_start, branch_steps, learning_rate_factor, measured_steps, train_cohorts
from trainers.loop.branches import standing


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 1
    steps: int = 64
    batch_size: int = 2
    learning_rate: float = 1.0
    schedule: str = "anneal"
    warmup_steps: int = 3
    decay_share: float = 0.2


class Adding(Cohort):
    """Adds its rate times a number of its own for every step."""

    taken = 0

    def __init__(self, trainer, configs, cells, device):
        super().__init__(trainer, configs, cells, device)
        self.sum = torch.zeros(len(cells), dtype=torch.float64)

    def update(self):
        Adding.taken += 1
        factor = learning_rate_factor(self.config, self.step, branch=self.branch)
        self.sum += factor * torch.tensor([config.seed / (1 + self.step) for config in self.configs])

    def measure(self):
        return {1: {"sum": self.sum.tolist()}}

    def state(self, row):
        return {"sum": self.sum[row]}


class Trainer:
    name, version, Config = "adding", 1, Config

    def count(self, config):
        extra = branch_steps(config, self.evaluation_steps(config))
        return Counts(
            parameters=1,
            parameters_without_embeddings=1,
            flops_per_step=3.0,
            steps=config.steps,
            bytes=8,
            branch_steps=extra,
        )

    def evaluation_steps(self, config):
        return measured_steps(config, first=4)

    def cohort_key(self, config):
        return ()

    def train(self, configs, context):
        return train_cohorts(Adding, self, configs, context, together=True)


ADDING = Trainer()
SHARES = (0.05, 0.2, 0.5, 1.0)
"""Of the length that decays: from a step or two to all, where every branch begins at once and passes by all others."""


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("warmup", [0, 3])
def test_every_branch_is_the_whole_run_of_its_length(share, warmup):
    config = Config(decay_share=share, warmup_steps=warmup if share < 1 else 0)
    points, ends = run(ADDING, [config])
    assert [step for _, step, _ in points] == list(ADDING.evaluation_steps(config)) and ends[0].step == 64
    assert len(points) >= 6
    for (_, length, _), point in points.items():
        alone, _ = run(ADDING, [dataclasses.replace(config, schedule="wsd", steps=length)])
        if round(share * length):  # the shortest branch decays over one step, `wsd` of that length over none
            assert point == alone[0, length, 1]


@pytest.mark.parametrize("share", SHARES)
def test_a_run_takes_the_steps_that_it_is_counted_to(share):
    config, Adding.taken = Config(decay_share=share), 0
    points, _ = run(ADDING, [config])
    counts = ADDING.count(config)
    assert Adding.taken == counts.steps + counts.branch_steps and counts.flops == 3.0 * Adding.taken
    # A point has what its own path took.
    assert all((p.flops, p.examples) == (3.0 * step, 2 * step) for (_, step, _), p in points.items())


def test_many_lengths_cost_a_fraction_of_their_runs():
    config = Config(steps=4096)
    counts, lengths = ADDING.count(config), ADDING.evaluation_steps(config)
    assert counts.steps + counts.branch_steps < 1.5 * 4096 < 0.5 * sum(lengths)


@pytest.mark.parametrize("share", SHARES)
def test_it_goes_on_from_wherever_it_is_interrupted(share):
    """A checkpoint at every single step, on the trunk and within branches, resumed in pairs and alone."""

    class Saving(Recorder):
        def checkpoint_due(self):
            return True

        def save(self, cell, checkpoint):
            kept[cell].append(checkpoint)

    kept = {0: [], 1: []}
    configs = [Config(decay_share=share), Config(decay_share=share, seed=7)]
    whole, _ = run(ADDING, configs, Saving())
    assert len(kept[0]) == ADDING.count(configs[0]).steps + ADDING.count(configs[0]).branch_steps
    steps = [checkpoint.step for checkpoint in kept[0]]
    assert steps == sorted(steps), "a later checkpoint is never behind an earlier one"
    for pair in zip(kept[0], kept[1], strict=True):
        after, ends = run(ADDING, configs, Recorder(saved=dict(enumerate(pair))))
        assert after == {key: point for key, point in whole.items() if key[1] > pair[0].step} and len(ends) == 2
    far, near = kept[0][-3], kept[1][1]
    after, _ = run(ADDING, configs, Recorder(saved={0: far, 1: near}))
    assert after.items() <= whole.items() and {cell for cell, _, _ in after} == {0, 1}


def test_cells_at_one_step_of_different_branches_train_apart():
    """The end of a branch and the trunk behind it have one step in common, and not one state."""
    kept = []
    context = Recorder()
    context.checkpoint_due = lambda: True
    context.save = lambda cell, checkpoint: kept.append(checkpoint)
    whole, _ = run(ADDING, [Config(decay_share=0.5)], context)
    one, other = next(
        (a, b) for a, b in zip(kept, kept[1:], strict=False) if a.step == b.step and standing(a) != standing(b)
    )
    configs = [Config(decay_share=0.5)] * 2
    after, _ = run(ADDING, configs, Recorder(saved={0: one, 1: other}))
    assert after and all(point.metrics == whole[0, step, 1].metrics for (_, step, _), point in after.items())


@pytest.mark.parametrize("schedule", ["cosine", "wsd"])
def test_a_rate_that_decays_is_measured_where_it_has_decayed(schedule):
    config = Config(schedule=schedule)
    points = [event for event in ADDING.train([config], Recorder()) if isinstance(event, Point)]
    assert [point.step for point in points] == [64] == list(measured_steps(config, first=4))


def test_a_constant_rate_is_measured_on_the_way():
    assert measured_steps(Config(schedule="constant"), first=16) == (16, 23, 32, 45, 64)


def test_branches_begin_after_the_warm_up():
    config = Config(warmup_steps=20)
    lengths = measured_steps(config, first=4)
    assert lengths == (32, 45, 64) and all(branch_start(config, length) >= 20 for length in lengths)
    assert measured_steps(dataclasses.replace(config, warmup_steps=60), first=4) == (64,)
