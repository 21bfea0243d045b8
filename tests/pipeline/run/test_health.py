"""Sick nodes told from sick cells, and what becomes of failed jobs."""

from __future__ import annotations

import pytest
from rehearsal import make_study, run_study

from pipeline import Axis
from pipeline.plan import Accounts
from pipeline.run import Job, Report
from pipeline.run.executors.inline import InlineExecutor
from pipeline.run.health import SICK_AFTER, Health
from pipeline.run.retries import Next, after
from pipeline.store import Failed, Failure, Measured

NODES = ("one", "two", "three")


def test_many_cells_that_fail_on_one_node_alone_make_it_sick():
    health = Health()
    for number in range(SICK_AFTER):
        assert not health.sick(NODES, may_grow=False)
        health.failed([f"cell {number}"], "one", job=number)
    assert health.sick(NODES, may_grow=False) == {"one"}


def test_one_cell_that_fails_everywhere_is_to_blame_itself():
    health = Health()
    for number in range(SICK_AFTER):
        health.failed([f"cell {number}"], "one", job=number)
        health.failed([f"cell {number}"], "two", job=10 + number)
    assert not health.sick(NODES, may_grow=False)
    assert health.elsewhere_too(["cell 0"])


def test_what_failed_on_a_sick_node_proves_nothing_of_a_cell():
    health = Health()
    for number in range(SICK_AFTER):
        health.failed([f"cell {number}"], "one", job=number)
    health.did_well("cell 0", "two")
    health.failed(["cell 1"], "two", job=7)
    assert health.proved.keys() == {"one"}
    assert not health.elsewhere_too(["cell 1"])


def test_a_success_in_between_clears_a_node():
    health = Health()
    for number in range(SICK_AFTER - 1):
        health.failed([f"cell {number}"], "one", job=number)
    health.did_well("another", "one")
    health.failed(["last"], "one", job=9)
    assert not health.sick(NODES, may_grow=False)


def test_cells_that_failed_together_count_once():
    health = Health()
    health.failed(["a", "b", "c", "d"], "one", job="one process")
    assert not health.sick(NODES, may_grow=False)
    for _ in range(SICK_AFTER):
        health.failed(["a"], "one", job=object())
    assert not health.sick(NODES, may_grow=False), "and so does one cell that failed again and again"


def test_where_most_nodes_are_suspects_the_study_is_to_blame_until_something_is_proved():
    health = Health()
    for node in ("one", "two"):
        for number in range(SICK_AFTER):
            health.failed([f"{node} {number}"], node, job=f"{node} {number}")
    assert not health.sick(("one", "two"), may_grow=True)
    health.did_well("one 0", "three")
    assert health.sick(("one", "two"), may_grow=True) == {"one"}


def test_the_last_node_is_used_even_if_it_is_sick():
    health = Health()
    for number in range(SICK_AFTER):
        health.failed([f"cell {number}"], "one", job=number)
    health.did_well("cell 0", "gone")
    assert health.sick(("one",), may_grow=True) == {"one"}
    assert health.sick(("one",), may_grow=False) == frozenset()


class Nodes(InlineExecutor):
    """A cluster of pretended nodes: a job goes to the next one that it need not avoid, and fails on a broken one."""

    def __init__(self, *names: str, broken: str = "", failure: Failure = Failure.BUG):
        super().__init__(device="cpu")
        self.nodes = {name: f"address of {name}" for name in names}
        self.broken, self.failure, self.placed = broken, failure, []

    def submit(self, jobs):
        allowed = [name for name in self.nodes if not any(name in job.avoid for job in jobs)]
        assert allowed, "there is always a node to go to"
        # The broken one is always free first: what it is given, it fails at once.
        self.node = self.broken if self.broken in allowed else allowed[len(self.placed) % len(allowed)]
        self.placed += [self.node] * len(jobs)
        super().submit(jobs)

    def poll(self, timeout):
        if not self._jobs or self.node != self.broken:
            return [Report(**{**fields(report), "node": self.node}) for report in super().poll(timeout)]
        jobs, self._jobs = self._jobs, ()
        self.meter.end("job")
        if self.failure is not Failure.BUG:
            return [Report(job=job, over=True, lost=self.failure, node=self.node, task=f"{job.number}") for job in jobs]
        return [Report(job=job, over=True, node=self.node, events=self._ecc(job)) for job in jobs]

    def _ecc(self, job: Job):
        return [Failed(cell=cell, failure=Failure.BUG, message="uncorrectable ECC error") for cell in job.cells]


def fields(report: Report) -> dict:
    return {name: getattr(report, name) for name in Report.__dataclass_fields__}


def forty(**changes):
    axes = [Axis("parameters", (1_000, 4_000)), Axis("dataset_size", (2_000, 8_000))]
    return make_study(**{"axes": axes, "seeds": range(10), "cohort_size": 1, "fixed": {"steps": 64}, **changes})


class Warned:
    def __init__(self):
        self.said = []

    def begin(self, cell, points): ...

    def tell(self, events): ...

    def warn(self, message):
        self.said.append(message)


@pytest.mark.parametrize("failure", [Failure.BUG, Failure.PREEMPTED])
def test_a_sick_node_costs_no_cell(store, failure):
    executor, warned = Nodes("well", "sick", broken="sick", failure=failure), Warned()
    outcome = run_study(forty(), store, executor, listeners=[warned])
    assert (outcome.done, outcome.failed) == (40, 0)
    assert executor.placed[-1] == "well"
    assert [node.node for node in outcome.account.sick] == ["sick"]
    assert len(warned.said) == 1
    assert "node address of sick (sick) is not used any more: 3 jobs in a row failed there" in warned.said[0]
    assert Accounts.read(store.folder).all[-1].sick == outcome.account.sick, "and `unsl status` can read it"


def test_a_sick_cell_is_reported_after_two_nodes_and_no_node_is_blamed(store):
    study = forty(axes=[Axis("fault", ("error", "none"))], seeds=range(10))
    executor = Nodes("one", "two", "three")
    outcome = run_study(study, store, executor)
    assert (outcome.done, outcome.failed) == (10, 10)
    assert not outcome.account.sick
    tried = len(executor.placed) - 20
    assert tried == 10, "each bad cell was tried on one other node"


def test_a_cohort_with_a_bad_cell_loses_that_cell_alone(store):
    study = make_study(axes=[Axis("fault", ("error", "none"))], seeds=range(3), fixed={"steps": 64})
    outcome = run_study(study, store, Nodes("one", "two"))
    assert (outcome.done, outcome.failed) == (3, 3)


JOB = Job(
    number=1,
    trainer="oracle",
    cells=("a",),
    configs=({},),
    device="cpu",
    checkpoints="",
    checkpoint_seconds=30.0,
    tries=4,
)


def test_progress_resets_the_count():
    """A healthy cell on spot nodes is lost many times, each time further on."""
    facts = {"stopping": False, "elsewhere": True, "failed_elsewhere": False}
    assert after(Failure.PREEMPTED, JOB, progressed=True, **facts) is Next.AGAIN
    assert after(Failure.PREEMPTED, JOB, progressed=False, **facts) is Next.GIVE_UP


def test_a_bug_is_tried_elsewhere_where_there_is_an_elsewhere():
    facts = {"progressed": False, "stopping": False}
    assert after(Failure.BUG, JOB, elsewhere=True, failed_elsewhere=False, **facts) is Next.ELSEWHERE
    assert after(Failure.BUG, JOB, elsewhere=False, failed_elsewhere=False, **facts) is Next.GIVE_UP
    assert after(Failure.BUG, JOB, elsewhere=True, failed_elsewhere=True, **facts) is Next.GIVE_UP
    assert after(Failure.BAD_CONFIG, JOB, elsewhere=True, failed_elsewhere=False, **facts) is Next.GIVE_UP


class Spot(InlineExecutor):
    """Takes the worker away after every new point."""

    def __init__(self):
        super().__init__(device="cpu")
        self.reached = []

    def poll(self, timeout):
        reports = super().poll(timeout)
        new = [event for report in reports for event in report.events if isinstance(event, Measured)]
        if not new or new[-1].point.step in self.reached:
            return reports
        self.reached.append(new[-1].point.step)
        self._jobs = ()
        self.meter.end("job")
        return [
            Report(job=report.job, events=report.events, over=True, lost=Failure.PREEMPTED, node="spot")
            for report in reports
        ]


def test_a_cell_that_gets_further_every_time_is_not_given_up(store, monkeypatch):
    """Six points and six losses: more than `MOST_TRIES`, and the cell is done."""
    monkeypatch.setattr("pipeline.run.executors.BATCH_SECONDS", 0.0)
    study = make_study(axes=[Axis("parameters", (1_000,))], seeds=(0,))
    executor = Spot()
    outcome = run_study(study, store, executor, checkpoint_seconds=0.0)
    assert executor.reached == [16, 32, 64, 128, 256, 512]
    assert (outcome.done, outcome.failed) == (1, 0)
