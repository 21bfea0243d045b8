"""What is done with a trainer that breaks its contract while it runs, and that nothing is done to one that keeps it."""

from __future__ import annotations

import pytest

from trainers import Checkpoint, End, Ending, Point, TrainerError, load_trainer, run_trainer
from trainers.battery import Recorder


def point(step: int, *, cell: int = 0, loss: object = 1.0, **settings) -> Point:
    settings = {"examples": step, "flops": 2.0 * step, "seconds": 0.5} | settings
    return Point(cell=cell, step=step, **({"metrics": {"loss": loss}} | settings))


class Scripted:
    """A trainer that yields what it was told to, and remembers whether it was closed."""

    name = "scripted"

    def __init__(self, *events):
        self.events, self.reached, self.closed = events, 0, False

    def train(self, configs, context):
        try:
            for cell in range(len(configs)):
                context.load(cell)
            for event in self.events:
                if event == "stop?":
                    if context.should_stop():
                        return
                    continue
                self.reached += 1
                yield event
        finally:
            self.closed = True


def events_of(*events, cells: int = 1, context: Recorder | None = None) -> list:
    return list(run_trainer(Scripted(*events), [None] * cells, context or Recorder()))


def test_a_sound_run_is_passed_on():
    said = [point(1), point(1, inference_steps=4), point(1, cell=1), point(3), End(cell=0, step=3), End(cell=1, step=3)]
    assert events_of(*said, cells=2) == said
    parity = load_trainer("parity")
    config = parity.Config(bits=8, width=4, steps=64, batch_size=8, test_size=32)
    steps = [event.step for event in run_trainer(parity, [config], Recorder())]
    assert steps == [*parity.evaluation_steps(config), 64]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_metric_that_is_not_finite_ends_its_cell_as_diverged(value):
    trainer = Scripted(point(1), point(2, loss=value), point(3), End(cell=0, step=4), point(4))
    assert list(run_trainer(trainer, [None], Recorder())) == [point(1), End(cell=0, step=2, ending=Ending.DIVERGED)]
    assert trainer.closed and trainer.reached == 2, "nobody is left to train for"


def test_a_diverged_cell_leaves_the_others():
    said = events_of(
        point(1, loss=float("nan")), point(1, cell=1), point(2), End(cell=0, step=2), End(cell=1, step=2), cells=2
    )
    assert said == [End(cell=0, step=1, ending=Ending.DIVERGED), point(1, cell=1), End(cell=1, step=2)]


@pytest.mark.parametrize(
    "events, says",
    [
        ([{"loss": 1.0}], "yielded a dict; it yields trainers.Point"),
        ([point(1, cell=1)], "cell 1; cells are the indices of the 1 configurations"),
        ([point(1.5)], "step 1.5; steps are whole numbers"),
        ([point(2), point(1)], "cell 0 at step 1 follows step 2"),
        ([point(2), point(2)], "measured twice with 1 inference steps"),
        ([End(cell=0, step=2), point(3)], "goes on at step 3 after its End"),
        ([point(1, loss="low")], "'loss' = 'low'; a metric is a number"),
        ([point(1, metrics={})], "has no metrics"),
        ([point(1, flops=float("nan"))], "flops = nan"),
        ([point(1, examples=-1)], "examples = -1"),
        ([point(1)], "without an End for cell 0 although it was not asked to stop"),
    ],
)
def test_a_broken_contract_is_an_error_that_says_where(events, says):
    with pytest.raises(TrainerError, match=f"trainer 'scripted' breaks its contract: .*{says}"):
        events_of(*events)


def test_a_run_that_was_asked_to_stop_owes_no_end():
    assert events_of(point(1), "stop?", point(2), context=Recorder(stop_after_points=0)) == [point(1)]


def test_a_resumed_cell_measures_nothing_again():
    resumed = Recorder(saved={0: Checkpoint(step=4, seconds=0.0, arrays={})})
    assert len(events_of(point(5), End(cell=0, step=5), context=resumed)) == 2
    with pytest.raises(TrainerError, match="at step 4 was measured again after it was resumed at step 4"):
        events_of(point(4), context=resumed)


def test_what_is_abandoned_is_closed():
    trainer = Scripted(point(1), point(2))
    events = run_trainer(trainer, [None], Recorder())
    next(events)
    events.close()
    assert trainer.closed
