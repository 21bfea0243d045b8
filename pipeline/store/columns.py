"""A cell's points as rows of a table, and back: one schema for all files of a study, which only ever grows.

Columns come in this order: the cell and its trainer, its configuration and counts, the measurement, the metrics. Every
file of `points/` has all the columns that any has, in the same types; where a cell has no value there is none. So
readers that know nothing of each other (pandas, DuckDB, Polars) find the same rows, whichever file they open first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.store.events import Measured
from pipeline.store.history import CellRecord, History
from trainers import Point

WHOLE, REAL, TEXT, TRUTH = "int64", "double", "string", "bool"
HEAD = {"cell": TEXT, "status": TEXT, "trainer": TEXT, "version": WHOLE}
MEASURED = {"step": WHOLE, "inference_steps": WHOLE, "examples": WHOLE, "flops": REAL, "seconds": REAL}
KEY = ["cell", "step", "inference_steps"]
"""What tells the points of a study apart."""


def part_of(schema, names: Sequence[str]):
    """Some of a schema's columns, in the order of the names; one that it lacks is left out."""
    import pyarrow

    return pyarrow.schema([schema.field(name) for name in dict.fromkeys(names) if name in schema.names])


def schema_of(types: Mapping[str, str]):
    import pyarrow

    makers = {WHOLE: pyarrow.int64, REAL: pyarrow.float64, TEXT: pyarrow.string, TRUTH: pyarrow.bool_}
    return pyarrow.schema([(name, makers[kind]()) for name, kind in types.items()])


def grown(schemas: Iterable[Any]):
    """The one schema that holds the columns of all: of equal types, or of the type that both can be turned into."""
    types: dict[str, str] = {}
    for schema in schemas:
        for field in schema:
            kind = _kind(field.type)
            if kind is not None:
                types[field.name] = _wider(types.get(field.name, kind), kind)
            else:
                types.setdefault(field.name, REAL)  # Nothing but missing values so far, as old files have it.
    return schema_of(types)


def texts(schema) -> list[str]:
    """The columns that hold text."""
    return [field.name for field in schema if _kind(field.type) == TEXT]


def fitted(table, schema):
    """A table in a schema that has grown out of its own."""
    import pyarrow

    if table.schema.equals(schema):
        return table
    columns = []
    for field in schema:
        if field.name in table.schema.names:
            columns.append(_cast(table[field.name], field.type))
        else:
            columns.append(pyarrow.nulls(len(table), field.type))
    return pyarrow.table(columns, schema=schema)


def in_types(table, schema):
    """A table's own columns in the types of a schema; text that is there by number stays so."""
    import pyarrow

    def turned(name: str):
        column = table[name]
        return column if pyarrow.types.is_dictionary(column.type) else _cast(column, schema.field(name).type)

    return pyarrow.table({name: turned(name) for name in table.column_names})


def rows(histories: Sequence[History], records: Sequence[CellRecord]):
    """The points of cells as an Arrow table, with a schema even where there are none."""
    import pyarrow

    types, counts = dict(HEAD), [len(history.measured) for history in histories]
    for record in records:
        for name, value in record.columns.items():
            types[name] = _wider(types.get(name, kind := _kind_of(value)), kind)
    types |= MEASURED
    events = [event for history in histories for event in history.measured.values()]
    metrics = dict.fromkeys(name for event in events for name in event.point.metrics)
    types |= dict.fromkeys(metrics, REAL)
    schema = schema_of(types)

    def constant(values: Iterable[Any]) -> list[Any]:
        return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]

    values: dict[str, list[Any]] = {name: constant(record.columns.get(name) for record in records) for name in types}
    values["cell"] = constant(record.id for record in records)
    values |= {name: constant(getattr(record, name) for record in records) for name in ("status", "trainer", "version")}
    values |= {name: [getattr(event.point, name) for event in events] for name in MEASURED}
    values |= {name: [event.point.metrics.get(name) for event in events] for name in metrics}
    return pyarrow.table([_array(values[field.name], field.type) for field in schema], schema=schema)


def measured_in(record: CellRecord, table) -> Iterator[Measured]:
    """The points of one cell from its rows, a pandas DataFrame, in the order of their steps."""
    import pandas

    kinds = {name: int if kind == WHOLE else float for name, kind in MEASURED.items()}
    metrics = [name for name in table if name not in HEAD | MEASURED and name not in record.columns]
    for row in table.sort_values(["step", "inference_steps"]).to_dict("records"):
        # What other cells measured and this one did not is no number here.
        found = {name: float(row[name]) for name in metrics if pandas.notna(row[name])}
        facts = {name: kind(row[name]) for name, kind in kinds.items()}
        yield Measured(cell=record.id, point=Point(cell=0, metrics=found, **facts))


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, int):
        return WHOLE if -(2**63) <= value < 2**63 else REAL
    return REAL if isinstance(value, float) else TEXT


def _kind(of: Any) -> str | None:
    import pyarrow.types as types

    if types.is_null(of):
        return None
    if types.is_boolean(of):
        return TRUTH
    if types.is_integer(of):
        return WHOLE
    return REAL if types.is_floating(of) else TEXT


def _wider(one: str, other: str) -> str:
    if one == other:
        return one
    return TEXT if TEXT in (one, other) else REAL if REAL in (one, other) else WHOLE


def _array(values: list[Any], of: Any):
    import pyarrow

    if pyarrow.types.is_string(of):
        values = [value if value is None or isinstance(value, str) else _said(value) for value in values]
    elif pyarrow.types.is_floating(of):
        values = [None if value is None else float(value) for value in values]
    elif pyarrow.types.is_integer(of):
        values = [None if value is None else int(value) for value in values]
    return pyarrow.array(values, of)


def _cast(column, to: Any):
    import pyarrow

    if column.type.equals(to):
        return column
    if pyarrow.types.is_string(to) and not pyarrow.types.is_null(column.type):
        values = column.to_pylist()
        return pyarrow.array([None if value is None else _said(value) for value in values], to)
    if pyarrow.types.is_floating(to) and pyarrow.types.is_boolean(column.type):
        column = column.cast(pyarrow.int64())
    return column.cast(to, safe=False)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
