"""The plan: every cell of a study as done, to resume, new or changed, with what it will cost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipeline.plan.cost import Throughput, Timing
from pipeline.plan.devices import CPU, REFERENCE, Device, device_named, device_shown
from pipeline.store import CellRecord, Store
from pipeline.study import Cell, PlannedPoints, Study


class State(StrEnum):
    """What running the study would do with a cell."""

    DONE = "done"
    DIVERGED = "diverged"
    FAILED = "failed"
    HELD = "held"
    RESUME = "resume"
    NEW = "new"
    CHANGED = "changed"

    @property
    def finished(self) -> bool:
        return self in (State.DONE, State.DIVERGED)


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """One line of the plan."""

    cell: Cell
    state: State
    reason: str
    """Why a cell counts as changed, failed or held; empty otherwise."""
    predicted_seconds: float
    """Seconds of the whole cell on one worker."""
    points: PlannedPoints
    reached: int = 0
    """The last step that the store has."""

    @property
    def remaining_seconds(self) -> float:
        """Predicted seconds of what is left of it."""
        return 0.0 if self.state.finished else self.predicted_seconds * (1 - self.reached / self.cell.counts.steps)

    @property
    def split(self) -> str:
        """Where the points go that take part."""
        if self.points.fitted and self.points.held_out:
            return "both"
        return "fitted" if self.points.fitted else "held out" if self.points.held_out else "excluded"

    def to_json(self) -> dict[str, Any]:
        counts = self.cell.counts
        return {
            "cell": self.cell.id,
            "state": str(self.state),
            "reason": self.reason,
            "config": dict(self.cell.config),
            "parameters": counts.parameters,
            "parameters_without_embeddings": counts.parameters_without_embeddings,
            "steps": counts.steps,
            "points": self.cell.points,
            "inference_budgets": list(self.cell.inference_budgets),
            "flops": counts.flops,
            "bytes": counts.bytes,
            "predicted_seconds": self.predicted_seconds,
            "split": self.split,
            **dataclasses.asdict(self.points),
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All cells of a study against its store."""

    study: Study
    cells: Sequence[PlannedCell]
    throughput: Throughput
    device: Device
    """What the seconds are predicted for."""
    device_assumed: bool
    """Whether nobody said which type of GPU it is, and none was seen."""
    left_behind: Sequence[CellRecord]
    """Cells of the store that the grid no longer has. They stay there and take no part in fits."""
    question_changes: Sequence[str] = ()
    """What of the question was changed after something had been measured, in words."""

    @property
    def takes_anothers_place(self) -> bool:
        """Whether cells changed and not one of the grid was ever run: all that was measured would be left behind.

        Once some of it was run, what was measured before is history, and the grid may grow.
        """
        states = {one.state for one in self.cells}
        return State.CHANGED in states and states <= {State.CHANGED, State.NEW}

    def counts(self) -> dict[str, int]:
        """How many cells are in each state; states without cells are left out."""
        return {str(state): n for state in State if (n := sum(one.state is state for one in self.cells))}

    def states(self) -> str:
        """`12 done, 3 new`: how many cells are in each state, for a person."""
        return ", ".join(f"{count} {state}" for state, count in self.counts().items())

    @property
    def points(self) -> PlannedPoints:
        """Of all cells, those that are done too."""
        return sum((one.points for one in self.cells), PlannedPoints())

    def to_run(self, *, retry_failed: bool, carry_on: bool = True) -> list[PlannedCell]:
        """The cells that a run takes up: those that failed and those that are held only if asked for."""
        skipped = {State.DONE, State.DIVERGED} | (set() if retry_failed else {State.FAILED})
        skipped |= set() if carry_on else {State.HELD}
        return [one for one in self.cells if one.state not in skipped]

    def to_json(self) -> dict[str, Any]:
        remaining = [one for one in self.cells if not one.state.finished]
        return {
            "study": self.study.name,
            "trainer": self.study.trainer,
            "throughput": "measured" if self.throughput.cells else "assumed",
            "device": self.device.name,
            "device_assumed": self.device_assumed,
            "states": self.counts(),
            "left_behind": len(self.left_behind),
            "question_changes": list(self.question_changes),
            "points": dataclasses.asdict(self.points) | {"judged_later": list(self.study.judged_later)},
            "inference_budgets": sorted({budget for one in self.cells for budget in one.cell.inference_budgets}),
            "total_flops": sum(one.cell.counts.flops for one in self.cells),
            "remaining_flops": sum(one.cell.counts.flops for one in remaining),
            "remaining_seconds": sum(one.remaining_seconds for one in remaining),
            "cells": [one.to_json() for one in self.cells],
        }


def make_plan(study: Study, store: Store, device: Device | str = "") -> Plan:
    """Compare a study with its store, on a device or a type of device (default: what the study needs, or has used).

    Reads the store, changes nothing. Raises PipelineError for a type of device that is not known.
    """
    records = store.records()
    target, assumed = _device(study, records.values(), device)
    here = {cell.id for cell in study.cells}
    left_behind = [record for record in records.values() if record.id not in here]
    throughput = Throughput.fit(_timings(study, records.values(), target), target)
    why_changed = _changes(study, [cell for cell in study.cells if cell.id not in records], left_behind)
    planned = []
    for cell in study.cells:
        state, reason = _state(records.get(cell.id), why_changed.get(cell.id, ""))
        planned.append(
            PlannedCell(
                cell=cell,
                state=state,
                reason=reason,
                predicted_seconds=throughput.seconds(cell),
                points=study.planned_points(cell),
                reached=records[cell.id].step if cell.id in records else 0,
            )
        )
    return Plan(
        study=study,
        cells=planned,
        throughput=throughput,
        device=target,
        device_assumed=assumed,
        left_behind=left_behind,
        question_changes=store.question_changes(study),
    )


def _device(study: Study, records: Iterable[CellRecord], asked: Device | str) -> tuple[Device, bool]:
    """What a plan is for, and whether that is no more than an assumption."""
    if asked:
        return (device_named(asked) if isinstance(asked, str) else asked), False
    used = [_used(record) for record in records if record.points]
    if study.device != "auto":
        used = [device for device in used if device.is_gpu is (study.device == "gpu")]
    if used:
        return max(used, key=used.count), False
    return (REFERENCE, True) if study.device == "gpu" else (CPU, False)


def _used(record: CellRecord) -> Device:
    return CPU if record.device == "cpu" else device_shown(record.gpu or "gpu", record.gpu_bytes)


def _timings(study: Study, records: Iterable[CellRecord], device: Device) -> list[Timing]:
    """Of finished cells on a device. A record does not say how many steps went into branches: where the grid has any,
    cells that left it are not counted."""
    branch_steps = {cell.id: cell.counts.branch_steps for cell in study.cells}
    branched = any(branch_steps.values())
    return [
        Timing(flops_per_step=r.flops_per_step, steps=r.step + branch_steps.get(r.id, 0), seconds=r.seconds)
        for r in records
        if r.finished and _used(r).name == device.name and (r.id in branch_steps or not branched)
    ]


def _state(record: CellRecord | None, why_changed: str) -> tuple[State, str]:
    if record is None:
        return (State.CHANGED, why_changed) if why_changed else (State.NEW, "")
    if record.status == "failed":
        return State.FAILED, f"{record.failure}: {record.message}"
    if record.status == "held":
        return State.HELD, record.message
    return (State(record.status), "") if record.finished else (State.RESUME, "")


def _changes(study: Study, unknown: Sequence[Cell], left_behind: Sequence[CellRecord]) -> dict[str, str]:
    """For each new cell that replaces one left behind: what differs, as `learning_rate 0.0003 -> 0.001`.

    A cell replaces another if they agree in all but one field, the trainer's version, or the fields that the study
    fixes. A grown grid changes nothing: its old cells are not left behind.
    """
    if not unknown or not left_behind:
        return {}
    names = [{name} for name in unknown[0].config] + [{"version"}, set(study.fixed) | {"version"}]
    reasons: dict[str, str] = {}
    for ignored in names:
        old = {_without(ignored, record.trainer, record.version, record.config): record for record in left_behind}
        for cell in unknown:
            match = old.get(_without(ignored, cell.trainer, cell.version, cell.config))
            if match is not None and cell.id not in reasons:
                before, after = {**match.config, "version": match.version}, {**cell.config, "version": cell.version}
                differing = [name for name in after if before.get(name) != after[name]]
                reasons[cell.id] = ", ".join(f"{name} {before.get(name)} -> {after[name]}" for name in differing)
    return reasons


def _without(ignored: set[str], trainer: str, version: int, config: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in config.items() if name not in ignored}
    return json.dumps([trainer, None if "version" in ignored else version, kept], sort_keys=True)
