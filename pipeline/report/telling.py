"""What a report says in words and tables alone: its verdict in a sentence, and its facts as a document without figures,
for places that draw their own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.report.document import Block, Code, Document, Grid, Heading, Items, Section, Text
from pipeline.report.drawing import MetricScale
from pipeline.report.facts import Error, Facts, LawFacts, TaskFacts
from pipeline.report.words import duration, exact, number, tidy, times

MOST_ROWS = 40
"""Of a table of cells or forecasts: what is read outside the page, which has them all."""


def wins(tasks: Sequence[TaskFacts]) -> dict[str, int]:
    """On how many tasks each law is best, the winner first."""
    counted = Counter({law.law: 0 for task in tasks for law in task.fits})
    counted.update(task.best.law for task in tasks if task.best)
    return dict(counted.most_common())


def verdict(facts: Facts) -> str:
    """One sentence or two, with the marks of `document`; of a study that grows, what it now foretells after them."""
    return " ".join(filter(None, (_of_laws(facts), _of_targets(facts))))


def _of_targets(facts: Facts) -> str:
    if not facts.rounds or not facts.rounds[-1].coefficients:
        return ""
    last, value = facts.rounds[-1], value_of(facts)
    first = last.coefficients[0]
    said = f"After round {last.number}, **{value(first.value)}** is foretold by {first.name}"
    if first.low is not None and first.high is not None:
        said += f", 90% between {' and '.join(map(value, (first.low, first.high)))}"
    more = len(last.coefficients) - 1
    return said + (f"; {more} more target{'s' * (more > 1)} below." if more else ".")


def value_of(facts: Facts) -> Callable[[float], str]:
    """What shows a loss as the metric that it came from."""
    scale = MetricScale.of(facts.metric)
    return lambda loss: exact(float(f"{float(scale.metric.from_loss(np.array(loss))):.4g}"))


def _of_laws(facts: Facts) -> str:
    if len(facts.tasks) > 1:
        law, won = next(iter(wins(facts.tasks).items()), ("", 0))
        if not won:
            return "No law could be fitted."
        return f"**{law}** forecasts best on {won} of {len(facts.tasks)} tasks."
    task = facts.tasks[0]
    best, score = task.best, task.score(task.best) if task.best else None
    if best is None or score is None:
        return "No law could be fitted to these points."
    off = f"a typical error of **{times(math.exp(score.value))}**"
    if task.held_out:
        said = f"**{best.law}** forecasts the {task.held_out:,} held-out points with {off}"
    else:
        said = f"**{best.law}** describes the {task.fitted:,} fitted points with {off}; nothing was held out, so no "
        said += "forecast is tested"
    said += f"; its 90% interval ({times(best.reach)}) holds **{best.holds:.0%}** of them."
    if len(task.fits) > 1:
        said += f" {_rival(task, score, task.fits[1])}"
    return said


def _rival(task: TaskFacts, score: Error, second: LawFacts) -> str:
    other = task.score(second)
    if other is None or not math.isfinite(other.value):
        return f"The next law, {second.law}, has no finite error."
    if other.value <= score.value + score.bar:
        return f"{second.law} does as well within the error bar."
    more = f"{other.value / score.value:.1f}" if score.value else "more"
    return f"The next law, {second.law}, errs {more} times as much."


def weakness(task: TaskFacts, law: LawFacts) -> str:
    """Where a law fails most, in words."""
    if not law.bands:
        return ""
    worst = max(law.bands, key=lambda band: band.error)
    where = "inside the fitted range" if worst.high <= 1 else f"{band_name(worst.low, worst.high)} outside"
    off = f"off by {times(math.exp(worst.error))} {where}"
    if abs(worst.bias) < 0.005:
        return f"{off}, to either side"
    return f"{off}, {abs(worst.bias):.0%} too {'high' if worst.bias < 0 else 'low'} on average"


def band_name(low: float, high: float) -> str:
    return "inside" if high <= 1 else f"up to {number(high)}×" if high <= 2 else f"{number(low)}–{number(high)}×"


def facts_document(facts: Facts) -> Document:
    """The report without its figures."""
    value = value_of(facts)
    said: list[Block] = [Text(text=f"**Alarm**: {alarm}.") for alarm in facts.alarms]
    said.append(Text(text=verdict(facts)))
    if facts.next:
        said += [Heading(text="What to do next"), Items(lines=[f"{one.what}: {one.buys}." for one in facts.next])]
    sections = [Section(title="Laws side by side", blocks=list(_laws(facts)))]
    if ledger := _ledger(facts):
        sections.append(Section(title="Ledger", blocks=ledger))
    if spent := _allocation(facts, value):
        sections.append(Section(title="Allocation", blocks=spent))
    if cells := _cells(facts):
        sections.append(Section(title="Cells", blocks=cells))
    sections.append(Section(title="Provenance", blocks=_provenance(facts)))
    return Document(
        name=facts.name,
        kicker=f"Scaling {facts.kind} {facts.name}",
        title=facts.question or facts.name,
        blocks=said,
        sections=sections,
    )


def _laws(facts: Facts) -> list[Block]:
    blocks: list[Block] = []
    for task in facts.tasks:
        blocks += [Heading(text=task.name)] if task.name else []
        rows = [
            [law.law, _error(law.error_fitted), _error(law.error_held_out), times(law.reach), f"{law.holds:.0%}",
             law.structure, weakness(task, law)]
            for law in task.fits
        ]  # fmt: skip
        rows += [[law.law, "–", "–", "–", "–", law.reason or law.status, ""] for law in task.laws if not law.predicted]
        head = ["law", "fitted RMSLE", "held-out RMSLE", "90% interval", "holds", "structure", "fails most"]
        blocks.append(Grid(header=head, rows=rows))
    return blocks


def _ledger(facts: Facts) -> list[Block]:
    ledger = facts.ledger
    if ledger is None:
        return []
    said = f"{ledger.forecasts:,} forecasts were written down, {ledger.scored:,} have been scored, {ledger.blind:,} of "
    blocks: list[Block] = [Text(text=f"The ledger does not hold: {fault}.") for fault in ledger.faults]
    blocks.append(Text(text=f"{said}them blind; {ledger.waiting:,} wait for their runs."))
    rows = [
        [one.law, f"{one.forecasts:,}", f"{one.error:.4f}", f"{one.bias:+.3f}", f"{one.held_50:.0%}",
         f"{one.held_90:.0%}", "–" if one.skill is None else f"{one.skill:.0%}"]
        for one in ledger.laws
    ]  # fmt: skip
    head = ["law", "blind forecasts", "RMSLE", "bias", "50% held", "90% held", "skill"]
    return [*blocks, Grid(header=head, rows=rows)] if rows else blocks


def _allocation(facts: Facts, value: Callable[[float], str]) -> list[Block]:
    blocks: list[Block] = []
    for task in facts.tasks:
        if one := task.allocation:
            blocks += [Heading(text=task.name)] if task.name else []
            blocks.append(Text(text=f"What {one.law} buys where a run costs `{one.cost.text}` {one.cost.unit}."))
            rows = [
                [number(best.budget), value(best.loss), *(number(best.at[name]) for name in one.free)]
                for best in one.path
            ]
            blocks.append(Grid(header=["budget", facts.metric.name, *one.free], rows=rows))
        for setting in task.settings:
            powers = ", ".join(f"{power.name}^{power.value:.3g}" for power in setting.growth)
            blocks.append(Text(text=f"The best {setting.name.replace('_', ' ')} goes as {powers}."))
    return blocks


def _cells(facts: Facts) -> list[Block]:
    cells = facts.cells
    if cells is None:
        return []
    states = ", ".join(f"{count:,} {state}" for state, count in cells.states.items())
    blocks: list[Block] = [
        Text(text=f"{states} of {cells.planned:,} cells; {duration(cells.seconds)} of training, "
                  f"{tidy(f'{cells.flops:.3g}')} FLOPs of {tidy(f'{cells.flops_planned:.3g}')} planned.")
    ]  # fmt: skip
    failed = [[one.id, one.state, one.failure, one.message] for one in cells.rows if one.failure][:MOST_ROWS]
    return [*blocks, Grid(header=["cell", "state", "failure", "message"], rows=failed)] if failed else blocks


def _provenance(facts: Facts) -> list[Block]:
    source = facts.provenance
    versions = ", ".join(f"{name} {version}" for name, version in source.versions.items())
    rows = [
        ["trainer", source.trainer],
        ["metric", f"{facts.metric.name}, {facts.metric.direction} is better"],
        ["held out", f"`{source.split}`" if source.split else "nothing"],
        ["asked", source.asked],
        *([name, values] for name, values in source.axes.items()),
        ["seeds", source.seeds],
        ["data", source.data],
        ["versions", versions],
    ]
    return [
        Code(text=source.command),
        Grid(header=["", "what"], rows=[[name, told] for name, told in rows if told]),
    ]


def _error(error: Error | None) -> str:
    return f"{error.value:.4f} ± {error.bar:.4f}" if error else "–"
