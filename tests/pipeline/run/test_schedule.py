"""Schedules: lists and stages, and a driver that asks them."""

from __future__ import annotations

import threading

import pytest
from rehearsal import make_study

from pipeline import Split
from pipeline.plan import make_plan
from pipeline.run import Driver, Listed, Stages, fitted_first
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Measured, Writer


class Order:
    """A listener that keeps the order of points and calls."""

    def __init__(self):
        self.heard = []

    def begin(self, cell, points):
        pass

    def tell(self, events):
        self.heard += [event.cell for event in events if isinstance(event, Measured)]


def drive(study, store, schedule, listeners=(), watch=None):
    with Writer.open(store) as writer:
        driver = Driver(study=study, writer=writer, executor=InlineExecutor(device="cpu"), listeners=listeners)
        if watch:
            watch(driver)
        return driver.run(schedule, make_plan(study, store).throughput)


def test_a_list_is_given_once(store):
    cells = make_plan(make_study(), store).cells
    schedule = Listed(cells)
    assert (schedule.waiting, schedule.over) == (8, False)
    assert list(schedule.take(())) == list(cells)
    assert (list(schedule.take(())), schedule.waiting, schedule.over) == ([], 0, True)


def test_held_out_cells_wait_until_the_fitted_ones_have_ended_and_something_was_done(store):
    study = make_study(split=Split(held_out="parameters > 2000"))
    order = Order()
    schedule = fitted_first(make_plan(study, store).cells, between=lambda stage: order.heard.append(f"after {stage}"))
    assert drive(study, store, schedule, [order]).done == 8
    large = {cell.id for cell in study.cells if cell.config["parameters"] > 2000}
    marks = [index for index, cell in enumerate(order.heard) if cell == "after 0"]
    assert len(marks) == 1
    assert not large & set(order.heard[: marks[0]])
    assert set(order.heard[marks[0] + 1 :]) == large


def test_what_happens_between_stages_does_not_hold_up_the_driver(store):
    """The driver turns on meanwhile, and can be stopped."""
    study, may_end, drivers = make_study(), threading.Event(), []

    def long(stage):
        threading.Timer(0.3, drivers[0].stop).start()
        may_end.wait(30)

    schedule = fitted_first(make_plan(study, store).cells, between=long)
    outcome = drive(study, store, schedule, watch=drivers.append)
    may_end.set()
    assert (outcome.done, outcome.left, outcome.interrupted) == (4, 4, True)


def test_what_goes_wrong_between_stages_ends_the_run(store):
    def broken(stage):
        raise OSError("no forecast")

    with pytest.raises(OSError, match="no forecast"):
        drive(make_study(), store, fitted_first(make_plan(make_study(), store).cells, between=broken))


def test_a_schedule_may_go_on_proposing(store):
    """A design: each cell is chosen once the one before has ended."""
    study = make_study()
    cells = list(make_plan(study, store).cells)

    class OneByOne:
        given, waiting = [], 0
        over = False

        def take(self, ended):
            if len(ended) < len(self.given):
                return ()
            self.over = len(self.given) == 4
            if self.over:
                return ()
            self.given.append(cells[len(self.given)])
            return self.given[-1:]

    assert drive(study, store, OneByOne()).done == 4


def test_empty_stages_are_passed_over(store):
    cells = make_plan(make_study(), store).cells
    schedule = Stages((), cells[:1], (), cells[1:2])
    assert list(schedule.take(())) == [cells[0]]
    assert list(schedule.take({cells[0].cell.id})) == [cells[1]]
    assert schedule.over
