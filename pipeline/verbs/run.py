"""`unsl run`: run the cells that are not done."""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.plan import Budget, Plan, PlannedCell, State, make_plan
from pipeline.store import Writer
from pipeline.study import show_config
from pipeline.verbs.output import say
from pipeline.verbs.verb import Verb, add_study, add_wandb, number_of_at_least, study_and_store, tracking_folder

if TYPE_CHECKING:
    from pipeline.forecasts import Entry

TRACKING_CLOSE_SECONDS = 60.0
"""How long a finished run waits for W&B. What is not sent by then is sent by `unsl sync`."""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add = parser.add_argument
    add("--executor", choices=("ray", "inline"), default="ray", help="a Ray cluster, or this process")
    workers = number_of_at_least(1)
    add("--workers", type=workers, metavar="N", help="tasks at once (default: every core or GPU)")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add("--retry", choices=("failed",), help="run cells again that failed")
    add("--accept-changes", action="store_true", help="run changed cells as new ones")
    add("--budget", metavar="HOURS", help="what the study may cost in all, such as 40gpu-hours")
    add("--trim", action="store_true", help="hold back the cells that the budget does not cover")
    add("--no-forecast", action="store_true", help="run held-out cells without writing down what the laws say of them")
    add("--hang-minutes", type=float, default=30.0, help="end a job that is silent this long (default: 30)")
    add_wandb(parser)


def run(options: argparse.Namespace) -> int:
    study, store = study_and_store(options)
    budget = Budget.parse(options.budget) if options.budget else None
    with Writer.open(store) as writer:
        made = make_plan(study, store)
        _refuse_changes(made, accepted=options.accept_changes)
        planned = made.to_run(retry_failed=options.retry == "failed")
        if planned:
            return _run(options, made, planned, writer, budget)
    print(f"nothing to run: {made.states()}. Next: unsl report {study.name}")
    return 1 if "failed" in made.counts() else 0


def _run(
    options: argparse.Namespace, made: Plan, planned: list[PlannedCell], writer: Writer, budget: Budget | None
) -> int:
    from pipeline.forecasts import ForecastFirst, Ledger, forecast_held_out
    from pipeline.run import Display, Driver, Progress, clock, make_executor, use_one_thread
    from pipeline.tracking import make_tracker

    study, store = made.study, writer.store
    Ledger(store.folder).entries()  # One that does not hold is said so now, not when its forecast is due.
    use_one_thread()
    with ExitStack() as stack:
        executor = make_executor(
            options.executor, workers=options.workers, device=options.device, hang_seconds=60 * options.hang_minutes
        )
        stack.callback(executor.close)
        held: list[PlannedCell] = []
        spent_hours = sum(record.seconds for record in store.records().values()) / 3600
        if budget:
            budget.check_worker(executor.device)
            if options.trim:
                planned, held = budget.trim(planned, spent_hours=spent_hours)
            budget.check_plan(planned, spent_hours=spent_hours)
        tracker = make_tracker(options.wandb, study=study, folder=tracking_folder(store))
        stack.callback(lambda: say(tracker.note, tracker.close(TRACKING_CLOSE_SECONDS).message))
        tracker.catch_up(store)
        say(f"{study.name}: {len(planned)} cells to run ({made.states()}), store {store.folder.path()}")
        if held:
            say(f"held back by the budget: {len(held)} cells, the first with {show_config(held[0].cell.config)}")
        progress = Progress.of(
            planned,
            already_done=sum(one.state.finished for one in made.cells),
            held=len(held),
            budget_hours=budget.hours if budget else None,
        )
        display = Display(progress)
        stack.callback(display.close)

        def forecast() -> Entry | None:
            display.say(f"all that is fitted is measured: {', '.join(study.laws)} forecast what is held out")
            return forecast_held_out(study, store, [one.cell for one in planned])

        first = ForecastFirst(study, planned, forecast, beside=options.executor != "inline")
        outcome = Driver(
            study=study,
            writer=writer,
            executor=executor,
            listeners=(display, tracker, first),
            budget_seconds=3600 * (budget.hours - spent_hours) if budget else math.inf,
        ).run(planned if options.no_forecast else first, made.throughput)
    if first.entry:
        print(_written(first.entry))
    predicted = sum(one.predicted_seconds for one in planned)
    left = f", {outcome.left} left to run: unsl run {study.name} goes on" if outcome.left else ""
    print(
        f"{study.name}: {outcome.done} done, {outcome.diverged} diverged, {outcome.failed} failed "
        f"in {clock(outcome.seconds)}{left}\n"
        f"worker-hours: {predicted / 3600:.3g} predicted, {outcome.worker_seconds / 3600:.3g} spent"
        + (" (stopped at the budget)" if outcome.over_budget else "")
    )
    if outcome.failed:
        print(f"unsl status {study.name} --failed shows why; unsl run {study.name} --retry failed tries again")
    return outcome.exit_code


def _written(entry: Entry) -> str:
    """What was forecast, in a line."""
    said = ", ".join(law.law for law in entry.laws) or "no law"
    blind = sum(entry.blind)
    return (
        f"forecast: {len(entry):,} held-out points by {said}, {blind:,} of them blind: entry {entry.number} of the "
        f"ledger. Next: unsl check {entry.about}"
    )


def _refuse_changes(made: Plan, *, accepted: bool) -> None:
    changed = [one for one in made.cells if one.state is State.CHANGED]
    if changed and not accepted:
        raise PipelineError(
            f"{len(changed)} cells of '{made.study.name}' changed since they were run, the first because "
            f"{changed[0].reason}. Undo the change, or run them as new with "
            "--accept-changes (what was measured before stays in the store)"
        )


RUN = Verb(
    name="run",
    summary="run the cells that are not done",
    example="unsl run quickstart --executor inline",
    add_options=add_options,
    run=run,
)
