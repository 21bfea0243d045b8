"""An entry of the ledger: what was forecast at one moment, from one set of fitted rows, by every law at every target.

One file holds one entry, as canonical JSON (sorted keys, no blanks, numbers in full) with the hash of all the rest in
it. It is a forecast occasion and not a single number: a study's thousands of forecasts are made together, so they are
there together or not at all, whatever happens while they are written, in one request to an object store.

Columns are lists of equal length. Values are in units of the metric. The predictive distribution of ln(loss) is a
Student's t around ln(loss of the median) with `scale` and `freedom`; the intervals are its quantiles.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from fitting import Metric
from pipeline.errors import PipelineError

FORMAT = 1
LEVELS = (0.5, 0.9)
"""Of the intervals that an entry holds: one that is missed half of the time, one that is seldom missed."""


@dataclass(frozen=True, kw_only=True)
class LawForecast:
    """What one law says of an entry's targets."""

    law: str
    status: str
    """How its fit ended."""
    equation: str
    """The formula, with its coefficients by name."""
    coefficients: Mapping[str, float]
    fit: str
    """Name of the fit in the store's `fits/`, which gives the same numbers again."""
    median: Sequence[float]
    low_50: Sequence[float]
    high_50: Sequence[float]
    low_90: Sequence[float]
    high_90: Sequence[float]
    scale: Sequence[float]
    """Of the distribution of ln(loss)."""
    freedom: Sequence[float] | float
    """Its degrees of freedom, one number where they are the same at every target."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """See the module's docstring."""

    number: int = 0
    """Place in the ledger, from 1; 0 while it is not in one."""
    previous: str = ""
    """Hash of the entry before; empty for the first."""
    time: str
    """UTC, as `2026-11-22T10:15:00.250000Z`, by the clock of the machine that forecast."""
    about: str
    """The study's name, or the table's file."""
    question: Mapping[str, Any]
    """`metric`, `inputs`, `hyperparameters`, `split`, `excluded`; where there are tasks, `tasks`, the columns that name
    one, and `task`, their values here."""
    rows: int
    """How many rows were fitted."""
    fingerprint: str
    """Of those rows."""
    ranges: Mapping[str, Sequence[float]]
    """For each column that laws read, the least and the largest value fitted."""
    assumed: Mapping[str, Any]
    """Constants that were not measured: the metric's floor, best and worst value, where they were given."""
    code: Mapping[str, str]
    """Versions of what computed it."""
    keys: Sequence[str]
    """Columns of the targets by which a measurement of one is known."""
    targets: Mapping[str, Sequence[Any]]
    """Every column of the targets that is known."""
    evaluation: Sequence[str]
    """For each target, the fingerprint of its evaluation set; empty where the trainer gives none."""
    blind: Sequence[bool]
    """For each target: no measurement of it was in the store."""
    laws: Sequence[LawForecast] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Laws that say nothing, with the reason."""
    format: int = FORMAT

    def __len__(self) -> int:
        """Targets."""
        return len(self.blind)

    @property
    def forecasts(self) -> int:
        """One for each law and target."""
        return len(self.laws) * len(self)

    @property
    def metric(self) -> Metric:
        ceiling = self.question["metric"]["ceiling"]
        return Metric(**{**self.question["metric"], "ceiling": float(ceiling) if ceiling is not None else None})

    @property
    def digest(self) -> str:
        """Of the question."""
        return digest(self.question)

    @property
    def law_names(self) -> set[str]:
        """Of those too that say nothing."""
        return {law.law for law in self.laws} | self.failed.keys()

    def says(self, *, question: str, fingerprint: str, laws: Iterable[str]) -> set[tuple]:
        """The targets, by their keys, of which it says what these laws foretell from these rows; none where others."""
        same = self.digest == question and self.fingerprint == fingerprint and self.law_names >= set(laws)
        return self.target_keys() if same else set()

    def target_keys(self) -> set[tuple]:
        return set(zip(*(self.targets[name] for name in self.keys), strict=True))

    def beyond(self) -> dict[str, np.ndarray]:
        """For each column that laws read, by what factor each target lies outside the fitted range; 1 inside."""
        return {name: outside(np.asarray(self.targets[name], float), *ends) for name, ends in self.ranges.items()}

    def chained(self, *, number: int, previous: str) -> Entry:
        return replace(self, number=number, previous=previous)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_bytes(self) -> bytes:
        """Canonical JSON with the hash in it."""
        body = self.to_json()
        return canonical({**body, "hash": hash_of(body)})

    @property
    def hash(self) -> str:
        return hash_of(self.to_json())

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple[Entry, str]:
        """An entry and its hash. Raises PipelineError where the bytes are not those that `to_bytes` wrote."""
        try:
            body = json.loads(data)
            stated = body.pop("hash")
            known = {one.name for one in fields(cls)}
            if body["format"] != FORMAT or body.keys() != known:
                raise PipelineError(f"is of format {body['format']}, and {FORMAT} is read: update unsl")
            if canonical({**body, "hash": hash_of(body)}) != data:
                raise PipelineError("was changed after it was written: its content has another hash")
            return cls(**{**body, "laws": tuple(LawForecast(**law) for law in body["laws"])}), stated
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PipelineError(f"is no entry of a ledger ({type(error).__name__}: {error})") from error


def outside(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """By what factor values lie outside [low, high], 1 inside; shape of `values`."""
    return np.maximum(np.maximum(values / high, low / values), 1.0)


def canonical(value: Any) -> bytes:
    """One text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def hash_of(value: Any) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def digest(question: Mapping[str, Any]) -> str:
    return hash_of(question)[:16]
