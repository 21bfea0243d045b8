"""Runs are created at W&B no faster than stated, by a made-up clock; nothing is lost and nobody waits."""

from __future__ import annotations

import pytest
from rehearsal import make_study
from tracked import FakeRun, ended, measured, rows

from pipeline import Axis
from pipeline.store import SavedFit
from pipeline.tracking.mirrors import Mirrors
from pipeline.tracking.pace import CREATIONS_AT_ONCE, CREATIONS_PER_SECOND, TokenBucket
from pipeline.tracking.wandb_runs import WandbRuns

pytestmark = pytest.mark.usefixtures("no_account")
MANY = make_study(axes=[Axis("parameters", tuple(range(1_000, 1_200)))], seeds=(0,), inputs=("parameters", "step"))
PROJECT_LIMIT = 80
"""New runs a second that W&B takes in one project."""


class Clock:
    """Passes when it is told to."""

    def __init__(self):
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def bucket(clock):
    return TokenBucket(rate=CREATIONS_PER_SECOND, burst=CREATIONS_AT_ONCE, clock=clock, sleep=clock.sleep)


@pytest.fixture
def created(made_up_server, clock, monkeypatch):
    """When which run was created."""
    import wandb

    times: dict[str, float] = {}

    def init(**settings):
        assert settings["id"] not in times, "created twice"
        times[settings["id"]] = clock.now
        return FakeRun(**settings)

    monkeypatch.setattr(wandb, "init", init)
    return times


def most_in_a_second(times) -> int:
    return max(sum(begin <= time < begin + 1 for time in times) for begin in times)


def assert_paced(times) -> None:
    """As fast as the bucket lets them, and no faster."""
    times = sorted(times)
    assert times[CREATIONS_AT_ONCE - 1] == times[0]
    assert most_in_a_second(times) <= CREATIONS_AT_ONCE + CREATIONS_PER_SECOND < PROJECT_LIMIT
    assert times[-1] - times[0] == pytest.approx((len(times) - CREATIONS_AT_ONCE) / CREATIONS_PER_SECOND)


def test_a_bucket_keeps_its_rate_and_fills_again(bucket, clock):
    taken = []
    for _ in range(200):
        bucket.take()
        taken.append(clock.now)
    assert_paced(taken)
    assert bucket.wait_seconds() > 0
    clock.now += CREATIONS_AT_ONCE / CREATIONS_PER_SECOND / 2
    naps = len(clock.slept)
    for _ in range(CREATIONS_AT_ONCE // 2):
        bucket.take()
    assert len(clock.slept) == naps, "half of the tokens are back"
    clock.now += 1e6
    for _ in range(CREATIONS_AT_ONCE):
        bucket.take()
    assert len(clock.slept) == naps
    assert bucket.wait_seconds() == pytest.approx(1 / CREATIONS_PER_SECOND), "no more than the burst is ever saved"


def test_200_runs_asked_at_once_are_created_at_the_stated_rate(bucket, clock, created, folder):
    mirrors = Mirrors(WandbRuns(MANY, folder, online=True, creations=bucket), clock)
    points = {cell.id: [measured(cell, 1), measured(cell, 2)] for cell in MANY.cells}
    for cell in MANY.cells:
        mirrors.begin(cell, [])
        mirrors.tell([*points[cell.id], ended(cell)])
    assert len(points) == 200
    while (wait := mirrors.wait_seconds()) is not None:
        clock.now += wait
        mirrors.advance()
    assert not clock.slept, "to wait is left to the thread, which has other cells to serve"
    assert_paced(created.values())
    assert not mirrors.left() and not mirrors.failures
    sent = {run: [row for _, row in lines] for run, lines in FakeRun.server.items()}
    assert sent == {f"{MANY.name}-{cell}": rows(*events) for cell, events in points.items()}


def test_live_runs_get_their_points_while_others_wait_to_be_created(bucket, clock, created, folder):
    mirrors = Mirrors(WandbRuns(MANY, folder, online=True, creations=bucket), clock)
    live, waiting = MANY.cells[0], MANY.cells[1]
    mirrors.begin(live, [measured(live, 1)])
    clock.now += mirrors.wait_seconds()
    mirrors.advance()
    while not bucket.wait_seconds():
        bucket.take()
    mirrors.begin(waiting, [])
    mirrors.tell([measured(waiting, 1), ended(waiting), measured(live, 2)])
    assert mirrors.wait_seconds() == 0
    mirrors.advance()
    assert [row["step"] for _, row in FakeRun.server[f"{MANY.name}-{live.id}"]] == [1, 2]
    assert mirrors.wait_seconds() == pytest.approx(1 / CREATIONS_PER_SECOND)
    mirrors.advance()
    assert len(created) == 1
    clock.now += mirrors.wait_seconds()
    mirrors.advance()
    assert len(created) == 2


def test_the_run_of_a_fit_takes_its_turn(bucket, clock, created, folder):
    for _ in range(CREATIONS_AT_ONCE):
        bucket.take()
    WandbRuns(MANY, folder, online=True, creations=bucket).send_fit(SavedFit.from_rows([{"law": "cf"}]))
    assert created == {f"{MANY.name}-fit": pytest.approx(1 / CREATIONS_PER_SECOND)}


def test_files_may_be_made_at_any_rate(bucket, clock, created, folder):
    runs = WandbRuns(MANY, folder, online=False, creations=bucket)
    for _ in range(CREATIONS_AT_ONCE):
        bucket.take()
    assert bucket.wait_seconds() > 0 and runs.wait_to_open() == 0
