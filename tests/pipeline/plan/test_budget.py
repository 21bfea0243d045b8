"""Budgets: read, held against the plan, kept while running; what is spent is what devices were held."""

from __future__ import annotations

import pytest
from rehearsal import make_study, run_study

from pipeline import PipelineError
from pipeline.plan import Account, Accounts, Budget, Prices, make_plan
from pipeline.run import Costs
from pipeline.run.executors.inline import InlineExecutor
from pipeline.run.executors.meter import Meter

HOUR = 3600.0


@pytest.mark.parametrize(
    "text, amount, unit",
    [
        ("40gpu-hours", 40, "gpu"),
        ("0.5 cpu-hours", 0.5, "cpu"),
        ("1gpu-hour", 1, "gpu"),
        ("8 H100-hours", 8, "h100"),
        ("2a100-40gb-hours", 2, "a100-40gb"),
        ("200usd", 200, "usd"),
    ],
)
def test_a_budget_is_read(text, amount, unit):
    assert Budget.parse(text) == Budget(amount=amount, unit=unit)


@pytest.mark.parametrize("text", ["", "40", "gpu-hours", "-1gpu-hours", "0gpu-hours", "4 weeks"])
def test_anything_else_is_refused(text):
    with pytest.raises(PipelineError, match="such as 40gpu-hours"):
        Budget.parse(text)


def test_a_device_that_nobody_knows_is_refused_with_a_hint():
    with pytest.raises(PipelineError, match="no device type 'h10'.*h100"):
        Budget.parse("8h10-hours")


def test_the_kind_of_device_must_fit():
    Budget.parse("1cpu-hours").check_device("cpu")
    Budget.parse("1gpu-hours").check_device("h100")
    with pytest.raises(PipelineError, match="in gpu-hours, but the cells train on cpu: use cpu-hours"):
        Budget.parse("1gpu-hours").check_device("cpu")
    with pytest.raises(PipelineError, match="in h100-hours, but the cells train on a10g"):
        Budget.parse("1h100-hours").check_device("a10g")


def test_every_unit_counts_its_own_devices():
    """CPU hours and GPU hours are not added up, and a GPU whose type nobody knows counts as any."""
    spent = {"cpu": 1 * HOUR, "h100": 2 * HOUR, "a10g": 4 * HOUR, "gpu": 8 * HOUR}
    prices = Prices.parse("cpu=0.05, h100=2.5, a10g=1")
    hours = {"cpu": 1, "h100": 2 + 8, "a10g": 4 + 8, "gpu": 14}
    assert {unit: Budget(amount=1, unit=unit).spent(spent) for unit in hours} == hours
    assert Budget(amount=1, unit="usd", prices=prices).spent(spent) == pytest.approx(0.05 + 5 + 4 + 8 * 2.5)


def test_money_needs_a_price():
    with pytest.raises(PipelineError, match="nobody said what h100 costs: --price h100=2.5"):
        Budget.parse("200usd", Prices.parse("a10g=1")).check_device("h100")
    with pytest.raises(PipelineError, match="such as h100=2.99"):
        Prices.parse("h100")
    assert Prices.parse("gpu=2").cost({"h100": HOUR, "cpu": 0.0}) == 2
    assert Prices.parse("gpu=2").cost({"h100": HOUR, "cpu": HOUR}) is None
    assert Prices.parse("h100=2.5").show({"h100": 2 * HOUR}) == "2 h100-hours ($5.00)"


def test_a_plan_beyond_the_budget_is_refused_or_trimmed(store):
    planned = make_plan(make_study(), store).cells
    whole = sum(one.predicted_seconds for one in planned) / HOUR
    Budget(amount=1.01 * whole, unit="cpu").check_plan(planned, device="cpu", spent=0)
    half = Budget(amount=whole / 2, unit="cpu")
    with pytest.raises(PipelineError, match="--trim runs the [1-7] cells that fit"):
        half.check_plan(planned, device="cpu", spent=0)
    kept, held = half.trim(planned, device="cpu", spent=0)
    assert [*kept, *held] == list(planned)
    assert sum(one.predicted_seconds for one in kept) <= HOUR * half.amount
    assert half.trim(planned, device="cpu", spent=whole / 2) == ([], list(planned))
    kept, _ = Budget(amount=1.01 * whole, unit="cpu").trim(planned, device="cpu", spent=0, rate=2.0)
    assert sum(one.predicted_seconds for one in kept) <= HOUR * whole / 2 * 1.01


def test_a_resumed_cell_is_charged_for_what_is_left_of_it(store):
    """What was trained before a stop is spent, and must not be paid for again in the plan."""
    study = make_study(fixed={"steps": 512, "step_seconds": 4e-3}, seeds=(0,), cohort_size=1)
    drivers = []

    class StopAtOnce:
        def begin(self, cell, points): ...

        def tell(self, events):
            drivers[0].stop()

    run_study(study, store, listeners=[StopAtOnce()], watch=drivers.append)
    made = make_plan(study, store)
    resumed = next(one for one in made.cells if one.state == "resume")
    assert resumed.reached > 0
    assert resumed.remaining_seconds == pytest.approx(resumed.predicted_seconds * (1 - resumed.reached / 512))
    assert made.to_json()["remaining_seconds"] == pytest.approx(
        sum(one.predicted_seconds for one in made.cells) - resumed.predicted_seconds * resumed.reached / 512
    )


def limited(amount: float, unit: str = "cpu"):
    """Gives a driver a budget."""

    def watch(driver):
        driver.costs = Costs(meter=driver.executor.meter, budget=Budget(amount=amount, unit=unit))

    return watch


def test_a_run_stops_at_its_budget_and_can_go_on(store):
    study = make_study(fixed={"steps": 512, "step_seconds": 2e-4})
    outcome = run_study(study, store, watch=limited(0.2 / HOUR))
    assert outcome.over_budget and outcome.left
    assert outcome.exit_code == 1
    assert 0.2 < outcome.account.held["cpu"] < 0.8
    assert run_study(study, store).done == outcome.left


def test_no_job_is_begun_that_the_budget_does_not_cover(store):
    """Rather than stopped in the middle: what it would have done until then would be lost or wait for months."""
    study = make_study(fixed={"steps": 512, "step_seconds": 1e-4}, cohort_size=1)
    planned = make_plan(study, store).cells
    predicted = sum(one.predicted_seconds for one in planned) / HOUR
    begun = []

    class Ear:
        def begin(self, cell, points):
            begun.append(cell.id)

        def tell(self, events): ...

    outcome = run_study(study, store, listeners=[Ear()], watch=limited(predicted / 4))
    assert outcome.over_budget
    assert len(begun) < len(planned)


def test_what_is_held_is_spent_whatever_becomes_of_it():
    now = [0.0]
    meter = Meter(clock=lambda: now[0])
    meter.offer({"h100": 2})
    meter.begin("whole", device="h100", devices=1.0)
    meter.begin("eighth", device="h100", devices=0.125)
    now[0] = 8.0
    meter.end("whole")
    meter.end("never begun")
    assert meter.held() == {"h100": 8 + 1}
    now[0] = 16.0
    meter.offer({})
    now[0] = 100.0
    assert meter.held() == {"h100": 8 + 0.125 * 100}
    assert meter.offered() == {"h100": 32}


def test_every_run_leaves_its_account(store):
    study = make_study(fixed={"steps": 512, "step_seconds": 1e-4})
    for _ in range(2):
        run_study(study, store)
    accounts = Accounts.read(store.folder)
    assert len(accounts.all) == 2
    first, second = accounts.all
    assert first.held["cpu"] >= first.trained["cpu"] > 8 * 512 * 1e-4
    assert second.trained == {}
    assert accounts.held["cpu"] == pytest.approx(first.held["cpu"] + second.held.get("cpu", 0.0))


def test_idle_gpus_and_the_price_of_training_are_read_off_the_accounts():
    account = Account(name="a", began=0.0, updated=1.0, held={"h100": 700.0, "cpu": 5.0}, offered={"h100": 1000.0})
    assert account.idle_share == pytest.approx(0.3)
    assert Account(name="a", began=0.0, updated=1.0, held={"cpu": 5.0}, offered={"cpu": 9.0}).idle_share is None
    short = Account(name="a", began=0.0, updated=1.0, held={"cpu": 30.0}, trained={"cpu": 1.0})
    assert Accounts((short,)).device_seconds_a_second("cpu") == 1.0, "processes that start weigh too much here"
    shared = Account(name="b", began=0.0, updated=1.0, held={"h100": 500.0}, trained={"h100": 2000.0})
    assert Accounts((shared,)).device_seconds_a_second("h100") == pytest.approx(0.25)


def test_the_costs_of_earlier_runs_count(store):
    run_study(make_study(fixed={"steps": 512, "step_seconds": 1e-4}), store)
    facts = {"device": make_plan(make_study(), store).device, "prices": Prices()}
    costs = Costs.of(store.folder, InlineExecutor(device="cpu"), budget=Budget(amount=1e-6, unit="cpu"), **facts)
    assert costs.used_up
    assert costs.line().endswith(" of 1e-06 cpu-hours")
