"""The driver: interruption, failures and their policies, and what its listeners hear."""

from __future__ import annotations

import os
import signal
import time

import pytest
from rehearsal import make_study, run_study, sorted_points

from pipeline import Axis
from pipeline.plan import Budget, make_plan
from pipeline.run import Costs, Driver, Job, Progress, Report, clock, run_job
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Failure, Measured, Store, Writer

PARITY = {
    "trainer": "parity",
    "fixed": {"bits": 12, "parity_bits": 2, "steps": 600, "batch_size": 8, "test_size": 64},
    "axes": [Axis("width", (4, 8)), Axis("dataset_size", (64, 512))],
    "inputs": ("parameters", "dataset_size", "step"),
}


class Ear:
    """A listener that remembers, and may act."""

    def __init__(self, act=None):
        self.begun, self.heard, self._act = [], [], act

    def begin(self, cell, points):
        self.begun.append((cell.id, len(points)))

    def tell(self, events):
        self.heard += events
        if self._act:
            self._act(self)


def other(store: Store, name: str) -> Store:
    return Store(os.path.dirname(store.folder.path()) + f"-{name}", "rehearsal")


def test_listeners_hear_what_is_durable_and_each_thing_once(store):
    def durable(ear):
        assert len(store.table()) == len([event for event in ear.heard if isinstance(event, Measured)])

    ear = Ear(durable)
    run_study(make_study(), store, listeners=[ear])
    assert len(ear.heard) == 8 * 6 + 8
    assert sorted(ear.begun) == sorted((cell.id, 0) for cell in make_study().cells)


@pytest.mark.parametrize("settings", [{}, PARITY], ids=["oracle", "parity"])
def test_a_stopped_study_goes_on_to_the_same_table(store, settings):
    study = make_study(**settings)
    run_study(study, other(store, "whole"))
    drivers = []

    def stop(ear):
        if len(ear.heard) > 10:
            drivers[0].stop()

    first = run_study(study, store, listeners=[Ear(stop)], watch=drivers.append)
    assert first.interrupted and first.left
    assert first.exit_code == 130
    second = run_study(study, store)
    assert second.done == first.left
    assert sorted_points(store).equals(sorted_points(other(store, "whole")))


def test_points_that_the_driver_never_got_come_from_the_checkpoint(store):
    """The worker saved and the driver died before it wrote: resuming repeats those points."""
    study = make_study(**PARITY, seeds=(0,))
    run_study(study, other(store, "whole"))
    cell = study.cells[0]
    job = Job(
        number=1,
        trainer="parity",
        cells=(cell.id,),
        configs=(dict(cell.config),),
        device="cpu",
        checkpoints=store.folder.folder("checkpoints").url,
        checkpoint_seconds=0.0,
    )
    events = run_job(job, should_stop=lambda: False)
    for _ in range(5):
        next(events)
    events.close()
    assert store.has_checkpoint(cell.id)
    ear = Ear()
    run_study(study, store, listeners=[ear])
    assert sorted_points(store).equals(sorted_points(other(store, "whole")))
    steps = [event.point.step for event in ear.heard if isinstance(event, Measured) and event.cell == cell.id]
    assert steps == list(cell.evaluation_steps)
    assert not store.has_checkpoint(cell.id), "checkpoints of finished cells are removed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(store, number):
    study = make_study(fixed={"steps": 512, "step_seconds": 5e-4})
    sent = []

    def interrupt(ear):
        if ear.heard and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    outcome = run_study(study, store, listeners=[Ear(interrupt)])
    assert outcome.interrupted and outcome.left
    assert store.holder() is None, "the lease is given back"
    assert signal.getsignal(number) is before
    assert run_study(study, store).done == outcome.left


def test_a_bug_is_kept_with_its_traceback_and_the_others_go_on(store):
    study = make_study(axes=[Axis("fault", ("none", "error")), Axis("parameters", (1_000, 4_000))])
    outcome = run_study(study, store)
    assert (outcome.done, outcome.failed, outcome.exit_code) == (4, 4, 1)
    failed = [record for record in store.records().values() if record.status == "failed"]
    assert len(failed) == 4
    for record in failed:
        assert (record.failure, record.message) == ("bug", "RuntimeError: a rehearsed error")
        assert "_rehearse" in record.traceback
    assert run_study(study, store).failed == 0, "a failed cell is not tried again unasked"
    assert run_study(study, store, retry_failed=True).failed == 4


def test_memory_is_a_class_of_its_own(store):
    run_study(make_study(fixed={"steps": 512, "fault": "out_of_memory"}), store)
    assert {record.failure for record in store.records().values()} == {"out_of_memory"}


def test_a_diverged_cell_is_data(store):
    study = make_study(fixed={"steps": 512, "learning_rate": 2.0})
    outcome = run_study(study, store)
    assert (outcome.diverged, outcome.exit_code) == (8, 0)
    assert make_plan(study, store).counts() == {"diverged": 8}
    assert set(store.table()["status"]) == {"diverged"}


class Losing(InlineExecutor):
    """Loses a job's worker the first `times` times, after its first events."""

    def __init__(self, times: int, failure: Failure):
        super().__init__(device="cpu")
        self.left, self.failure, self.tries = times, failure, []

    def submit(self, jobs):
        self.tries += [job.tries for job in jobs]
        super().submit(jobs)

    def poll(self, timeout):
        if self.left and self._jobs:
            self.left -= 1
            lost, self._jobs = self._jobs, ()
            return [Report(job=job, over=True, lost=self.failure, message="the node is gone") for job in lost]
        return super().poll(timeout)


def test_a_lost_worker_costs_nothing_but_time(store):
    executor = Losing(3, Failure.PREEMPTED)
    study = make_study()
    run_study(study, other(store, "whole"))
    outcome = run_study(study, store, executor)
    assert outcome.done == 8
    assert max(executor.tries) > 1
    assert sorted_points(store).equals(sorted_points(other(store, "whole")))


def test_a_job_that_loses_every_worker_is_reported(store):
    study = make_study(seeds=(0,), axes=[Axis("parameters", (1_000,))])
    executor = Losing(100, Failure.PREEMPTED)
    outcome = run_study(study, store, executor)
    assert outcome.failed == 1
    assert executor.tries == [1, 2, 3, 4]
    assert next(iter(store.records().values())).failure == "preempted"


def test_a_job_that_kills_its_workers_takes_no_other_with_it(store):
    """Short jobs share a worker. Those that were lost with a killer are tried again alone."""

    class Killing(Losing):
        def poll(self, timeout):
            self.left = any(config["fault"] == "exit" for job in self._jobs for config in job.configs)
            return super().poll(timeout)

    executor = Killing(0, Failure.PREEMPTED)
    axes = [Axis("parameters", (1_000, 4_000)), Axis("fault", ("exit", "none"))]
    study = make_study(axes=axes, seeds=range(4), fixed={"steps": 1}, cohort_size=1)
    tasks = []
    submit = executor.submit
    executor.submit = lambda jobs: (tasks.append(len(jobs)), submit(jobs))
    outcome = run_study(study, store, executor)
    assert tasks[0] > 1, "jobs were to share a worker"
    assert (outcome.done, outcome.failed) == (8, 8)


def test_a_checkpoint_that_cannot_be_written_is_no_failure(store, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.run.checkpoints.Checkpoints.save", full)
    outcome = run_study(make_study(), store, checkpoint_seconds=0.0)
    assert (outcome.done, outcome.failed) == (8, 0)
    assert "no checkpoint at step 16: [Errno 28] No space left" in capsys.readouterr().err


def test_a_cohort_that_ran_out_of_memory_is_split(store):
    executor = Losing(1, Failure.OUT_OF_MEMORY)
    outcome = run_study(make_study(), store, executor)
    assert (outcome.done, outcome.failed) == (8, 0)


def test_progress_knows_shares_and_time_to_go(store):
    made = make_plan(make_study(), store)
    progress = Progress.of(made.cells, already_done=2)
    assert progress.remaining_seconds is None
    progress.began -= 10
    ear = Ear()
    run_study(make_study(), store, listeners=[progress, ear])
    assert progress.share == pytest.approx(1)
    assert len(progress.ended) == 8
    assert progress.line().startswith("10/10 cells · 0 running · 100%")


@pytest.mark.parametrize("seconds, shown", [(0, "0:00"), (59.6, "1:00"), (3605, "1:00:05")])
def test_clock(seconds, shown):
    assert clock(seconds) == shown


def test_a_run_stops_within_seconds(store):
    study = make_study(fixed={"steps": 100_000, "step_seconds": 1e-4})
    began = time.monotonic()
    run_study(study, store, listeners=[], watch=lambda driver: driver.stop())
    assert time.monotonic() - began < 5


def test_a_job_that_the_budget_covers_does_not_wait_behind_one_that_it_does_not(store):
    """The longest is first; once it is too dear, the others still run, and then the run ends."""

    class Small(Costs):
        def covers(self, seconds: float, *, device: str) -> bool:
            return seconds < 1.0

    study = make_study(axes=[Axis("parameters", (1_000, 1_000_000_000))], seeds=(0,))
    executor, cells = InlineExecutor(device="cpu"), make_plan(study, store).cells
    assert sorted(one.predicted_seconds > 1.0 for one in cells) == [False, True]
    costs = Small(meter=executor.meter, budget=Budget(amount=1.0, unit="cpu"))
    with Writer.open(store) as writer:
        driver = Driver(study=study, writer=writer, executor=executor, listeners=[], costs=costs)
        outcome = driver.run(cells, make_plan(study, store).throughput)
    assert (outcome.done, outcome.left, outcome.over_budget) == (1, 1, True)
