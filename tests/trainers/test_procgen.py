"""Training runs of Procgen's agents: counts, learning, stopping and resuming, measurements."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from unittest import mock

import numpy as np
import procgen_threads
import pytest
import torch
from small_procgen import SMALL
from torch.utils.flop_counter import FlopCounterMode

from experiments.hilton import intrinsic_performance
from pipeline.study import Cell
from trainers import Ending, TrainerError
from trainers.battery import Recorder
from trainers.battery import run_in_memory as run
from trainers.procgen import PROCGEN, ProcgenConfig, ProcgenRun, acting_flops, learning_flops
from trainers.procgen import test_games as open_test_games
from trainers.procgen import trainer as procgen


def test_counting_imports_neither_torch_nor_the_engine():
    program = (
        "import sys; from trainers import load_trainer; t = load_trainer('procgen'); c = t.Config(); t.count(c); "
        "t.evaluation_steps(c); t.cohort_key(c); sys.exit(bool({'torch', 'envpool', 'gymnasium'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("kind", ["nature", "impala"])
@pytest.mark.parametrize("width", [0.1, 1.0])
def test_counts_agree_with_what_runs(kind, width):
    config = dataclasses.replace(SMALL, network=kind, width=width, epochs=2)
    counts = PROCGEN.count(config)
    with ProcgenRun(PROCGEN, [config], [0], "cpu") as one:
        assert counts.parameters == one.agent.weights.numel()
        random = torch.Generator().manual_seed(0)
        with FlopCounterMode(display=False) as counter:
            seen = one.play(random)
        assert counter.get_total_flops() == acting_flops(config)
        with FlopCounterMode(display=False) as counter:
            one.learn(seen, random)
        assert counter.get_total_flops() == learning_flops(config)
    assert counts.flops_per_step == acting_flops(config) + learning_flops(config)


class LoadGames:
    """A game that shows what to do: a frame is dark or bright, and that says which of two actions is rewarded.

    Episodes take 16 steps. Drawing one of 15 actions is rewarded about once in an episode.
    """

    def __init__(self, *, seeds, **_):
        self.random = np.random.default_rng(seeds)
        self.clock, self.actions = 0, []
        self.wanted = np.zeros(len(seeds), int)
        self._show()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        pass

    def _show(self):
        self.wanted = self.random.integers(0, 2, len(self.wanted))
        self.frames = np.zeros((len(self.wanted), 64, 64, 3), np.uint8)
        self.frames[:] = 200 * self.wanted[:, None, None, None]

    def step(self, actions):
        self.actions.append(actions)
        return self.step_some(np.arange(len(self.wanted)), actions)

    def step_some(self, which, actions):
        rewards = (actions == self.wanted[which]).astype(np.float32)
        self.clock += 1
        self._show()
        return rewards, np.full(len(which), self.clock % 16 == 0)


@pytest.mark.parametrize("kind, width, steps", [("nature", 0.25, 16), ("impala", 0.05, 12)])
def test_an_agent_learns_a_game_that_shows_what_to_do(monkeypatch, kind, width, steps):
    """Far from the return of an agent that learns nothing, 1.1, and far from those of 12 seeds: 7.5 to 16."""
    monkeypatch.setattr(procgen, "Games", LoadGames)
    monkeypatch.setattr(procgen, "test_games", LoadGames)
    config = ProcgenConfig(
        network=kind,
        width=width,
        steps=steps,
        batch_size=256,
        environments=16,
        minibatches=4,
        learning_rate=3e-3,
        discount=0.0,
        test_episodes=16,
    )
    points, _ = run(PROCGEN, [config])
    assert points[0, steps, 1].metrics["test_return"] > 4


@functools.cache
def uninterrupted(reopen_after: int) -> dict:
    """The points of the small run, made once for all tests that interrupt it."""
    with mock.patch.object(procgen, "REOPEN_AFTER", reopen_after):
        return run(PROCGEN, [SMALL])[0]


def test_resumption_is_exact_where_environments_are_opened_anew(monkeypatch):
    monkeypatch.setattr(procgen, "REOPEN_AFTER", 24)
    whole = uninterrupted(24)
    for stop_after in (1, 2):
        first = Recorder(stop_after_points=stop_after)
        before, _ = run(PROCGEN, [SMALL], first)
        assert len(first.saved[0].arrays["actions"]) <= 24
        after, _ = run(PROCGEN, [SMALL], Recorder(saved=first.saved))
        assert {**before, **after} == whole


def test_an_interruption_right_before_a_new_opening_is_exact_too(monkeypatch):
    # 8 steps an environment and iteration: after iteration 8 the next one opens environments anew.
    monkeypatch.setattr(procgen, "REOPEN_AFTER", 64)
    whole = uninterrupted(64)
    first = Recorder(stop_after_points=1)
    before, _ = run(PROCGEN, [SMALL], first)
    assert first.saved[0].step == 8
    after, _ = run(PROCGEN, [SMALL], Recorder(saved=first.saved))
    assert {**before, **after} == whole


@pytest.mark.filterwarnings("ignore:this CPU")
def test_resumption_is_exact_in_bfloat16():
    config = dataclasses.replace(SMALL, precision="bfloat16")
    with (
        ProcgenRun(PROCGEN, [config], [0], "cpu") as whole,
        ProcgenRun(PROCGEN, [config], [0], "cpu") as resumed,
        ProcgenRun(PROCGEN, [SMALL], [0], "cpu") as exact,
    ):
        advance(whole), advance(exact)
        assert not torch.equal(whole.agent.weights, exact.agent.weights)
        resumed.restore([whole.checkpoint(0)])
        advance(whole), advance(resumed)
        assert torch.equal(whole.agent.weights, resumed.agent.weights)


def advance(run: ProcgenRun) -> None:
    run.update()
    run.step += 1


def test_precision_is_part_of_a_cell_that_cells_of_before_do_not_have():
    exact, rounded = (Cell.build(PROCGEN, settings) for settings in ({}, {"precision": "bfloat16"}))
    assert exact.id == Cell.build(PROCGEN, {"precision": "float32"}).id == "98a5109f4a216bfe"
    assert rounded.id != exact.id and rounded.cohort_key != exact.cohort_key
    assert rounded.counts.flops_per_step == exact.counts.flops_per_step
    assert 0.5 < rounded.counts.bytes / exact.counts.bytes < 0.9, "frames and weights are kept as they were"
    with pytest.raises(TrainerError, match="^precision = 'bf16' must be one of float32, bfloat16$"):
        ProcgenConfig(precision="bf16")


@pytest.mark.filterwarnings("ignore:this CPU")
def test_an_agent_that_overflows_in_bfloat16_has_diverged():
    config = dataclasses.replace(SMALL, precision="bfloat16", steps=3, learning_rate=1e30)
    points, ends = run(PROCGEN, [config])
    assert not points and ends[0].ending is Ending.DIVERGED


def test_every_seed_and_iteration_draws_for_itself():
    first = []
    for seed in range(3):
        with ProcgenRun(PROCGEN, [dataclasses.replace(SMALL, seed=seed)], [0], "cpu") as one:
            for one.step in range(3):
                first.append(torch.rand((), generator=one.generator()).item())
                assert first[-1] == torch.rand((), generator=one.generator()).item()
    assert len(set(first)) == 9


class Impatient(Recorder):
    """Asks to stop from one question on."""

    def __init__(self, question: int):
        super().__init__()
        self.question, self.asked = question, 0

    def should_stop(self):
        self.asked += 1
        return self.asked >= self.question


# A run asks once, then 11 times an iteration: for each of 8 steps and 2 minibatches, and at its end. It measures
# after 8 iterations.
@pytest.mark.parametrize(
    "question, saved",
    [
        pytest.param(4, None, id="first rollout"),
        pytest.param(10, None, id="first learning"),
        pytest.param(38, 3, id="rollout"),
        pytest.param(44, 3, id="learning"),
        pytest.param(45, 4, id="between two iterations"),
        pytest.param(91, 7, id="measurement on test levels"),
    ],
)
def test_a_run_stops_within_an_iteration_and_resumes_exactly(monkeypatch, question, saved):
    monkeypatch.setattr(procgen, "REOPEN_AFTER", 24)
    whole = uninterrupted(24)
    first = Impatient(question)
    before, ends = run(PROCGEN, [SMALL], first)
    assert first.asked == question and not before and not ends, "it went on after it was told to stop"
    assert (first.saved[0].step if first.saved else None) == saved
    after, _ = run(PROCGEN, [SMALL], Recorder(saved=first.saved))
    assert after == whole


def test_a_resumed_run_stops_while_it_replays(monkeypatch):
    first = Impatient(49)
    run(PROCGEN, [SMALL], first)
    again = Impatient(3)
    again.saved = again._resumed = first.saved
    run(PROCGEN, [SMALL], again)
    assert again.asked == 3 and again.saved[0].step == first.saved[0].step
    assert again.saved[0].seconds >= first.saved[0].seconds > 0
    assert run(PROCGEN, [SMALL], Recorder(saved=again.saved))[0] == uninterrupted(procgen.REOPEN_AFTER)


def test_measuring_does_not_touch_training(monkeypatch):
    weights, config = [], dataclasses.replace(SMALL, steps=8)
    for measured in ({8}, set(range(1, 9))):
        monkeypatch.setattr(type(PROCGEN), "evaluation_steps", lambda self, config, at=measured: sorted(at))
        first = Recorder()
        first.checkpoint_due = lambda: True
        run(PROCGEN, [config], first)
        weights.append(first.saved[0].arrays)
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_no_environment_outlives_a_run():
    program = [sys.executable, procgen_threads.__file__]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    failures, more_threads = map(int, printed.split())
    assert failures == 3 and more_threads <= 0


def test_points_say_what_was_spent_and_played():
    points, ends = run(PROCGEN, [SMALL])
    assert ends[0].ending is Ending.DONE
    last = points[0, SMALL.steps, 1]
    assert last.metrics["acting_flops"] + last.metrics["learning_flops"] == last.flops
    assert last.metrics["optimiser_steps"] == SMALL.steps * SMALL.epochs * SMALL.minibatches
    assert last.metrics["episodes"] >= 1
    assert all(point.metrics["shortfall"] >= procgen.LEAST_SHORTFALL for point in points.values())


def test_test_returns_are_comparable_between_cells(monkeypatch):
    """Every cell and every point is measured on the same test levels."""
    seen = []
    monkeypatch.setattr(procgen, "test_games", lambda **kw: seen.append(tuple(kw["seeds"])) or open_test_games(**kw))
    run(PROCGEN, [SMALL, dataclasses.replace(SMALL, seed=5, dataset_size=7)])
    assert len(seen) == 6 and len(set(seen)) == 1


def test_intrinsic_performance_is_the_least_compute_that_plays_as_well():
    flops, shortfall = np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.9, 1.2, 0.5, 0.9])
    assert intrinsic_performance(flops, shortfall).tolist() == [1.0, 1.0, 4.0, 1.0]
