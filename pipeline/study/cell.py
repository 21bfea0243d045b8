"""A cell: one training run, its identity, what it costs and which points it will have."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainers import Counts, Trainer, TrainerError, field_types, inference_budgets

Literal = str | int | float | bool
COUNTED = ("parameters", "parameters_without_embeddings")
"""Columns of what the trainer counts."""
MEASURED = ("step", "inference_steps", "examples", "flops", "seconds")
"""Columns of every point."""
RESERVED = {"cell", "status", "trainer", "version", *MEASURED, "in_grid", "held_out", "replicate"}
"""Columns of every table, so that nothing else may be called so; the last three are made when laws are fitted."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training run: a full configuration with its seed, its identity and what it costs."""

    id: str
    """Hash of the trainer's name and version and of the literals of the configuration that decide the result."""
    trainer: str
    version: int
    config: Mapping[str, Literal]
    counts: Counts
    evaluation_steps: tuple[int, ...]
    inference_budgets: tuple[int, ...]
    """Inference steps of the points at every evaluation step."""
    cohort_key: Any = field(repr=False)

    @classmethod
    def build(cls, trainer: Trainer, settings: Mapping[str, Literal]) -> Cell:
        """The cell of a trainer with the given fields, the others at their defaults. Raises TrainerError."""
        kinds = field_types(trainer.Config)
        _check_names("configuration has a field", kinds, RESERVED | {"loss"})
        made = trainer.Config(**{name: _as_type(name, kinds[name], value) for name, value in settings.items()})
        config = {name: getattr(made, name) for name in kinds}
        counts = trainer.count(made)
        for name in COUNTED:
            if config.get(name, getattr(counts, name)) != getattr(counts, name):
                raise TrainerError(
                    f"{name} = {config[name]} in the configuration, and {getattr(counts, name)} as the trainer counts "
                    "them: both would be one column. Call the field otherwise"
                )
        return cls(
            id=identity(trainer.name, trainer.version, _identifying(trainer.Config, config)),
            trainer=trainer.name,
            version=trainer.version,
            config=config,
            counts=counts,
            evaluation_steps=tuple(trainer.evaluation_steps(made)),
            inference_budgets=inference_budgets(trainer, made),
            cohort_key=trainer.cohort_key(made),
        )

    @property
    def points(self) -> int:
        """Points of the whole run."""
        return len(self.evaluation_steps) * len(self.inference_budgets)

    @property
    def columns(self) -> dict[str, Literal]:
        """What the table says of every point of this cell: configuration and counts."""
        return {**self.config, **{name: getattr(self.counts, name) for name in COUNTED}}


def point_columns(cell: Cell) -> dict[str, np.ndarray]:
    """The columns of a cell's points that are known before it runs, the budgets of a step in turn; shapes (points,)."""
    steps = np.repeat(np.asarray(cell.evaluation_steps, np.float64), len(cell.inference_budgets))
    return {
        "step": steps,
        "inference_steps": np.tile(np.asarray(cell.inference_budgets, np.float64), len(cell.evaluation_steps)),
        "examples": steps * cell.config.get("batch_size", 1),
        "flops": steps * cell.counts.flops_per_step,
    }


def check_metrics(names: Iterable[str], config: Iterable[str]) -> None:
    """Raise TrainerError where what a trainer measures would hide another column of the table."""
    _check_names("trainer measures", names, RESERVED | {*COUNTED, *config})


def _check_names(who: str, names: Iterable[str], taken: Iterable[str]) -> None:
    """Names of columns must differ by more than capitals, which not every reader of Parquet tells apart."""
    columns = {name.lower(): name for name in taken}
    for name in names:
        if not name.strip() or not name.isprintable():
            raise TrainerError(f"the {who} {name!r}, which is no name for a column")
        if (other := columns.setdefault(name.lower(), name)) != name or name in taken:
            raise TrainerError(
                f"the {who} '{name}', but '{other}' is another column of the table, and one would hide the other: "
                "call it otherwise"
            )


def _identifying(kind: type, config: Mapping[str, Literal]) -> dict[str, Literal]:
    """The part of a configuration that makes a cell another cell.

    A trainer marks fields with `dataclasses.field(default=..., metadata={...})`:

        {"execution": True}    says how a run is carried out and changes nothing in its result, as the parts that a
                               batch is cut into: it counts as if it were at its default
        {"added": True}        came after the trainer's first runs, which had its default without knowing: at the
                               default, the cell is the one that it was before
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    kept: dict[str, Literal] = {}
    for name, value in config.items():
        marks, default = fields[name].metadata, fields[name].default
        if marks.get("execution"):
            value = default
        if not (marks.get("added") and value == default):
            kept[name] = value
    return kept


def identity(trainer: str, version: int, config: Mapping[str, Literal]) -> str:
    """Sixteen hexadecimal digits that stay the same wherever and whenever the cell is run."""
    text = json.dumps([trainer, version, dict(config)], sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def show_config(config: Mapping[str, Literal]) -> str:
    """`width 64, learning_rate 0.003`: how a configuration is written for a person."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in config.items()
    )


def _as_type(name: str, kind: type, value: Literal) -> Literal:
    """The literal as its field's type, so that 1 and 1.0 name the same cell."""
    if isinstance(value, np.generic):
        value = value.item()
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    exact = kind is float and numeric or kind is int and numeric and math.isfinite(value) and value == int(value)
    if not exact and type(value) is not kind:
        raise TrainerError(f"{name} = {value!r} must be {kind.__name__}")
    if kind is float and not math.isfinite(value):
        raise TrainerError(f"{name} = {value!r} must be finite")
    return kind(value)
