"""`unsl rescale`: one round of a study that grows, whenever it is called and wherever the last call was stopped."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.errors import OccupiedError, PipelineError
from pipeline.plan import Accounts, Budget, Prices
from pipeline.store import Round, Store, Writer, mark_reported
from pipeline.study import Study
from pipeline.verbs import show_rounds
from pipeline.verbs.output import say, write_json
from pipeline.verbs.run import add_running, refuse_changes, run_cells, show_run
from pipeline.verbs.verb import Verb, add_json, add_study, add_target, local_folder, study_and_store, tracking_folder

if TYPE_CHECKING:
    from pipeline.rescale import Terms, Turn


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    add_json(parser)
    add = parser.add_argument
    add("--every", metavar="PERIOD", help="begin a round only if the last one began so long ago: 7d, 12h")
    add(
        "--budget", metavar="LIMIT", help="what this round may cost: 8gpu-hours (default: what the study's growth says)"
    )
    add_target(parser, "what the study is to foretell: 'parameters=7e9, step=1e5' (default: what its growth says)")
    add_running(parser)


def run(options: argparse.Namespace) -> int:
    from pipeline.rescale import Terms, look, parse_period

    study, store = study_and_store(options)
    terms = Terms.of(study, budget=options.budget, targets=options.target)
    budget = Budget.parse(terms.budget, Prices.parse(options.price))
    every = parse_period(options.every) if options.every else None
    call = Call(options=options, store=store, terms=terms, budget=budget, every=every)
    turn = look(study, store, every=every, now=time.time())
    if turn.idle:
        call.ends("nothing is due", turn.over or f"a round begins every {options.every}")
        return call.end(study, 0)
    try:
        with Writer.open(store) as call.writer:
            code = call.take(study)
    except OccupiedError as error:
        call.ends("nothing to do here", str(error))
        code = 0
    return call.end(study, code)


@dataclass(kw_only=True)
class Call:
    """One call, and what it has to say in the end."""

    options: argparse.Namespace
    store: Store
    terms: Terms
    budget: Budget
    every: float | None
    writer: Writer | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """Those that it closed."""
    state: str = "closed"
    why: str = ""

    def take(self, study: Study) -> int:
        """With the lease held: what is unfinished first, then a new round if it is due. Returns the exit code."""
        from pipeline.rescale import begin, look

        now = time.time()
        # Another call may have been at work until a moment ago.
        study = self.store.grown(study)
        turn = look(study, self.store, every=self.every, now=now)
        if turn.idle:
            self.ends("nothing is due", turn.over or "another call has just done what was due")
            return 0
        refuse_changes(turn.plan, accepted=False)
        self.store.ask(study)
        say(*self.store.question_changes(study))
        if turn.unreported:
            self._report(study, turn.unreported)
        if turn.open or turn.unfinished:
            code = self._carry_out(study, turn.open) if turn.open else self._run_grid(study, turn)
            # That was this call's turn, unless the calendar says that the next one has come.
            if code or self.every is None or not turn.rounds:
                return code
            study = self.store.grown(study)
            turn = look(study, self.store, every=self.every, now=now)
        if not turn.due or turn.over:
            return 0
        begun = begin(study, self.store, self.terms, budget=self.budget)
        if isinstance(begun, str):
            self.ends("it has grown enough", begun)
            return 0
        self._show(show_rounds.begun, to_json(begun))
        return self._carry_out(self.store.grown(study), begun)

    def _run_grid(self, study: Study, turn: Turn) -> int:
        """Cells of the file's own grid, before the first round or between two."""
        device, unit = turn.plan.device.name, self.budget.shown_unit
        self.budget.check_device(device)
        rate = Accounts.read(self.store.folder).device_seconds_a_second(device)
        needed = self.budget.spent({device: rate * sum(one.remaining_seconds for one in turn.unfinished)})
        if needed > self.budget.amount:
            raise PipelineError(
                f"{len(turn.unfinished)} cells of the grid are to be run first. They are predicted to cost "
                f"{needed:.3g} {unit}, and a round may cost {self.budget.amount:g}: {needed - self.budget.amount:.3g} "
                f"are missing. Run them with `unsl run {study.address}`, or give a larger --budget"
            )
        ran = run_cells(self.options, turn.plan, list(turn.unfinished), self.writer, None)
        self._show(show_run, study, ran, goes_on="rescale")
        self.ends("the grid is measured", f"the next call begins round {len(turn.rounds) + 1}")
        return ran.exit_code

    def _carry_out(self, study: Study, one: Round) -> int:
        """Run what a round lacks, close it and report."""
        from pipeline.rescale import budget_of, close, look

        budget = Budget.parse(one.facts["budget"], self.budget.prices)
        turn = look(study, self.store, every=None, now=time.time())
        if turn.unfinished:
            whole = budget_of(one, budget)
            ran = run_cells(self.options, turn.plan, list(turn.unfinished), self.writer, whole, trim=True)
            self._show(show_run, study, ran, goes_on="rescale")
            if ran.outcome.interrupted and not ran.outcome.over_budget:
                return ran.exit_code
            turn = look(study, self.store, every=None, now=time.time())
        say(f"{study.name}: round {one.number} is measured: it is scored, and everything is fitted again")
        closed = close(study, self.store, one, budget=budget, left=turn.unfinished)
        facts = to_json(closed)
        self.rounds.append(facts)
        self._show(show_rounds.closed, facts)
        self._report(self.store.grown(study), closed)
        return 1 if facts["closed"]["failed"] or facts["closed"]["left"] else 0

    def _report(self, study: Study, one: Round) -> None:
        """Write the round's report, send W&B what it lacks, and say so in the store."""
        from pipeline.tracking import sync
        from pipeline.verbs.report import make_report

        store, asked = self.store, argparse.Namespace(laws=None, seed=0, wandb=self.options.wandb, running=False)
        with contextlib.ExitStack() as stack:
            # That of a remote store goes there: the machine that made it may be gone in a minute.
            local = store.folder.is_local
            folder = local_folder(store) if local else stack.enter_context(tempfile.TemporaryDirectory())
            path = os.path.abspath(os.path.join(folder, "report.html"))
            make_report(study, store, path, asked)
            for ending in () if local else ("html", "json"):
                with open(path.removesuffix("html") + ending, "rb") as file:
                    store.folder.write(f"report.{ending}", file.read())
        alarms = [f"round {one.number}: {text}" for text in (one.closed or {}).get("alarms", ())]
        folder = tracking_folder(store)
        outcome = sync(self.options.wandb, study=study, store=store, folder=folder, alerts=alarms)
        mark_reported(store.folder, one.number)
        say(f"report: {store.folder.path('report.html')}", outcome.message)

    def ends(self, state: str, why: str) -> None:
        """Why it ends without a round of its own."""
        self.state, self.why = state, why

    def end(self, study: Study, code: int) -> int:
        """Say it, and return the exit code."""
        if self.options.json:
            facts = {"study": study.name, "state": self.state, "why": self.why, "rounds": self.rounds}
            write_json(self.options.json, facts)
        if self.why:
            self._show(print, f"{study.name}: {self.state}: {self.why}")
        return code

    def _show(self, shows: Callable[..., None], *facts: Any, **how: Any) -> None:
        """On standard output, unless that is for JSON."""
        with contextlib.redirect_stdout(sys.stderr) if self.options.json == "-" else contextlib.nullcontext():
            shows(*facts, **how)


def to_json(one: Round) -> dict[str, Any]:
    """A round for a program."""
    return {
        "round": one.number,
        "opened": one.opened,
        "cells": [dict(cell) for cell in one.cells],
        "began": dict(one.facts),
        "closed": dict(one.closed) if one.closed is not None else None,
    }


RESCALE = Verb(
    name="rescale",
    summary="one round of a study that grows: finish, check, refit, choose, forecast, run, score, report",
    example="unsl rescale growing --every 7d --budget 8gpu-hours",
    add_options=add_options,
    run=run,
)
