"""Budgets: read, held against the plan, kept while running."""

from __future__ import annotations

import pytest
from rehearsal import make_study, run_study

from pipeline import PipelineError
from pipeline.plan import Budget, make_plan


@pytest.mark.parametrize(
    "text, hours, worker", [("40gpu-hours", 40, "gpu"), ("0.5 cpu-hours", 0.5, "cpu"), ("1gpu-hour", 1, "gpu")]
)
def test_a_budget_is_read(text, hours, worker):
    assert Budget.parse(text) == Budget(hours=hours, worker=worker)


@pytest.mark.parametrize("text", ["", "40", "gpu-hours", "-1gpu-hours", "0gpu-hours", "4 weeks"])
def test_anything_else_is_refused(text):
    with pytest.raises(PipelineError, match="such as 40gpu-hours"):
        Budget.parse(text)


def test_the_kind_of_worker_must_fit():
    Budget(hours=1, worker="cpu").check_worker("cpu")
    with pytest.raises(PipelineError, match="in gpu-hours, but the cells train on cpu: use cpu-hours"):
        Budget(hours=1, worker="gpu").check_worker("cpu")


def test_a_plan_beyond_the_budget_is_refused_or_trimmed(store):
    planned = make_plan(make_study(), store).cells
    whole = sum(one.predicted_seconds for one in planned) / 3600
    Budget(hours=1.01 * whole, worker="cpu").check_plan(planned, spent_hours=0)
    half = Budget(hours=whole / 2, worker="cpu")
    with pytest.raises(PipelineError, match="--trim runs the [1-7] cells that fit"):
        half.check_plan(planned, spent_hours=0)
    kept, held = half.trim(planned, spent_hours=0)
    assert [*kept, *held] == list(planned)
    assert sum(one.predicted_seconds for one in kept) <= 3600 * half.hours
    assert half.trim(planned, spent_hours=whole / 2) == ([], list(planned))


def test_a_run_stops_at_its_budget_and_can_go_on(store):
    study = make_study(fixed={"steps": 512, "step_seconds": 2e-4})
    outcome = run_study(study, store, watch=lambda driver: setattr(driver, "budget_seconds", 0.2))
    assert outcome.over_budget and outcome.left
    assert outcome.exit_code == 1
    assert 0.2 < outcome.worker_seconds < 0.8
    assert run_study(study, store).done == outcome.left
