"""The head of a report: what was asked, what was run, what came of it and what it cost."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping

import numpy as np

from pipeline.analysis import Analysis
from pipeline.report.drawing import exact, tidy
from pipeline.report.page import enumeration, listed, safe, table
from pipeline.store import CellRecord
from pipeline.study import Study


def headline(
    analysis: Analysis, findings: str, records: Mapping[str, CellRecord] | None, date: datetime.date | None
) -> str:
    """The study, the answer (`findings`, in HTML), the facts and the grid."""
    study = analysis.study
    question, _, words_of_its_own = _docstring(study).partition("\n")
    held_out = 0 if analysis.divided.held_out is None else len(analysis.divided.held_out)
    facts = {
        "Cells": _cells(analysis, records),
        "Points": f"{len(analysis.divided.fitted):,} fitted, {held_out:,} held out" + _excluded(analysis),
        "Held out": f"<code>{safe(study.split.held_out)}</code>",
        "Metric": _metric(study),
        "Spent": _spent(analysis, records),
        "Trainer": _trainer(analysis, records),
    }
    if analysis.question_changes:
        facts["Question"] = safe("; ".join(analysis.question_changes))
    if study.only:
        facts["Only cells with"] = f"<code>{safe(study.only)}</code>"
    if study.fixed:
        facts["Fixed"] = ", ".join(f"{safe(name)} {safe(exact(value))}" for name, value in study.fixed.items())
    if date is not None:
        facts["Date"] = date.isoformat()
    reads = f"The laws read {enumeration(study.inputs)} as scale"
    if study.hyperparameters:
        reads += f", and {enumeration(study.hyperparameters)} as what has an optimum"
    varied = [(safe(axis.name), listed(axis.values)) for axis in study.axes] + [("seed", listed(study.seeds))]
    return "\n".join(
        (
            f"<header><p class=kicker>Scaling study</p><h1>{safe(study.name)}</h1>",
            f"<p class=question>{safe(question)}</p>" if question else "",
            "</header>",
            findings,
            "<dl>" + "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts.items()) + "</dl>",
            "<h3>What was varied</h3>",
            table(("axis", "values"), varied),
            f"<p class=note>{reads}.</p>",
            "<details><summary>The study in its own words</summary>"
            f"<pre>{safe(words_of_its_own.strip())}</pre></details>"
            if words_of_its_own.strip()
            else "",
        )
    )


def _cells(analysis: Analysis, records: Mapping[str, CellRecord] | None) -> str:
    planned = len(analysis.study.cells)
    if records is None:
        return f"{analysis.divided.rows['cell'].nunique():,} of {planned:,} gave points that take part"
    states = Counter(records[cell.id].status for cell in analysis.study.cells if cell.id in records)
    known = [
        f"{states.pop('done', 0):,} done",
        f"{states.pop('diverged', 0):,} diverged",
        f"{states.pop('failed', 0):,} failed",
    ]
    missing = planned - sum(1 for cell in analysis.study.cells if cell.id in records)
    known += [f"{count:,} {safe(state)}" for state, count in sorted(states.items())]
    return f"{', '.join(known)}{f', {missing:,} not run' if missing else ''}, of {planned:,}"


def _excluded(analysis: Analysis) -> str:
    if not analysis.divided.excluded:
        return "; none excluded"
    rules = []
    for rule, count in analysis.divided.excluded.items():
        text = analysis.study.split.excluded.get(rule)
        rules.append(f"{count:,} {safe(rule)}" + (f" (<code>{safe(text)}</code>)" if text else ""))
    return f"; excluded: {', '.join(rules)}"


def _metric(study: Study) -> str:
    metric = study.metric
    facts = [f"{metric.direction} is better"]
    if metric.floor:
        facts.append(f"floor {metric.floor:g}")
    if metric.best is not None:
        facts.append(f"best {metric.best:g}")
    if metric.ceiling is None:
        facts.append("ceiling (the worst value) unknown, so it is fitted")
    else:
        worst = float(metric.from_loss(np.array(metric.ceiling)))
        facts.append("no ceiling" if np.isinf(metric.ceiling) else f"ceiling (the worst value) {exact(worst)}")
    return f"{safe(metric.name)}: {', '.join(facts)}"


def _spent(analysis: Analysis, records: Mapping[str, CellRecord] | None) -> str:
    if records is None:
        ends = analysis.divided.rows.groupby("cell")[["flops", "seconds"]].max().sum()
        flops, seconds = float(ends["flops"]), float(ends["seconds"])
    else:
        cells = [records[cell.id] for cell in analysis.study.cells if cell.id in records]
        flops, seconds = sum(one.flops_per_step * one.step for one in cells), sum(one.seconds for one in cells)
    hours = f"{seconds / 3600:,.3g} hours" + (f" ({seconds:.3g} seconds)" if seconds < 3600 else "")
    return f"{tidy(f'{flops:.3g}')} training FLOPs, {hours} of training"


def _trainer(analysis: Analysis, records: Mapping[str, CellRecord] | None) -> str:
    if records is None:
        seen = set(zip(analysis.divided.rows["trainer"], analysis.divided.rows["version"], strict=True))
    else:
        seen = {(one.trainer, one.version) for one in records.values()}
    devices = sorted({one.device for one in records.values() if one.device}) if records else []
    text = ", ".join(f"{name} version {version}" for name, version in sorted(seen)) or analysis.study.trainer
    return safe(text + (f", on {', '.join(devices)}" if devices else ""))


def _docstring(study: Study) -> str:
    """Of the file that defines the study, or nothing where there is none."""
    try:
        module = importlib.import_module(f"experiments.{study.name.replace('-', '_')}")
    except Exception:  # whatever is wrong with that file, the report does without it
        return ""
    return (module.__doc__ or "").strip() if getattr(module, "STUDY", None) == study else ""


def versions() -> str:
    """The software that made the report, without importing it."""
    parts = [f"Python {platform.python_version()}"]
    for name in ("unsl", "numpy", "scipy", "torch", "matplotlib"):
        try:
            parts.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return safe(", ".join(parts))
