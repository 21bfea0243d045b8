"""`unsl run`: run the cells that are not done."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.plan import CPU, Budget, Device, Plan, PlannedCell, Prices, State, check_memory, device_shown, make_plan
from pipeline.store import Store, Writer
from pipeline.study import AUTO, MOST_HALVINGS, Study, show_config
from pipeline.verbs.output import say
from pipeline.verbs.verb import (
    Verb,
    add_prices,
    add_study,
    add_target,
    add_wandb,
    positive,
    study_and_store,
    tracking_folder,
    whole_number,
)

if TYPE_CHECKING:
    from pipeline.forecasts import Entry, Targets
    from pipeline.rescale import Glance, Halving, Live
    from pipeline.run import Costs, Executor, Outcome, Schedule

TRACKING_CLOSE_SECONDS = 60.0
"""How long a finished run waits for W&B. What is not sent by then is sent by `unsl sync`."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came of running cells."""

    outcome: Outcome
    held: Sequence[PlannedCell]
    """Cells that the budget did not admit."""
    costs: Costs
    entries: Sequence[Entry]
    """What was forecast before they ran, an entry a task."""
    predicted_seconds: float

    @property
    def exit_code(self) -> int:
        return self.outcome.exit_code or (1 if self.held else 0)


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_running(parser)
    add = parser.add_argument
    add("--retry", choices=("failed",), help="run cells again that failed")
    add("--accept-changes", action="store_true", help="run changed cells as new ones")
    add("--budget", metavar="LIMIT", help="what the study may cost in all: 40gpu-hours, 8h100-hours, 200usd")
    add("--trim", action="store_true", help="hold back the cells that the budget does not cover")
    add("--order", choices=("longest", "design"), default="longest", help="design: cells that teach most start first")
    add(
        "--refit",
        metavar="PERIOD",
        help="fit beside the run so often, as 5m, and show the forecast at --target tighten",
    )
    add(
        "--halve",
        type=whole_number(0),
        metavar="N",
        help="stop hyperparameters that a law foretells to end worse than the best of their scale, at 1/2, 1/4, ... of "
        "their steps, N times; 0 carries on what was held (default: what the study says)",
    )
    add("--until", metavar="RULE", help="stop once the forecast is narrow enough: 'interval <= 5%%'")
    add_target(
        parser,
        "of --order design and --refit: 'parameters=7e9, step=1e5' (default: of the study's growth, or held out)",
    )
    add("--no-forecast", action="store_true", help="run held-out cells without writing down what the laws say of them")
    add(
        "--wait",
        type=positive,
        nargs="?",
        const=math.inf,
        default=0.0,
        metavar="MINUTES",
        help="wait for another driver of this study to end (default: for ever)",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """On what cells are run, wherever it is that they are."""
    add = parser.add_argument
    add("--executor", choices=("ray", "inline"), default="ray", help="a Ray cluster, or this process")
    add("--workers", type=whole_number(1), metavar="N", help="tasks of Ray's at once (default: every core or GPU)")
    devices, says = ("auto", "cpu", "gpu", "cuda"), "what to train on (default: what the study says, else auto)"
    add("--device", choices=devices, default="auto", help=says)
    add(
        "--devices-per-cell",
        type=_devices,
        metavar="N",
        help="GPUs of a node that train a cell together, or auto: as many as would idle (default: what the study says, "
        "else 1)",
    )
    add("--hang-minutes", type=positive, default=30.0, help="end a job that is silent this long (default: 30)")
    add_prices(parser)
    add_wandb(parser)


def _devices(text: str) -> int | str:
    try:
        return text if text == AUTO else whole_number(1)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or auto") from None


def run(options: argparse.Namespace) -> int:
    budget = Budget.parse(options.budget, Prices.parse(options.price)) if options.budget else None
    if options.trim and not budget:
        raise PipelineError("--trim holds back what a budget does not cover: give --budget too, such as 40gpu-hours")
    if options.target and options.order != "design" and not options.refit:
        raise PipelineError("--target is for --order design, which starts what teaches most about it, and for --refit")
    if options.until and not options.refit:
        raise PipelineError("--until asks for a forecast: give --refit too, as in --refit 5m")
    if options.workers and options.executor == "inline":
        raise PipelineError("--workers is for Ray: --executor inline trains in this process alone")
    study, store = study_and_store(options)
    with Writer.open(store, wait_seconds=60 * options.wait, on_wait=say) as writer:
        made = make_plan(study, store)
        refuse_changes(made, accepted=options.accept_changes)
        store.ask(study)
        say(*store.question_changes(study))
        rungs = study.halve if options.halve is None else options.halve
        planned = made.to_run(retry_failed=options.retry == "failed", carry_on=not rungs)
        if planned:
            order = _by_design(options, made.study) if options.order == "design" else None
            live = _live(options, made.study) if options.refit else None
            how = {"trim": options.trim, "forecast": not options.no_forecast, "order": order, "live": live}
            how["rungs"] = rungs
            ran = run_cells(options, made, planned, writer, budget, **how)
            show_run(made.study, ran, goes_on="run" if options.halve is None else f"run --halve {options.halve}")
            return ran.exit_code
    print(f"nothing to run: {made.states()}. Next: unsl report {study.address}")
    return 1 if "failed" in made.counts() else 0


def run_cells(
    options: argparse.Namespace,
    made: Plan,
    planned: list[PlannedCell],
    writer: Writer,
    budget: Budget | None,
    *,
    trim: bool = False,
    forecast: bool = True,
    order: Callable[[Sequence[PlannedCell], Executor], Schedule] | None = None,
    live: Callable[..., Live] | None = None,
    rungs: int | None = None,
) -> Ran:
    """Run planned cells, those that are held out after their forecasts. options: those of `add_running`. order: in
    which those are started that laws are fitted to; the longest first where left out. live: makes what fits beside the
    run, given whom to tell. rungs: how often hopeless hyperparameters are stopped; as the study says where left out."""
    from pipeline.forecasts import ForecastFirst, Ledger, forecast_held_out
    from pipeline.run import Costs, Display, Driver, Progress, Spreading, make_executor, use_one_thread
    from pipeline.tracking import make_tracker

    study, store = made.study, writer.store
    Ledger(store.folder).entries()  # One that does not hold is said so now, not when its forecast is due.
    halving = _halving(options, study, study.halve if rungs is None else rungs)
    use_one_thread()
    with ExitStack() as stack:
        executor = make_executor(
            options.executor,
            workers=options.workers,
            device=study.device if options.device == "auto" else options.device,
            hang_seconds=60 * options.hang_minutes,
        )
        haste: list[bool] = []
        stack.callback(lambda: executor.close(in_haste=bool(haste)))
        device, here = _device_of(executor, made), {one.cell.id for one in planned}
        made = make_plan(study, store, device)
        planned = [one for one in made.cells if one.cell.id in here]
        if executor.gpus:
            check_memory(study, planned, device)
        spreading = Spreading(trainer=study.loaded_trainer, per_cell=options.devices_per_cell or study.devices_per_cell)
        spreading.check(study, planned, executor)
        prices = Prices.parse(options.price)
        costs = Costs.of(store.folder, executor, device=device, budget=budget, prices=prices)
        planned, held = costs.admit(planned, device=device, trim=trim)
        tracker = make_tracker(options.wandb, study=study, folder=tracking_folder(store), store=store)
        stack.callback(lambda: say(tracker.note, tracker.close(0.0 if haste else TRACKING_CLOSE_SECONDS).message))
        tracker.catch_up(store)
        say(f"{study.name}: {len(planned)} cells to run ({made.states()}), store {store.folder.path()}")
        if held:
            say(f"held back by the budget: {len(held)} cells, the first with {show_config(held[0].cell.config)}")
        progress = Progress.of(
            planned,
            already_done=sum(one.state.finished for one in made.cells),
            held=len(held),
            cost=costs.line,
        )
        display = Display(progress)
        stack.callback(display.close)

        def write_forecasts() -> Sequence[Entry]:
            display.warn(f"all that is fitted is measured: {', '.join(study.laws)} forecast what is held out")
            # With a store of its own: this is another thread than the writer's.
            return forecast_held_out(study, Store(options.store, study.name), [one.cell for one in planned])

        ordered = (lambda cells: order(cells, executor)) if order else None
        first = ForecastFirst(study, planned, write_forecasts, beside=options.executor != "inline", order=ordered)

        def show_forecast(glance: Glance) -> None:
            progress.forecast = f"{glance.law} {glance.median:.4g} ±{glance.interval:.1%}"
            values = {"forecast": glance.median, "low": glance.low, "high": glance.high}
            tracker.note_forecast({**values, "interval": glance.interval, "rows": glance.rows})

        watch = live(show_forecast) if live else None
        driver = Driver(
            study=study,
            writer=writer,
            executor=executor,
            listeners=(display, tracker, first, *filter(None, (watch, halving))),
            spreading=spreading,
            costs=costs,
            rungs=halving,
        )
        if watch:
            watch.stop = driver.stop
        outcome = driver.run(first if forecast else ordered(planned) if ordered else planned, made.throughput)
        if watch and not outcome.terminated:
            watch.look()
        outcome.enough = watch.enough if watch and outcome.left else ""
        tracker.note_costs(outcome.account.facts())
        if outcome.terminated:
            haste.append(True)  # Who stops us does not wait for W&B, or for Ray; `unsl sync` sends what W&B lacks.
    return Ran(
        outcome=outcome,
        held=held,
        costs=costs,
        entries=first.entries,
        predicted_seconds=sum(one.remaining_seconds for one in planned),
    )


def _halving(options: argparse.Namespace, study: Study, rungs: int) -> Halving | None:
    """What stops hopeless hyperparameters, so often; refused before anything runs where nothing may be stopped."""
    from pipeline.rescale import Halving, leading_law

    if not rungs:
        return None
    if rungs > MOST_HALVINGS:
        raise PipelineError(f"--halve {rungs}: at most {MOST_HALVINGS}, which is after a thousandth of a run")
    store, beside = Store(options.store, study.name), options.executor != "inline"
    return Halving(study, store, leading_law(study), rungs, beside=beside)


def _live(options: argparse.Namespace, study: Study) -> Callable[..., Live]:
    """What fits beside the run, as --refit, --until and --target ask for."""
    from pipeline.rescale import Live, leading_law, parse_period
    from pipeline.study import parse_until

    every, until = parse_period(options.refit), parse_until(options.until) if options.until else None
    targets = _targets(options, study)

    def make(told: Callable[[Glance], None]) -> Live:
        return Live(
            study,
            Store(options.store, study.name),
            targets,
            leading_law(study),
            every=every,
            until=lambda interval: bool(until and until.evaluate({"interval": interval, "rounds": len(study.grown)})),
            told=[told],
        )

    return make


def _targets(options: argparse.Namespace, study: Study) -> Targets:
    """What --target names; else what the study grows for, or what it holds out."""
    from pipeline.forecasts import held_out_targets
    from pipeline.rescale import read_targets

    texts = options.target or (study.growth.targets if study.growth else ())
    targets = read_targets(study, texts) if texts else held_out_targets(study)
    if not len(targets):
        raise PipelineError("the study holds nothing out, so say what it shall foretell: --target 'parameters=7e9'")
    return targets


def _by_design(options: argparse.Namespace, study: Study) -> Callable[[Sequence[PlannedCell], Executor], Schedule]:
    """Cells in the order in which they teach about --target; what the study holds out where none is named."""
    from pipeline.rescale import ByDesign, chooser, leading_law

    targets = _targets(options, study)

    def order(cells: Sequence[PlannedCell], executor: Executor) -> Schedule:
        # With a store of its own: it is read in another thread than the writer's.
        choose = chooser(study, Store(options.store, study.name), targets, leading_law(study))
        return ByDesign(cells, choose, workers=lambda: executor.workers, beside=options.executor != "inline")

    return order


def show_run(study: Study, ran: Ran, *, goes_on: str = "run") -> None:
    """How a run ended, for a person. goes_on: the verb that takes up what is left, with its options."""
    from pipeline.run import clock

    outcome = ran.outcome
    if ran.entries:
        print(_written(ran.entries))
    left = f", {outcome.left} left to run: unsl {goes_on} {study.address} goes on" if outcome.left else ""
    if outcome.enough:
        print(f"stopped with {outcome.left} cells left, since {outcome.enough}")
    held = f"{outcome.held} held (unsl status says why), " if outcome.held else ""
    print(
        f"{study.name}: {outcome.done} done, {held}{outcome.diverged} diverged, {outcome.failed} failed "
        f"in {clock(outcome.seconds)}{left}\n"
        f"hours of training: {ran.predicted_seconds / 3600:.3g} predicted, {outcome.worker_seconds / 3600:.3g} "
        f"measured; spent in all: {ran.costs.line()}"
        + (" (stopped at the budget)" if outcome.over_budget else "")
        + (f"; GPUs idle {idle:.0%}" if (idle := outcome.account.idle_share) is not None else "")
    )
    if outcome.failed:
        print(f"unsl status {study.address} --failed shows why; unsl run {study.address} --retry failed tries again")


def _device_of(executor: Executor, made: Plan) -> Device:
    """What to predict for: the smallest type at hand, or where no GPU is up yet, what the plan assumed."""
    if executor.device == "cpu":
        return CPU
    types = [device_shown(name, size) for name, size in executor.gpus.items()]
    return min(types, key=lambda one: one.bytes, default=made.device if made.device.is_gpu else device_shown("gpu"))


def _written(entries: Sequence[Entry]) -> str:
    """What was forecast, in a line."""
    said = ", ".join(dict.fromkeys(law.law for entry in entries for law in entry.laws)) or "no law"
    count, blind = sum(map(len, entries)), sum(sum(entry.blind) for entry in entries)
    numbers = list(dict.fromkeys((entries[0].number, entries[-1].number)))
    where = f"entr{'ies' if len(numbers) > 1 else 'y'} {' to '.join(map(str, numbers))} of the ledger"
    return (
        f"forecast: {count:,} held-out points by {said}, {blind:,} of them blind: {where}. "
        f"Next: unsl check {entries[0].about}"
    )


def refuse_changes(made: Plan, *, accepted: bool) -> None:
    if made.takes_anothers_place and not accepted:
        changed = [one for one in made.cells if one.state is State.CHANGED]
        raise PipelineError(
            f"{len(changed)} cells of '{made.study.name}' changed since they were run, the first because "
            f"{changed[0].reason}, and none is left as it was. Undo the change, or run them as new with "
            "--accept-changes (what was measured before stays in the store)"
        )


RUN = Verb(
    name="run",
    summary="run the cells that are not done",
    example="unsl run quickstart --executor inline",
    add_options=add_options,
    run=run,
)
