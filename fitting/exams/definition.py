"""What an exam is: a public table, a rule that splits it into small and large scale, and where the table comes from.

An exam is a value that was fixed before any law was scored on it. Its tables are not part of this project: they are
read from a folder that the user names, one sub-folder a source, and only to evaluate.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fitting import FittingError, Metric, Table, parse_expression

DOMAINS = ("vision", "language", "reinforcement", "other")
HALVES = ("development", "report")
# Fewer fitted rows than this leave nothing to choose a structure by.
_FEWEST_ROWS = 4


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a table comes from. folder: its name under the data folder. url: where its authors publish it. paper: arXiv
    number, "" if there is none."""

    folder: str
    title: str
    url: str
    paper: str = ""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """One table and one split.

    file: under the source's folder. column: the metric's column; metric: its direction and ceiling. inputs and
    hyperparameters: name in the fitted table -> column of the file. levels: for columns of text, name in the fitted
    table -> (column of the file, value of each text). rows: which rows of the file belong to the exam ("" = all).
    held_out: which of those are predicted, never fitted; an expression over the columns of the file and the names
    above. half: "development" (constants of the procedure may be chosen on it) or "report" (looked at only to report).
    """

    name: str
    domain: str
    source: Source
    file: str
    column: str
    inputs: Mapping[str, str]
    held_out: str
    metric: Metric = field(default_factory=Metric)
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, tuple[str, Mapping[str, float]]] = field(default_factory=dict)
    rows: str = ""
    half: str = "development"

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS or self.half not in HALVES:
            raise FittingError(f"exam {self.name!r}: domain is one of {DOMAINS} and half one of {HALVES}")

    @property
    def one_input(self) -> bool:
        return len(self.inputs) + len(self.hyperparameters) + len(self.levels) == 1

    @property
    def kind(self) -> str:
        return "one input" if self.one_input else "several inputs"


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """An exam's rows. excluded: how many rows each rule left out."""

    fitted: Table
    held_out: Table
    excluded: Mapping[str, int]


def error_rate(name: str, classes: int) -> Metric:
    """An error that guessing bounds."""
    return Metric(name=name, ceiling=1.0 - 1.0 / classes)


def load(exam: Exam, data: str | Path) -> Sheet:
    """Read an exam's table. Raises FittingError if the folder, the file or a column is missing, or the split is
    empty."""
    raw = read_columns(table_path(exam, data))
    rows = {len(values) for values in raw.values()}.pop()
    columns = dict(raw)
    wanted = {**exam.inputs, **exam.hyperparameters}
    for name, column in {**wanted, "the metric": exam.column}.items():
        if column not in raw:
            raise FittingError(
                f"exam {exam.name}: {table_path(exam, data)} has no column {column!r} (for {name}); it has "
                f"{', '.join(raw)}. Fetch the table again from {exam.source.url}"
            )
    for name, column in wanted.items():
        columns[name] = _numeric(raw[column], rows)
    for name, (column, values) in exam.levels.items():
        if column not in raw:
            raise FittingError(f"exam {exam.name}: {table_path(exam, data)} has no column {column!r} (for {name})")
        columns[name] = np.array([values.get(str(text), np.nan) for text in raw[column]])
    y = exam.metric.to_loss(_numeric(raw[exam.column], rows))

    keep = parse_expression(exam.rows).evaluate(columns) if exam.rows else np.ones(rows, bool)
    named = [*wanted, *exam.levels]
    matrix = np.column_stack([*(columns[name] for name in named), y])
    excluded = {}
    for rule, bad in (
        ("empty or not finite", ~np.isfinite(matrix).all(1)),
        ("not positive", (np.nan_to_num(matrix, nan=1.0) <= 0).any(1)),
    ):
        excluded[rule] = int((keep & bad).sum())
        keep = keep & ~bad
    repeated = np.ones(rows, bool)
    # Files that list a curve more than once would count its points more than once.
    repeated[np.flatnonzero(keep)[np.unique(matrix[keep], axis=0, return_index=True)[1]]] = False
    excluded["listed twice"] = int((keep & repeated).sum())
    keep = keep & ~repeated
    held = parse_expression(exam.held_out).evaluate(columns) & keep
    small = keep & ~held
    if small.sum() < _FEWEST_ROWS or not held.any():
        raise FittingError(
            f"exam {exam.name}: the split leaves {int(small.sum())} rows to fit and {int(held.sum())} to predict; "
            f"{table_path(exam, data)} is not the table that the exam was written for"
        )
    whole = Table(
        inputs={name: np.where(keep, columns[name], 1.0) for name in [*exam.inputs, *exam.levels]},
        hyperparameters={name: np.where(keep, columns[name], 1.0) for name in exam.hyperparameters},
        y=np.where(keep, y, 1.0),
        ceiling=exam.metric.ceiling,
    )
    return Sheet(fitted=whole.where(small), held_out=whole.where(held), excluded=MappingProxyType(excluded))


def table_path(exam: Exam, data: str | Path) -> Path:
    """The exam's file. Raises FittingError that says where to download what is missing."""
    folder = Path(data)
    if not folder.is_dir():
        raise FittingError(
            f"there is no folder {folder}; give the folder that holds one sub-folder a source with --data"
        )
    path = folder / exam.source.folder / exam.file
    if not path.is_file():
        raise FittingError(
            f"exam {exam.name}: {path} is missing; the table is published at {exam.source.url}"
            + (f" (arXiv {exam.source.paper})" if exam.source.paper else "")
        )
    return path


def read_columns(path: Path) -> dict[str, np.ndarray]:
    """A CSV as columns that cannot be written to: numbers where every entry is one or empty (nan), else text."""
    return dict(_read(path, path.stat().st_mtime_ns))


@lru_cache(maxsize=4)  # many exams read one file
def _read(path: Path, changed: int) -> dict[str, np.ndarray]:
    with open(path, newline="", encoding="utf-8") as stream:
        lines = list(csv.reader(stream))
    if len(lines) < 2:
        raise FittingError(f"{path} has no rows")
    header, body = lines[0], [line for line in lines[1:] if line]
    short = next((k for k, line in enumerate(body, start=2) if len(line) != len(header)), None)
    if short is not None:
        raise FittingError(f"{path}, line {short}: {len(header)} entries expected; the file may be cut off")
    columns = {name: _parsed([line[k] for line in body]) for k, name in enumerate(header)}
    for values in columns.values():
        values.setflags(write=False)
    return columns


def _parsed(texts: list[str]) -> np.ndarray:
    try:
        return np.array([float(text) if text.strip() else np.nan for text in texts])
    except ValueError:
        return np.array(texts)


def _numeric(values: np.ndarray, rows: int) -> np.ndarray:
    """Numbers as they are; a column with text in it holds nan where it does."""
    if values.dtype.kind == "f":
        return values
    numbers = np.full(rows, np.nan)
    for k, text in enumerate(values):
        try:
            numbers[k] = float(text)
        except ValueError:
            continue
    return numbers
