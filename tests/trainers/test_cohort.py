"""The loop that trainers share, on cells whose whole state is one number that grows by their seed at every step."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from trainers import Checkpoint, Counts, End, Ending, Point, Trainer, TrainerError
from trainers.battery import Recorder
from trainers.battery import run_in_memory as run
from trainers.loop import Cohort, train_cohorts


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 1
    steps: int = 32
    batch_size: int = 2
    learning_rate: float = 1.0


class Growing(Cohort):
    check_interval = 8
    made: list[list[int]] = []

    def __init__(self, trainer, configs, cells, device):
        super().__init__(trainer, configs, cells, device)
        if any(config.seed < 0 for config in self.configs):
            raise TrainerError("seeds shrink")
        self.grown = torch.zeros(len(cells), dtype=torch.float64)
        Growing.made.append(self.cells)

    def update(self):
        self.grown += torch.tensor([config.seed for config in self.configs])

    def measure(self):
        limited = torch.where(self.grown > 100, torch.inf, self.grown)
        return {1: {"grown": limited.tolist()}, 4: {"times four": (4 * self.grown).tolist()}}

    def state(self, row):
        return {"grown": self.grown[row]}


class Growth:
    name, version, Config, together = "growth", 1, Config, True

    def count(self, config):
        return Counts(parameters=1, parameters_without_embeddings=1, flops_per_step=3.0, steps=config.steps, bytes=8)

    def evaluation_steps(self, config):
        return (4, 16, 32)

    def inference_budgets(self, config):
        return (1, 4)

    def cohort_key(self, config):
        return ()

    def train(self, configs, context):
        return train_cohorts(Growing, self, configs, context, together=self.together)


@pytest.fixture
def growth():
    Growing.made.clear()
    trainer = Growth()
    assert isinstance(trainer, Trainer)
    return trainer


def test_points_carry_what_is_counted(growth):
    points, ends = run(growth, [Config(seed=1), Config(seed=2)])
    assert list(points) == [(cell, step, k) for step in (4, 16, 32) for cell in (0, 1) for k in (1, 4)]
    assert points[1, 16, 1].metrics == {"grown": 32.0} and points[1, 16, 4].metrics == {"times four": 128.0}
    assert (points[1, 16, 4].examples, points[1, 16, 4].flops) == (32, 48.0)
    assert list(ends.values()) == [End(cell=0, step=32), End(cell=1, step=32)]


def test_a_diverged_cell_leaves_the_others(growth):
    points, ends = run(growth, [Config(seed=5), Config(seed=50), Config(seed=1)])
    assert ends[1] == End(cell=1, step=4, ending=Ending.DIVERGED)
    assert [key for key in points if key[0] == 1] == []
    assert ends[0] == End(cell=0, step=32, ending=Ending.DIVERGED) and points[0, 16, 1].metrics == {"grown": 80.0}
    assert ends[2] == End(cell=2, step=32) and points[2, 32, 1].metrics == {"grown": 32.0}


@pytest.mark.parametrize("together, cohorts", [(True, [[0, 2], [1]]), (False, [[0], [1], [2]])])
def test_cells_at_one_step_train_together_or_each_alone(growth, together, cohorts):
    growth.together = together
    half = Checkpoint(step=16, seconds=9.0, arrays={"grown": torch.tensor(32.0).numpy()})
    points, ends = run(growth, [Config(seed=1), Config(seed=2), Config(seed=3)], Recorder(saved={1: half}))
    assert Growing.made == cohorts
    assert [step for cell, step, k in points if (cell, k) == (1, 1)] == [32]
    assert points[1, 32, 1].metrics == {"grown": 64.0} and len(ends) == 3


def test_a_refused_cell_is_named_when_the_others_are_done(growth):
    growth.together = False
    events = growth.train([Config(seed=-1), Config(seed=1), Config(seed=-2)], Recorder())
    seen = []
    with pytest.raises(TrainerError, match="^seeds shrink$"):
        seen.extend(iter(events))
    assert seen[-1] == End(cell=1, step=32) and {event.cell for event in seen} == {1}


def test_the_context_is_asked_at_every_block_and_measurement(growth):
    class Asked(Recorder):
        saves: list[tuple[Checkpoint, float]] = []

        def checkpoint_due(self):
            return True

        def save(self, cell, checkpoint):
            self.saves.append((checkpoint, float(checkpoint.arrays["grown"])))

    context = Asked()
    run(growth, [Config(seed=1)], context)
    assert [checkpoint.step for checkpoint, _ in context.saves] == [4, 8, 16, 24, 32]
    assert all(checkpoint.arrays["grown"] == then == checkpoint.step for checkpoint, then in context.saves)


class Clock:
    """Time that goes on only where a test says so."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("trainers.loop.cohort.time", clock)
    update, measure = Growing.update, Growing.measure

    def slow_update(self):
        clock.now += 1.0
        update(self)

    def slow_measure(self):
        clock.now += 0.5
        return measure(self)

    monkeypatch.setattr(Growing, "update", slow_update)
    monkeypatch.setattr(Growing, "measure", slow_measure)
    return clock


def seconds_of(events, clock) -> dict[tuple[int, int], float]:
    """Seconds by cell and step; whoever takes the points needs an hour for each."""
    seconds = {}
    for event in events:
        clock.now += 3600.0
        if isinstance(event, Point):
            seconds[event.cell, event.step] = event.seconds
    return seconds


def test_seconds_are_of_steps_and_measurements_alone(growth, clock):
    """A second a step, half a second a measurement; what others do between two points is not counted, nothing twice."""
    assert seconds_of(growth.train([Config(seed=1)], Recorder()), clock) == {(0, 4): 4.5, (0, 16): 17.0, (0, 32): 33.5}


def test_a_cohorts_seconds_are_shared_by_the_cells_that_are_left(growth, clock):
    seconds = seconds_of(growth.train([Config(seed=1), Config(seed=50)], Recorder()), clock)
    # The second cell diverges at step 4: until then each has half of the time, later the first has all of it.
    assert seconds == {(0, 4): 2.25, (0, 16): 14.75, (0, 32): 31.25}


def test_seconds_go_on_from_a_checkpoint(growth, clock):
    half = Checkpoint(step=16, seconds=9.0, arrays={"grown": torch.tensor(16.0).numpy()})
    assert seconds_of(growth.train([Config(seed=1)], Recorder(saved={0: half})), clock) == {(0, 32): 25.5}


def test_a_checkpoint_has_the_seconds_of_its_step(growth, clock):
    class Saving(Recorder):
        def checkpoint_due(self):
            return True

    context = Saving()
    saved = []
    context.save = lambda cell, checkpoint: saved.append((checkpoint.step, checkpoint.seconds))
    seconds_of(growth.train([Config(seed=1)], context), clock)
    assert saved == [(4, 4.5), (8, 8.5), (16, 17.0), (24, 25.0), (32, 33.5)]
