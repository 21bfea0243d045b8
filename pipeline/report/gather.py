"""From a study's analysis and what its store knows of the cells to the facts of its report."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import platform
import shlex
import sys
import types
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fitting import Metric
from pipeline.analysis import Analysis
from pipeline.report.facts import (
    CellFacts,
    CellsFacts,
    Curve,
    DeviceFacts,
    Facts,
    LedgerFacts,
    MetricFacts,
    NextRun,
    Provenance,
    Round,
    TaskFacts,
)
from pipeline.report.tasks import task_facts
from pipeline.report.thinning import by_shape, curve
from pipeline.report.words import exact, listed, number
from pipeline.store import CellRecord
from pipeline.study import Axis, Study
from trainers import units

MOST_CELLS, MOST_CURVES, MOST_OF_A_CURVE = 600, 240, 40
"""Rows of the table of cells, learning curves of the figure and points of one: what a person looks through."""
FURTHER = 10.0
"""Times the dearest run so far: what is worth training next, where a law still forecasts with some right."""
MOST_MESSAGE = 500
"""Characters of a failure that tell what it was; `unsl status --failed` has the rest."""


def study_facts(
    analysis: Analysis | Mapping[str, Analysis],
    *,
    records: Mapping[str, CellRecord] | None = None,
    points: Any = None,
    date: datetime.date | None = None,
    running: bool = False,
    run_url: str = "",
    command: str = "",
    asked: str = "",
    ledger: LedgerFacts | None = None,
    rounds: Sequence[Round] = (),
    next_runs: Sequence[NextRun] = (),
    alarms: Sequence[str] = (),
    spend: bool = False,
) -> Facts:
    """The facts of a study.

    analysis: of its table; or by task, the one task without a name. records: what the store knows of the cells; without
    it there is no part about them. points: the whole table, for learning curves of cells that diverged too. date: left
    out where None, since equal input shall give equal bytes. run_url: address of a cell's run with `{cell}` in it.
    spend: ask the best laws how they would spend budgets and set hyperparameters, which takes seconds a task.
    """
    tasks = analysis if isinstance(analysis, Mapping) else {"": analysis}
    first = next(iter(tasks.values()))
    study = first.study
    counted = units(study.loaded_trainer)
    question, _, description = _docstring(study).partition("\n")
    cells = None if records is None else _cells(study, records, points, run_url)
    found = tuple(
        task_facts(one.divided, one.comparisons, name=name, units=counted, spend=spend) for name, one in tasks.items()
    )
    return Facts(
        name=study.name,
        kind="study",
        question=question,
        description=description.strip(),
        date=date.isoformat() if date else "",
        running=running,
        alarms=tuple(alarms),
        metric=metric_facts(study.metric),
        tasks=found,
        provenance=_provenance(study, list(tasks.values()), records, command or f"unsl report {study.address}", asked),
        cells=cells,
        ledger=ledger,
        rounds=tuple(rounds),
        next=(*next_runs, *_left_to_run(study, cells), *_further(study, found)),
    )


def metric_facts(metric: Metric) -> MetricFacts:
    known = metric.ceiling is not None and np.isfinite(metric.ceiling)
    return MetricFacts(
        name=metric.name,
        direction=metric.direction,
        floor=metric.floor,
        best=metric.best,
        ceiling=metric.ceiling if known else None,
        bounded=metric.ceiling is None or known,
    )


def _cells(study: Study, records: Mapping[str, CellRecord], points: Any, run_url: str) -> CellsFacts:
    known = [(cell, records[cell.id]) for cell in study.cells if cell.id in records]
    states = Counter(record.status for _, record in known)
    missing = len(study.cells) - len(known)
    urgent = {"failed": 0, "started": 1, "held": 2, "diverged": 3}
    known.sort(key=lambda pair: (urgent.get(pair[1].status, 4), -pair[1].seconds, pair[0].id))
    varied = [name for axis in study.axes for name in axis.fields] + ["seed"]
    devices = defaultdict(list)
    for _, record in known:
        devices[record.gpu or record.device or "unknown"].append(record)
    return CellsFacts(
        planned=len(study.cells),
        states=dict(sorted(states.items())) | ({"not run": missing} if missing else {}),
        seconds=sum(record.seconds for _, record in known),
        flops=sum(record.flops_per_step * record.step for _, record in known),
        flops_planned=sum(cell.counts.flops for cell in study.cells),
        rows=tuple(
            CellFacts(
                id=cell.id,
                state=record.status,
                config={name: cell.config[name] for name in varied if name in cell.config},
                parameters=cell.counts.parameters,
                step=record.step,
                points=record.points,
                seconds=round(record.seconds, 3),
                flops=record.flops_per_step * record.step,
                device=record.gpu or record.device,
                held_out=round(study.held_out_share(cell), 3),
                failure=record.failure,
                message=record.message[:MOST_MESSAGE],
                url=run_url.replace("{cell}", cell.id),
            )
            for cell, record in known[:MOST_CELLS]
        ),
        curves=() if points is None else _curves(study, points),
        devices=tuple(
            DeviceFacts(
                device=device,
                cells=len(some),
                seconds=sum(one.seconds for one in some),
                flops_per_second=sum(one.flops_per_step * one.step for one in some)
                / (sum(one.seconds for one in some) or 1.0),
            )
            for device, some in sorted(devices.items())
        ),
    )


def _curves(study: Study, points: Any) -> tuple[Curve, ...]:
    """Learning curves that together look like all of them: chosen by where they start and end, thinned by shape."""
    loss = study.metric.to_loss(points[study.metric.name].to_numpy(float))
    rows = points.assign(loss=loss)
    rows = rows[(rows["loss"] > 0) & np.isfinite(rows["loss"]) & rows["cell"].isin({cell.id for cell in study.cells})]
    if "inference_steps" in rows:
        rows = rows[rows["inference_steps"] == rows.groupby("cell")["inference_steps"].transform("max")]
    rows = rows.sort_values(["cell", "step"])
    if rows.empty:
        return ()
    ends = rows.groupby("cell").agg(start=("loss", "first"), end=("loss", "last"), last=("step", "last"))
    chosen = ends.iloc[by_shape([np.log(ends[name].to_numpy(float)) for name in ends], MOST_CURVES)].index
    cells = {cell.id: cell for cell in study.cells}
    out = []
    for name, part in rows[rows["cell"].isin(chosen)].groupby("cell", sort=True):
        step, height = part["step"].to_numpy(float), part["loss"].to_numpy(float)
        kept = curve(np.log(step), np.log(height), MOST_OF_A_CURVE)
        out.append(
            Curve(
                cell=str(name),
                step=tuple(float(one) for one in step[kept]),
                loss=tuple(float(f"{one:.4g}") for one in height[kept]),
                held_out=study.held_out_share(cells[str(name)]) == 1,
            )
        )
    return tuple(out)


def _left_to_run(study: Study, cells: CellsFacts | None) -> tuple[NextRun, ...]:
    """What the study itself still lacks."""
    if cells is None:
        return ()
    out = []
    if failed := cells.states.get("failed", 0):
        what = f"See why {failed:,} of {cells.planned:,} cells failed"
        out.append(
            NextRun(what=what, buys="what they would have measured", command=f"unsl status {study.address} --failed")
        )
    if left := cells.states.get("not run", 0) + cells.states.get("started", 0):
        what = f"Run the {left:,} cells that are left" if left > 1 else "Run the one cell that is left"
        verb = "rescale" if study.growth else "run"
        out.append(NextRun(what=what, buys="the grid as it was planned", command=f"unsl {verb} {study.address}"))
    elif study.growth:
        what, buys = f"Begin round {len(study.grown) + 1}", "a blind test of what is foretold, and a narrower forecast"
        out.append(NextRun(what=what, buys=buys, command=f"unsl rescale {study.address}"))
    return tuple(out)


def _further(study: Study, tasks: Sequence[TaskFacts]) -> tuple[NextRun, ...]:
    """The best use of some ten times the dearest run so far, where the first task's law says that it gains."""
    one = tasks[0].allocation
    if one is None or len(tasks) > 1 or not one.measured:
        return ()
    best = min(one.path, key=lambda optimum: abs(np.log(optimum.budget / (FURTHER * one.measured))))
    least = min(tasks[0].points.loss)
    if best.edges or best.loss >= least:
        return ()
    at = ", ".join(f"{name.replace('_', ' ')} {number(best.at[name])}" for name in one.free)
    target = ", ".join(f"{name}={best.at[name]:.3g}" for name in best.at)

    def told(loss: float) -> str:
        return exact(float(f"{float(study.metric.from_loss(np.array(loss))):.4g}"))

    low, high = sorted((best.loss_low, best.loss_high), key=lambda loss: float(study.metric.from_loss(np.array(loss))))
    buys = f"{one.law} foretells {told(best.loss)}, 90% between {told(low)} and {told(high)}; the best yet is "
    what = f"Train {at}: the best use of {best.budget / one.measured:.0f} times the dearest run so far"
    command = f"unsl forecast {study.address} --at {shlex.quote(target)} --ledger"
    return (NextRun(what=what, buys=buys + told(least), command=command),)


def _provenance(
    study: Study, analyses: Sequence[Analysis], records: Mapping[str, CellRecord] | None, command: str, asked: str
) -> Provenance:
    seen = {(one.trainer, one.version) for one in records.values()} if records else set()
    return Provenance(
        trainer=", ".join(f"{name} version {version}" for name, version in sorted(seen)) or study.trainer,
        command=command,
        split=study.split.held_out,
        asked=asked,
        question_changes=tuple(analyses[0].question_changes),
        axes={axis.name: listed(axis.values) + _grown_to(study, axis) for axis in study.axes},
        seeds=listed(study.seeds),
        only=study.only,
        fixed={name: exact(value) for name, value in study.fixed.items()},
        rules=dict(study.split.excluded),
        versions=versions(),
        data=_fingerprint([one.divided.rows for one in analyses]),
        source=_source(study),
    )


def _grown_to(study: Study, axis: Axis) -> str:
    """How far rounds have taken an axis beyond what its file says."""
    if study.growth is None or axis.name not in study.growth.axes:
        return ""
    found = [tuple(cell.config[name] for name in axis.fields) for cell in study.cells]
    largest = max(found) if len(axis.fields) > 1 else max(found)[0]
    return f", grown to {listed((largest,))}" if largest > max(axis.values) else ""


def _fingerprint(tasks: Sequence[Any]) -> str:
    """Of the measurements that take part, whatever order they come in."""
    import pandas

    rows = pandas.concat(tasks) if len(tasks) > 1 else tasks[0]
    names = sorted(name for name in rows if name not in ("seconds", "replicate"))
    hashes = np.sort(pandas.util.hash_pandas_object(rows[names], index=False).to_numpy())
    return hashlib.sha256(hashes.tobytes()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """The software that made the report, without importing it."""
    found = {"Python": platform.python_version()}
    for name in ("unsl", "numpy", "scipy", "torch", "matplotlib"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _module(study: Study) -> Any:
    """The file that defines the study, or None where it is not loaded."""
    for module in list(sys.modules.values()):
        names = vars(module) if isinstance(module, types.ModuleType) else {}
        tiers = names.get("TIERS")
        values = [names.get("STUDY"), *(tiers.values() if isinstance(tiers, dict) else ())]
        # What its rounds have added is in the store, not in the file.
        if any(isinstance(one, Study) and one == replace(study, grown=one.grown) for one in values):
            return module
    return None


def _docstring(study: Study) -> str:
    return ((getattr(_module(study), "__doc__", None)) or "").strip()


def _source(study: Study) -> str:
    path = getattr(_module(study), "__file__", None)
    try:
        return Path(path).read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError):
        return ""
