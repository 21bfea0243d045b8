"""Forecasts first: no held-out cell starts without its entry, and no entry is written twice, whenever one is killed."""

from __future__ import annotations

import os
import shutil
import signal
import time

import numpy as np
import pytest
from rehearsal import Told, make_study, run_study

from pipeline import Axis, PipelineError, Split
from pipeline.forecasts import ForecastFirst, Ledger, held_out_targets
from pipeline.plan import make_plan
from pipeline.run import Driver, Report
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Folder, Measured, Store, Writer
from trainers import Point

HELD_OUT = "parameters > 2000"


def entries(store: Store):
    return Ledger(store.folder).entries()


def uncovered(study, store: Store) -> set[str]:
    """Held-out cells that the store has heard of although the ledger says nothing of one of their points."""
    said = set().union(*(one.target_keys() for one in entries(store)))
    targets = held_out_targets(study)
    keys = zip(*(targets.columns[name] for name in targets.keys), strict=True)
    return {cell for cell, *rest in keys if (cell, *rest) not in said} & store.records().keys()


def test_held_out_cells_wait_for_the_forecast(store):
    study = make_study()
    seen = []

    def watch(events):
        for event in events:
            if isinstance(event, Measured):
                seen.append((event.cell, len(entries(store))))

    outcome = run_study(study, store, listeners=[Told(watch)], forecast=True)
    assert outcome.done == 8
    held_out = {cell.id for cell in study.cells if cell.config["parameters"] > 2000}
    assert {count for cell, count in seen if cell in held_out} == {1}
    assert {count for cell, count in seen if cell not in held_out} == {0}
    (entry,) = entries(store)
    assert all(entry.blind) and len(entry) == 24 and entry.rows == 24
    assert Ledger(store.folder).verify(store.records()) == []


def test_every_law_of_the_study_forecasts_and_one_that_cannot_says_why(store):
    run_study(make_study(laws=("cf", "m2", "dc", "nosuch")), store, forecast=True)
    (entry,) = entries(store)
    assert {law.law for law in entry.laws} == {"cf", "m2"}
    assert entry.failed.keys() == {"dc", "nosuch"} and all(entry.failed.values())


def test_where_too_little_was_measured_the_entry_says_that_nothing_was_foretold(store):
    study = make_study(split=Split(held_out="step > 16"), axes=[Axis("parameters", (1_000, 4_000))])
    assert run_study(study, store, forecast=True).done == 4
    (entry,) = entries(store)
    assert entry.laws == () and "at least 8 are needed" in entry.failed["cf"]


def test_a_point_later_in_a_fitted_run_is_marked_by_the_fact(store):
    """Its cell is not paused: what had been measured when the entry was written is not blind."""
    study = make_study(split=Split(held_out=f"{HELD_OUT} or step > 128"))
    run_study(study, store, forecast=True)
    (entry,) = entries(store)
    of_fitted = np.array([value < 2000 for value in entry.targets["parameters"]])
    blind = np.array(entry.blind)
    assert blind[~of_fitted].all() and not blind[of_fitted].all()


def test_the_fits_begin_when_the_last_fitted_point_is_measured(store):
    """Not when its cell ends: they run beside it."""
    study = make_study(split=Split(held_out=f"{HELD_OUT} or step > 128"), seeds=(0,), axes=make_study().axes)
    planned = make_plan(study, store).to_run(retry_failed=False)
    called = []
    first = ForecastFirst(study, planned, lambda: [called.append(1)], beside=False)
    given = [one.cell for one in first.take(())]
    assert {cell.config["parameters"] for cell in given} == {1000}

    def measure(cell, step):
        point = Point(cell=0, step=step, metrics={"loss": 1.0}, examples=1, flops=1.0, seconds=1.0)
        first.tell([Measured(cell=cell.id, point=point)])

    for cell in given:
        measure(cell, 128)
    assert first.take(()) == () and not called and not first.over
    for cell in given[:-1]:
        measure(cell, 256)
    assert first.take(()) == () and not called
    measure(given[-1], 256)
    assert len(first.take(())) == 2 and called == [1]
    assert first.over and first.waiting == 0


def test_a_run_goes_on_without_the_cells_that_failed(store):
    study = make_study(axes=[Axis("fault", ("none", "error")), *make_study().axes])
    outcome = run_study(study, store, forecast=True)
    assert (outcome.done, outcome.failed) == (8, 8)
    assert len(entries(store)) == 1 and not uncovered(study, store)


def test_a_ledger_that_cannot_be_written_keeps_held_out_cells_from_starting(store, monkeypatch):
    study = make_study()

    create = Folder.create

    def refuse(self, name, data):
        if name.startswith("ledger/"):
            raise OSError("the disk is full")
        return create(self, name, data)

    monkeypatch.setattr(Folder, "create", refuse)
    with pytest.raises(PipelineError, match="the disk is full"):
        run_study(study, store, forecast=True)
    assert not {cell.id for cell in study.cells if cell.config["parameters"] > 2000} & store.records().keys()


def test_a_study_that_grew_forecasts_what_is_new_from_what_is_known(store):
    run_study(make_study(), store, forecast=True)
    grown = make_study(seeds=(0, 1, 2))
    run_study(grown, store, forecast=True)
    first, second = entries(store)
    assert second.rows == 36 and second.fingerprint != first.fingerprint
    cells = np.array(second.targets["cell"])
    new = {cell.id for cell in grown.cells if cell.config["seed"] == 2 and cell.config["parameters"] > 2000}
    assert set(cells[np.array(second.blind)]) == new, "what had been measured before is not blind"
    assert Ledger(store.folder).verify(store.records()) == []


def test_a_driver_that_stops_in_the_second_stage_does_not_forecast_again(store):
    study = make_study()
    drivers = []

    def stop(events):
        if entries(store):
            drivers[0].stop()

    outcome = run_study(study, store, listeners=[Told(stop)], watch=drivers.append, forecast=True)
    assert outcome.left and len(entries(store)) == 1
    assert run_study(study, store, forecast=True).done == outcome.left
    assert len(entries(store)) == 1


def test_beside_the_last_cells_the_driver_goes_on_while_laws_are_fitted(store):
    """With a thread of its own the forecast does not hold up the events of cells that train."""

    class Several(InlineExecutor):
        def __init__(self):
            super().__init__(device="cpu")
            self.polls = []

        def poll(self, timeout) -> list[Report]:
            self.polls.append(time.monotonic())
            return super().poll(timeout)

    study, executor = make_study(), Several()
    slow: list[float] = []

    def forecast():
        slow.append(time.monotonic())
        while sum(at > slow[0] for at in executor.polls) < 3:
            time.sleep(0.01)

    planned = make_plan(study, store).to_run(retry_failed=False)
    first = ForecastFirst(study, planned, forecast)
    with Writer.open(store) as writer:
        driver = Driver(study=study, writer=writer, executor=executor, listeners=[first])
        assert driver.run(first, make_plan(study, store).throughput).done == 8


def _killed_at(number: int, study, store: Store) -> bool:
    """Run a study in a process of its own that is killed at the n-th change of a file after its forecast has begun.
    False where it ended before."""
    child = os.fork()
    if child == 0:
        try:
            _count_down(number)
            run_study(study, store, forecast=True)
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _count_down(number: int) -> None:
    """Before every call that changes what is on the disk."""
    left, counting = [number], [False]

    def tick():
        if counting[0]:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched(call):
        def watch(*arguments, **more):
            tick()
            return call(*arguments, **more)

        return watch

    for name in ("fsync", "replace", "link", "unlink"):
        setattr(os, name, watched(getattr(os, name)))
    import rehearsal

    write = rehearsal.forecast_held_out

    def begin(*arguments):
        counting[0] = True
        return write(*arguments)

    rehearsal.forecast_held_out = begin


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_killed_at_every_instant_around_the_forecast(store, tmp_path):
    """No held-out cell starts without its entry, no entry is there twice, and the study goes on to its end."""
    study = make_study(seeds=(0,))
    fitted = make_study(seeds=(0,), axes=[Axis("parameters", (1_000,)), Axis("dataset_size", (2_000, 8_000))])
    before = Store(str(tmp_path / "before"), "rehearsal")
    run_study(fitted, before)
    instants, starts = 0, set()
    while True:
        shutil.rmtree(store.folder.path(), ignore_errors=True)
        shutil.copytree(before.folder.path(), store.folder.path())
        killed = _killed_at(instants, study, store)
        assert not uncovered(study, store), f"at instant {instants}"
        assert len(entries(store)) <= 1
        starts.add((len(entries(store)), len(store.records())))
        if not killed:
            break
        run_study(study, store, forecast=True)
        (entry,) = entries(store)
        assert len(entry) == 12 and Ledger(store.folder).verify(store.records()) == []
        assert {record.status for record in store.records().values()} == {"done"} and len(store.records()) == 4
        instants += 1
    assert instants > 15
    assert {(0, 2), (1, 2), (1, 4)} <= starts, "before the entry, between entry and cells, after their start"
