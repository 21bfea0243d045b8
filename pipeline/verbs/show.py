"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.plan import Plan, PlannedCell, Prices, explain, in_parts, too_large
from pipeline.run import clock
from pipeline.store import CellRecord
from pipeline.study import AUTO, Study, show_config
from pipeline.verbs.terminal import table as _table

MOST_ROWS = 40
"""Cells that a plan shows unless all are asked for."""
MOST_HELD = 10
"""Cells that are held, with the reason of each."""
MOST_TARGETS = 10
"""Places of which a forecast shows every law."""


def plan(made: Plan, prices: Prices, *, all_cells: bool) -> None:
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
    device, hours = made.device, prices.show({made.device.name: facts["remaining_seconds"]})
    how = "measured" if made.throughput.cells else f"assumed: {device.utilisation:.0%} of {device.peak:.3g} FLOPs/s"
    print(
        f"to run: {facts['remaining_flops']:.2e} FLOPs, {clock(facts['remaining_seconds'])} on one {device.name} "
        f"({how}): {hours}"
    )
    if (devices := made.study.devices_per_cell) != 1:
        many = "as many GPUs of a node as would idle otherwise" if devices == AUTO else f"{devices} devices at once"
        print(f"each cell on {many}; seconds and hours are those of all its devices together")
    waiting = made.to_run(retry_failed=True)
    for line in in_parts(made.study, waiting, device):
        print(line)
    if made.device_assumed:
        print(f"no GPU was named or seen yet, so this is for one {device.name}: --device-type names another")
        if large := too_large(made.study, waiting, device):
            print(explain(made.study, large, device))


def laws(facts: Mapping[str, Any]) -> None:
    """Fitted and held-out error of every law, from `Analysis.to_json`."""
    for change in facts.get("question_changes", ()):
        print(change)
    if "tasks" in facts:
        tasks(facts)
        return
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


def tasks(facts: Mapping[str, Any]) -> None:
    """Held-out error of every law on every task (fitted error where nothing is held out), and what each law wins."""
    laws = list(facts["won"])
    rows = []
    for name, one in facts["tasks"].items():
        score = "rmsle_held_out" if one["rows_held_out"] else "rmsle_fit"
        said = {law["law"]: law for law in one["laws"]}
        known = [law[score] for law in one["laws"] if law.get(score) is not None]
        cells = [_error(said[law], score) + ("  best" if said[law].get(score) == min(known, default=0) else "")
                 for law in laws]  # fmt: skip
        rows.append((name, f"{one['rows_fit']:,}", f"{one['rows_held_out']:,}", *cells))
    rows.append(("won", "", "", *(f"{facts['won'][law]:.1%}" for law in laws)))
    print(f"one fit a task ({', '.join(facts['task_columns'])}), RMSLE ± root standard log error of what is held out")
    _table(["task", "fitted", "held out", *laws], rows)
    for name, reason in facts["left_out"].items():
        print(f"{name} is left out: {reason}")


def reproduction(facts: Mapping[str, Any]) -> None:
    """Held-out error of every law on every task of the paper's blocks, and the shares of tasks that laws win."""
    laws = list(dict.fromkeys(row["law"] for row in facts["answers"] if row["rmsle_held_out"]))
    rows = []
    for key in dict.fromkeys((row["block"], row["ask"], row["task"]) for row in facts["answers"]):
        of = {row["law"]: row for row in facts["answers"] if (row["block"], row["ask"], row["task"]) == key}
        rows.append((", ".join(filter(None, key)), *(_answer(of.get(law)) for law in laws)))
    print("held-out RMSLE, * marks the least")
    _table(["block", *laws], rows)
    for one in facts["shares"]:
        paper = f"; the paper, on its own tasks: unsl {one['published']:.2%}" if one["published"] else ""
        won = ", ".join(f"{law} {share:.1%}" for law, share in one["won"].items())
        print(f"best on {one['tasks']} {one['family']} tasks: {won}{paper}")


def _answer(row: Mapping[str, Any] | None) -> str:
    if row is None or not row["rmsle_held_out"]:
        return "-"
    return f"{float(row['rmsle_held_out']):.4f}{'*' if row['best'] else ''}"


def blocks(rows: Sequence[Mapping[str, Any]]) -> None:
    """The paper's blocks, from `unsl reproduce --list`."""
    shown = []
    for row in rows:
        scores = [(float(one["rmsle_held_out"]), one["law"]) for one in row["answers"] if one["rmsle_held_out"]]
        unsl = " ".join(f"{score:.4f}" for score, law in scores if law == "unsl")
        best = " ".join(f"{one['law']}" for one in row["answers"] if one["best"] and one["rmsle_held_out"])
        done = f"{row['done']:,} of {row['cells']:,}"
        cost = (f"{row['flops']:.1e}", row["cost"])
        shown.append((row["block"], row["file"], done, *cost, row["run"] or "-", unsl, best))
    _table(["block", "file", "cells done", "FLOPs", "cost of all", "answered", "unsl", "best law"], shown)


def forecasts(facts: Mapping[str, Any]) -> None:
    """What laws say of targets, from `unsl forecast`: a line a law and target, the first targets only."""
    shown = facts["targets"][:MOST_TARGETS]
    rows = []
    for target in shown:
        where = ", ".join(f"{name} {value:.4g}" for name, value in target["at"].items())
        far = max(target["beyond"].items(), key=lambda item: item[1])
        for number, (law, said) in enumerate(target["laws"].items()):
            rows.append(
                (
                    where if number == 0 else "",
                    (f"{far[1]:.3g}x in {far[0]}" if far[1] > 1 else "inside") if number == 0 else "",
                    law,
                    f"{said['median']:.4g}",
                    f"{said['low']:.4g} to {said['high']:.4g}",
                    " + ".join(f"{said[part]:.0%} {part}" for part in ("coefficients", "structures", "noise")),
                )
            )
    print(f"{facts['metric']} foretold from {facts['rows']} measured points")
    _table(["target", "beyond the fit", "law", "median", f"{facts['level']:.0%} interval", "its variance is"], rows)
    if len(shown) < len(facts["targets"]):
        print(f"... and {len(facts['targets']) - len(shown)} more targets (--json has them)")
    for law, reason in facts["failed"].items():
        print(f"{law} says nothing: {reason}")
    for warning in facts["warnings"]:
        print(f"warning: {warning}")


def ledger(facts: Mapping[str, Any]) -> None:
    """The entries, from `unsl ledger`."""
    if facts["faults"]:
        print(f"the ledger of {facts['about']} does not hold:")
        for fault in facts["faults"]:
            print(f"  {fault}")
        return
    _table(
        ["entry", "written (UTC)", "laws", "targets", "blind", "rows fitted", "question", "hash"],
        [
            (
                str(one["number"]),
                one["time"][:19].replace("T", " "),
                ", ".join([*one["laws"], *(f"{law} (none)" for law in one["failed"])]),
                f"{one['targets']:,}",
                f"{one['blind_targets']:,}",
                f"{one['rows']:,}",
                one["question"][:8],
                one["hash"][:12],
            )
            for one in facts["entries"]
        ],
    )
    count, blind = (sum(one[name] for one in facts["entries"]) for name in ("forecasts", "blind"))
    print(f"{len(facts['entries'])} entries, {count:,} forecasts, {blind:,} of them blind")
    if facts["verified"]:
        print("verified: nothing was changed, removed or back-dated")
    if published := facts["published"]:
        print(f"published up to entry {published['number']}: {published['witness']}, digest {published['digest']}")


def check(facts: Mapping[str, Any]) -> None:
    """Scores, from `unsl check`."""
    for fault in facts["faults"]:
        print(f"the ledger does not hold: {fault}")
    print(
        f"{facts['scored']:,} forecasts scored, {facts['blind']:,} of them blind; {facts['waiting']:,} wait for their "
        "measurement"
    )
    for reason, count in facts["not_scored"].items():
        print(f"not scored: {count:,} ({reason})")
    for name, title in (("laws", "blind forecasts"), ("laws_not_blind", "forecasts made after their measurement")):
        if facts[name]:
            print(f"\n{title}: scores in ln(loss), skill is the part of the CRPS of {facts['simplest']} that is saved")
            _table(_SCORES, [_score(row) for row in facts[name]])
    if len({row["distance"] for row in facts["by_distance"]}) > 1:
        print("blind, by how far a target lies outside the fitted range")
        _table(["outside", *_SCORES], [(row["distance"], *_score(row)) for row in facts["by_distance"]])
    if len({row["date"] for row in facts["by_date"]}) > 1:
        print("blind, by the day of the forecast")
        _table(["made on", *_SCORES], [(row["date"], *_score(row)) for row in facts["by_date"]])


_SCORES = ("law", "forecasts", "RMSLE", "bias", "in 50%", "in 90%", "CRPS", "90% score", "skill")


def _score(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["law"],
        f"{row['forecasts']:,}",
        f"{row['rmsle']:.4f}",
        f"{row['bias']:+.4f}",
        f"{row['held_50']:.0%}",
        f"{row['held_90']:.0%}",
        f"{row['crps']:.4f}",
        f"{row['interval_90']:.4f}",
        f"{row['skill']:+.0%}" if row["skill"] is not None else "-",
    )


def allocation(facts: Mapping[str, Any]) -> None:
    """Optima, from `unsl allocate`."""
    print(f"{facts['law']} spends {facts['cost']} so as to make {facts['metric']} best")
    for answer in facts["answers"]:
        if len(facts["answers"]) > 1:
            print(f"with {answer['counting']} counted")
        free = list(answer["exponents"])
        rows = [
            (
                f"{one['budget']:.3g}",
                *(f"{one['at'][name]:.4g} ({_range(one['intervals'][name])})" for name in free),
                f"{one['metric']:.4f} ({_range(one['interval'])})",
            )
            for one in answer["optima"]
        ]
        _table(["budget", *free, facts["metric"]], rows)
        for name, (slope, low, high) in answer["exponents"].items():
            off = answer["optima"][-1]["off_by_two"].get(name)
            costs = " and ".join("impossible" if rise is None else f"{rise:+.2%}" for rise in off or ())
            print(
                f"{name} grows as budget^{slope:.3f} ({low:.3f} to {high:.3f})"
                + (f"; half and twice as much, at the largest budget: {costs} loss" if off else "")
            )
        for name in {name for one in answer["optima"] for name in one["edges"]}:
            print(f"warning: nothing but the end of the search holds {name}: fix it, or bound it with --within")
        if any(one["worth"] > 0 for one in answer["optima"]):
            print("warning: at some of the budgets the law would rather spend less, and the whole is spent here")
        far = max(((x, name) for one in answer["optima"] for name, x in one["beyond"].items()), default=(1.0, ""))
        if far[0] > 1:
            print(f"at the farthest, {far[1]} lies {far[0]:.3g} times outside what was fitted")


def _range(ends: Sequence[float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"


def failures(records: Sequence[CellRecord], *, tracebacks: bool) -> None:
    for record in records:
        print(f"{record.id}  {record.failure}: {record.message}")
        if tracebacks and record.traceback:
            print(record.traceback)


def held(study: Study, cells: Sequence[PlannedCell]) -> None:
    """Cells that are not carried on, with the reasons, from `unsl status`."""
    names = [name for axis in study.axes for name in axis.fields] + ["seed"]
    for one in cells[:MOST_HELD]:
        where = show_config({name: one.cell.config[name] for name in names})
        print(f"held at step {one.reached}: {where}: {one.reason}")
    if len(cells) > MOST_HELD:
        print(f"... and {len(cells) - MOST_HELD} more (--json has them)")
    print(f"unsl run {study.address} --halve 0 carries them on")


def _error(law: Mapping[str, Any], name: str) -> str:
    return f"{law[name]:.4f} ± {law[f'{name}_error']:.4f}" if law.get(name) is not None else "-"


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
