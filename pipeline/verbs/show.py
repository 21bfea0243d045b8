"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.plan import Plan
from pipeline.run import clock
from pipeline.store import CellRecord

PLAIN_WIDTH = 160
"""Columns where the output is no terminal, as in a file or a log."""
MOST_ROWS = 40
"""Cells that a plan shows unless all are asked for."""


def plan(made: Plan, *, all_cells: bool) -> None:
    """The cells that would run first, then those that are done; then totals."""
    varied = [name for axis in made.study.axes for name in axis.fields] + ["seed"]
    order = sorted(made.cells, key=lambda one: one.state.finished)
    shown = order if all_cells else order[:MOST_ROWS]
    rows = [
        (
            one.cell.id,
            f"{one.state}" + (f" because {one.reason}" if one.reason else ""),
            *(_value(one.cell.config[name]) for name in varied),
            f"{one.cell.counts.parameters:,}",
            f"{one.cell.counts.flops:.2e}",
            f"{one.predicted_seconds:.1f}",
            one.split,
        )
        for one in shown
    ]
    _table(["cell", "state", *varied, "parameters", "FLOPs", "seconds", "split"], rows)
    if len(shown) < len(order):
        print(f"... and {len(order) - len(shown)} more (--all shows them)")
    facts = made.to_json()
    print(
        f"{len(made.cells)} cells: {made.states()}"
        + (f"; {len(made.left_behind)} left the grid" if made.left_behind else "")
    )
    points, budgets = facts["points"], ", ".join(map(str, facts["inference_budgets"]))
    print(
        f"points: {points['fitted']:,} fitted, {points['held_out']:,} held out, {points['excluded']:,} excluded"
        + "".join(f"; '{rule}' is judged when they are measured" for rule in points["judged_later"])
        + (f"; each step measured at {budgets} inference steps" if budgets != "1" else "")
    )
    for change in made.question_changes:
        print(change)
    print(
        f"to run: {facts['remaining_flops']:.2e} FLOPs, {clock(facts['remaining_seconds'])} on one worker "
        f"({facts['throughput']} throughput, {facts['remaining_seconds'] / 3600:.3g} worker-hours)"
    )


def laws(facts: Mapping[str, Any]) -> None:
    """Fitted and held-out error of every law, from `Analysis.to_json`."""
    for change in facts.get("question_changes", ()):
        print(change)
    excluded = ", ".join(f"{n} {rule}" for rule, n in facts["excluded"].items()) or "none"
    split = f" ({facts['held_out']})" if facts["held_out"] else ""
    print(f"{facts['rows_fit']} points fitted, {facts['rows_held_out']} held out{split}")
    print(f"excluded: {excluded}")
    _table(
        ["law", "fitted RMSLE", "held-out RMSLE", "seconds", "status", "structure"],
        [
            (law["law"], *(_error(law, name) for name in ("rmsle_fit", "rmsle_held_out")))
            + (f"{law['seconds']:.1f}", law["status"], law.get("structure") or law["reason"])
            for law in facts["laws"]
        ],
    )


def failures(records: Sequence[CellRecord], *, tracebacks: bool) -> None:
    for record in records:
        print(f"{record.id}  {record.failure}: {record.message}")
        if tracebacks and record.traceback:
            print(record.traceback)


def _error(law: Mapping[str, Any], name: str) -> str:
    return f"{law[name]:.4f} ± {law[f'{name}_error']:.4f}" if law.get(name) is not None else "-"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            """The reader may go, as in `| head`: that is for the command line to judge, and no failure."""
            raise

    console = Terminal(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    table = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(value) for value in row))
    console.print(table)
