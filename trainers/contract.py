"""The contract between a trainer and whoever runs it.

A trainer turns configurations into points and knows nothing of grids, clusters or trackers. It is an object with

    name, version, Config            what it is called, which behaviour it has, and its frozen configuration class
    count(config)                    what a run costs, by arithmetic alone
    evaluation_steps(config)         the steps at which a run is measured, known before it starts
    cohort_key(config)               cells with equal keys may be trained together as one program
    train(configs, context)          the run itself: an iterator of points and ends

and that may have

    inference_budgets(config)        the inference steps that every measurement is made at, where these are not 1 alone
    threads(config)                  threads that a run on a GPU makes use of beside it, where one is not enough
    fitted(config, bytes)            the configuration with other execution fields (the parts of a batch), so that its
                                     counted bytes are no more than these; None where nothing makes it fit
    batch_parts(config)              the equal parts that a batch can be cut into, where a run can be spread over
                                     several devices: over as many as divide this number. See `Ranks`
    units                            what numbers count, by column: {"dataset_size": "tokens"}; others are not guessed
    example_configs                  a few small configurations of one cohort, which `unsl check-trainer` runs
    evaluation_fingerprint(config)   a short text that changes when what is measured on changes: the evaluation set,
                                     its preparation, the definition of a metric. A forecast is scored only against
                                     measurements on the set that it was made for. Without torch, as counting is

`Config` is a frozen dataclass with a `seed`; its fields are int, float, str or bool, each with a default and, in the
line below, a docstring that says what it is and in what unit.

Three rules are tested for every trainer, with all that is said below (trainers/battery.py). A cell's points do not
depend on the cohort it trained in (equal within float tolerance), nor on being interrupted and resumed (bitwise equal
on CPU), and one seed gives one result. Counting never imports the training framework, so that a plan of thousands of
cells answers at once.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np


class TrainerError(ValueError):
    """A trainer or its configuration cannot be used; the message says what to change."""


class Ending(StrEnum):
    """How a cell that ran to its end ended. Both are data."""

    DONE = "done"
    DIVERGED = "diverged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """What one run of a configuration costs, counted by arithmetic.

    Each trainer's docstring states its rule for FLOPs; one multiply-add is two FLOPs everywhere.
    """

    parameters: int
    """Trainable scalars, embeddings included."""
    parameters_without_embeddings: int
    """Trainable scalars outside input and output embeddings."""
    flops_per_step: float
    """Training FLOPs of one optimiser step (forward and backward)."""
    steps: int
    """Optimiser steps of the whole run."""
    bytes: int
    """Weights, gradients, optimiser state and what one part of a batch keeps, in bytes, on a GPU."""
    branch_steps: int = 0
    """Optimiser steps that a run takes beside these: those of branches that end in a point and lead no further."""

    @property
    def steps_taken(self) -> int:
        """Optimiser steps of the whole run, all its branches included."""
        return self.steps + self.branch_steps

    @property
    def flops(self) -> float:
        """Training FLOPs of the whole run, all its branches included. A point's own are those of its path alone."""
        return self.flops_per_step * self.steps_taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One measurement of one cell."""

    cell: int
    """Which of the configurations handed to `train`, by index."""
    step: int
    """Optimiser steps taken."""
    metrics: Mapping[str, float]
    """Every metric measured here, by name. Values are finite: a cell that has others ends as diverged."""
    examples: int
    """Training examples processed so far, repeats included, in the trainer's unit."""
    flops: float
    """Training FLOPs spent on this model so far: `step` steps of them, whatever other branches of its run took."""
    seconds: float
    """This cell's share of the device-seconds of training so far, interruptions and other branches included: a cohort's
    shares sum to its time, times the devices that it is spread over."""
    inference_steps: int = 1
    """Inference budget of this measurement: samples or steps an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """The last word on a cell. A cell that was asked to stop early has none: it is resumed later."""

    cell: int
    step: int
    ending: Ending = Ending.DONE


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The state of one cell after `step` optimiser steps, as plain arrays: nothing needs unpickling."""

    step: int
    seconds: float
    arrays: Mapping[str, np.ndarray] = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """The processes that train a cell together, each on a device of its own, as one of them sees it.

    How many they are is how a run is carried out, and no part of a cell: they share out the batch that the
    configuration names, and what comes of it is that of one process but for rounding. All of them run `train` and yield
    the same; what the first yields counts, and its context alone loads, saves and knows when to stop.
    """

    count: int = 1
    index: int = 0
    meeting: str = ""
    """A file that is not there yet, on a disk that all of them see, by which they find each other."""

    @property
    def alone(self) -> bool:
        return self.count == 1


class RankLost(RuntimeError):
    """A process could not go on since it cannot reach the others: one of them has another reason to tell."""


class Context(Protocol):
    """A trainer's only door to the outside. It may have `ranks`, where a cell is trained by several processes."""

    device: str
    """Where to train, as torch names it: `cpu`, `cuda`, `cuda:1`."""

    def load(self, cell: int) -> Checkpoint | None:
        """The newest sound checkpoint of a cell, or None to start from its beginning."""

    def checkpoint_due(self) -> bool:
        """True once whenever it is time to save every unfinished cell. Cheap: ask as often as every few steps."""

    def save(self, cell: int, checkpoint: Checkpoint) -> None:
        """Keep the state of a cell, atomically."""

    def should_stop(self) -> bool:
        """True when the run must end soon: save every unfinished cell and return. Cheap."""


@runtime_checkable
class Trainer(Protocol):
    """See the module's docstring. `Config` is a frozen dataclass with a `seed`, a docstring under every field."""

    name: ClassVar[str]
    version: ClassVar[int]
    Config: ClassVar[type]

    def count(self, config: Any) -> Counts: ...

    def evaluation_steps(self, config: Any) -> Sequence[int]: ...

    def cohort_key(self, config: Any) -> Hashable: ...

    def train(self, configs: Sequence[Any], context: Context) -> Iterator[Point | End]: ...


def field_types(config: type) -> dict[str, type]:
    """The type of every field of a configuration class, however its annotations are written. Raises TrainerError."""
    kinds = {}
    for field_ in fields(config):
        kind = {"int": int, "float": float, "str": str, "bool": bool}.get(field_.type, field_.type)
        if kind not in (int, float, str, bool):
            shown = kind if isinstance(kind, str) else getattr(kind, "__name__", kind)
            raise TrainerError(
                f"field {field_.name} of {config.__name__} is annotated as {shown}; it must be int, float, str or bool"
            )
        kinds[field_.name] = kind
    return kinds


def inference_budgets(trainer: Trainer, config: Any) -> tuple[int, ...]:
    """Inference steps of the points that a run has at every evaluation step: what the trainer says, or 1 alone."""
    says = getattr(trainer, "inference_budgets", None)
    return tuple(says(config)) if says else (1,)


def evaluation_fingerprint(trainer: Trainer, config: Any) -> str:
    """What the trainer says of the evaluation set of a run; empty where it says nothing (the default)."""
    says = getattr(trainer, "evaluation_fingerprint", None)
    return str(says(config)) if says else ""


HEADROOM = 1.15
"""What a run may take over what is counted or measured: fragmentation, a larger evaluation batch."""


def fitted(trainer: Trainer, config: Any, bytes: int) -> Any | None:
    """The configuration as the trainer carries it out with so many bytes, or None where they are too few."""
    says = getattr(trainer, "fitted", None)
    if says:
        return says(config, bytes)
    return config if trainer.count(config).bytes <= bytes else None


def spreads(trainer: Trainer, config: Any, devices: int) -> bool:
    """Whether a run can be spread over so many devices: one always, several where they divide its `batch_parts`."""
    says = getattr(trainer, "batch_parts", None)
    return devices == 1 or says is not None and says(config) % devices == 0


THREADS = "UNSL_THREADS"
"""In the environment: the CPU cores that are reserved for the run of this process."""


def threads(trainer: Trainer, config: Any) -> int:
    """Threads that a run on a GPU makes use of: what the trainer says, or one."""
    says = getattr(trainer, "threads", None)
    return max(1, int(says(config))) if says else 1


def reserved_threads() -> int:
    """How many threads this process may run: the cores that are reserved for it, or all where nobody says."""
    return int(os.environ.get(THREADS, 0)) or os.cpu_count() or 1


def units(trainer: Trainer) -> Mapping[str, str]:
    """What the numbers in a column count, in the plural, for the columns of which the trainer says it."""
    return getattr(trainer, "units", {})


def check_config(config: Any, **rules: tuple[bool, str]) -> None:
    """Raise one `TrainerError` that lists every broken rule of a configuration.

    `rules` maps a field's name to (is it acceptable, what it must be).
    """
    broken = [f"{name} = {getattr(config, name)!r} must be {must}" for name, (ok, must) in rules.items() if not ok]
    if broken:
        raise TrainerError("; ".join(broken))
