"""Rounds: what is to be done now, how a round begins and how it is closed.

    look      unfinished cells, an open round, or a new one that is due; changes nothing
    begin     refit everything, say what drifted, choose the next cells within the budget, and write the round down
    close     score what the round foretold, refit, and write down what came of it

What a round is stands in two files of the store, each created once (`pipeline.store.rounds`): so it may be killed at
any instant, and gone on with by anybody. Forecasts are written and cells are run in between, as in every run of a
study: the newest round is what its split holds out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.errors import OutsideError, PipelineError
from pipeline.forecasts import Ledger, check_ledger
from pipeline.plan import Accounts, Budget, Plan, PlannedCell, make_plan
from pipeline.rescale.alarms import drifted, missed, not_narrowing, of_cells
from pipeline.rescale.drift import Drifts, drift
from pipeline.rescale.growth import Candidate, Choice, beyond_the_grid, cheapest, most_telling, priced
from pipeline.rescale.knowledge import Knowledge, learn, read_targets, remembered
from pipeline.rescale.schedule import is_due, unix_seconds
from pipeline.store import Round, Store, close_round, open_round
from pipeline.study import Growth, Study


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What a call of `unsl rescale` finds."""

    plan: Plan
    rounds: Sequence[Round]
    unfinished: Sequence[PlannedCell]
    """Cells of the grid or of a round that are not done, those that failed apart."""
    due: bool
    """Whether the time for a new round has come."""
    over: str
    """Why there will be no new round; empty where there may."""

    @property
    def open(self) -> Round | None:
        """The round that is under way."""
        return self.rounds[-1] if self.rounds and self.rounds[-1].closed is None else None

    @property
    def unreported(self) -> Round | None:
        """The last round, if it is closed and its report is not written."""
        return next((one for one in self.rounds[-1:] if one.closed is not None and not one.reported), None)

    @property
    def idle(self) -> bool:
        return not (self.unfinished or self.open or self.unreported) and (not self.due or bool(self.over))


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms rounds are begun: the study's growth, as far as the call did not say otherwise."""

    budget: str
    targets: Sequence[str]
    rule: str
    law: str

    @classmethod
    def of(cls, study: Study, *, budget: str | None = None, targets: Sequence[str] = ()) -> Terms:
        """Raises PipelineError for a study that does not grow, and for targets that are none."""
        growth = growth_of(study)
        read_targets(study, tuple(targets) or growth.targets)
        return cls(
            budget=budget or growth.budget,
            targets=tuple(targets) or growth.targets,
            rule=growth.rule,
            law=leading_law(study),
        )


def growth_of(study: Study) -> Growth:
    if study.growth is None:
        raise PipelineError(
            f"study '{study.name}' does not say how it grows: add growth=Growth(axes={{'{study.axes[0].name}': 2}}, "
            "target='...', budget='1cpu-hours') and split=Split(held_out='round == newest')"
        )
    return study.growth


def leading_law(study: Study) -> str:
    """Whose forecast counts, by the name that it has in fits."""
    from fitting import find_law

    law = (study.growth.law if study.growth else "") or study.laws[-1]
    return find_law(study.law_addresses[list(study.laws).index(law)]).name


def look(study: Study, store: Store, *, every: float | None, now: float) -> Turn:
    """What there is to do. every: seconds between the beginnings of rounds; None for whenever one asks. now: Unix
    seconds."""
    growth, rounds = growth_of(study), store.rounds()
    plan = make_plan(study, store)
    last = rounds[-1] if rounds else None
    due = every is None or last is None or is_due(unix_seconds(last.opened), every=every, now=now)
    over = ""
    if last is not None and last.closed is not None and "knowledge" in last.closed:
        known = Knowledge.from_json(last.closed["knowledge"])
        if growth.is_over(interval=known.interval(leading_law(study)), rounds=len(rounds)):
            over = f"{growth.until} holds after {len(rounds)} rounds"
    return Turn(
        plan=plan,
        rounds=rounds,
        unfinished=plan.to_run(retry_failed=False, carry_on=not study.halve),
        due=due,
        over=over,
    )


def begin(study: Study, store: Store, terms: Terms, *, budget: Budget) -> Round | str:
    """Refit, choose the next cells and write the round down; why there is nothing to add, where there is nothing.

    budget: `terms.budget`, with prices. Raises PipelineError where the round cannot be afforded; OutsideError where
    somebody else has begun it.
    """
    rounds, made, accounts = store.rounds(), make_plan(study, store), Accounts.read(store.folder)
    budget.check_device(made.device.name)
    before = _last_known(rounds)
    known, asked = before, None
    if before is not None and tuple(before.targets) == tuple(terms.targets):
        asked = remembered(study, store, before, terms.law)
    if asked is None or known is None:
        learnt = learn(study, store, terms.targets)
        known, asked = learnt.knowledge, learnt.fits.get(terms.law)
    candidates = priced(beyond_the_grid(study), made, accounts, budget)
    if not candidates:
        return "its rules drop every cell beyond its grid"
    _refuse_unaffordable(study, candidates, budget)
    if terms.rule == "grid":
        choice = cheapest(candidates, budget=budget.amount)
    elif not asked:
        raise PipelineError(f"{terms.law} says nothing yet ({known.failed[terms.law]}): growth needs a law that does")
    else:
        choice = most_telling(study, asked, candidates, budget=budget.amount)
    if not choice.chosen:
        return "no cell that it could add would narrow its forecast"
    facts = {
        **asdict(terms),
        "device": made.device.name,
        "held": dict(accounts.held),
        "candidates": len(candidates),
        "cost": choice.cost,
        "unit": budget.shown_unit,
        "choices": _choices(choice),
        "before": choice.design.before if choice.design else None,
        "after": choice.design.after if choice.design else None,
        "knowledge": known.to_json(),
        "drift": _to_json(drift(before, known)) if before and before.fingerprint != known.fingerprint else None,
    }
    number = len(rounds) + 1
    try:
        taken = open_round(store.folder, number, [dict(one.settings) for one in choice.chosen], facts)
    except OSError as error:
        raise OutsideError(f"the store {store.folder.path()} cannot be written: {error}") from error
    if not taken:
        raise OutsideError(f"somebody else has begun round {number} of study '{study.name}': this call stops")
    return store.rounds()[-1]


def close(study: Study, store: Store, one: Round, *, budget: Budget, left: Sequence[PlannedCell]) -> Round:
    """Score, refit and write down what came of a round. study: grown by it. left: cells that its budget did not cover.

    Closed already, it is as it was closed.
    """
    rows, records = store.table(), store.records()
    cells = {cell.id for cell in study.build(one.cells)}
    law, unit = one.facts["law"], budget.shown_unit
    checked = check_ledger(store, rows, study=study)
    entries = Ledger(store.folder).entries() if not checked.faults else []
    scored = of_cells(checked.scored, entries, cells) if entries else checked.scored
    began = Knowledge.from_json(one.facts["knowledge"])
    unrun = {cell.cell.id for cell in left}
    dropped = [dict(settings) for settings in one.cells if _id(study, settings) in unrun]
    # What is fitted now is what the next round will find: cells that are left are none of the study's any more.
    added = tuple(settings for settings in one.cells if dict(settings) not in dropped)
    grown = replace(study, grown=(*study.grown[: one.number - 1], added))
    known = learn(grown, store, one.facts["targets"]).knowledge
    held = Accounts.read(store.folder).held
    spent = budget.spent(held) - budget.spent(one.facts["held"])
    drifts = drift(began, known)
    alarms = [f"the ledger does not hold: {fault}" for fault in checked.faults]
    alarms += [text for text in (missed(scored, entries, law),) if text]
    alarms += drifted(drifts, law)
    alarms += [
        text for text in (not_narrowing(began, known, law, spent=spent, budget=budget.amount, unit=unit),) if text
    ]
    facts = {
        "held": dict(held),
        "spent": spent,
        "unit": unit,
        "done": sum(records[cell].finished for cell in cells if cell in records),
        "failed": sum(records[cell].status == "failed" for cell in cells if cell in records),
        "left": dropped,
        "scores": replace(checked, scored=scored).to_json()["laws"],
        "knowledge": known.to_json(),
        "drift": _to_json(drifts),
        "alarms": alarms,
    }
    try:
        close_round(store.folder, one.number, facts)
    except OSError as error:
        raise OutsideError(f"the store {store.folder.path()} cannot be written: {error}") from error
    return store.rounds()[one.number - 1]


def budget_of(one: Round, budget: Budget) -> Budget:
    """What the study may have cost in all once a round is over: what it had cost before, and the round's budget."""
    return replace(budget, amount=budget.amount + budget.spent(one.facts["held"]))


def _id(study: Study, settings: Mapping[str, Any]) -> str:
    return next((cell.id for cell in study.build([settings])), "")


def _last_known(rounds: Sequence[Round]) -> Knowledge | None:
    """What was known when the last round was closed."""
    known = [one.closed["knowledge"] for one in rounds if one.closed and "knowledge" in one.closed]
    return Knowledge.from_json(known[-1]) if known else None


def _refuse_unaffordable(study: Study, candidates: Sequence[Candidate], budget: Budget) -> None:
    least = min(candidates, key=lambda one: one.cost)
    if least.cost > budget.amount:
        raise PipelineError(
            f"a round of study '{study.name}' may cost {budget.amount:.3g} {budget.shown_unit}, and the cheapest of "
            f"the {len(candidates)} cells that it could grow by is predicted to cost {least.cost:.3g}: "
            f"{least.cost - budget.amount:.3g} are missing. Give --budget, or let it grow by smaller factors"
        )


def _choices(choice: Choice) -> list[dict[str, Any]]:
    halves = [pick.half for pick in choice.design.picks] if choice.design else [None] * len(choice.chosen)
    return [
        {"cell": one.cell.id, "cost": one.cost, "half": half} for one, half in zip(choice.chosen, halves, strict=True)
    ]


def _to_json(drifts: Drifts) -> dict[str, Any]:
    return {
        "drifts": [asdict(one) for one in drifts.drifts],
        "restructured": list(drifts.restructured),
    }
