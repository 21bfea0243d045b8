"""Rows of many files as one DataFrame, of which each column is made once and at its final length.

Ten million rows in memory twice, as a table and as a frame, are more than a laptop has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

KINDS = {"int64": np.int64, "double": np.float64, "bool": np.bool_}
"""Of columns, as Arrow names them; text is kept as objects, of which equal ones are one."""


class Frame:
    """Tables one after another, in a schema that all of their columns are part of."""

    def __init__(self, schema: Any, most: int):
        """most: as many rows as there may be."""
        self._rows = 0
        self._columns = {field.name: np.empty(most, KINDS.get(str(field.type), object)) for field in schema}

    def add(self, table: Any) -> None:
        """The next rows; a column that the table lacks is missing there."""
        end = self._rows + len(table)
        for name, whole in self._columns.items():
            part = _values(table[name]) if name in table.column_names else None
            if part is None or part.dtype != whole.dtype:
                whole = self._columns[name] = _room_for(whole, part)
            whole[self._rows : end] = np.nan if part is None else part
        self._rows = end

    def to_pandas(self) -> Any:
        import pandas

        if not self._rows:
            return pandas.DataFrame()
        series = {
            name: pandas.Series(whole[: self._rows], dtype=whole.dtype, copy=False)
            for name, whole in self._columns.items()
        }
        return pandas.DataFrame(series, copy=False)


def _values(column: Any) -> np.ndarray:
    """With what is missing as NaN: then whole numbers are real ones, and truths objects."""
    import pyarrow.types as types

    if types.is_dictionary(column.type):
        parts = [_looked_up(chunk) for chunk in column.chunks]
        return np.concatenate(parts) if parts else np.empty(0, object)
    if types.is_string(column.type):
        return _values(column.dictionary_encode())
    return column.to_numpy()


def _looked_up(chunk: Any) -> np.ndarray:
    words = np.array([*chunk.dictionary.to_pylist(), np.nan], dtype=object)
    return words[chunk.indices.fill_null(len(words) - 1).to_numpy(zero_copy_only=False)]


def _room_for(whole: np.ndarray, part: np.ndarray | None) -> np.ndarray:
    """A column that can hold more kinds of values than it could."""
    if part is None:
        return whole if whole.dtype.kind in "fO" else whole.astype(np.float64 if whole.dtype.kind == "i" else object)
    if {whole.dtype.kind, part.dtype.kind} == {"i", "f"}:
        return whole.astype(np.float64)
    return whole if whole.dtype.kind == "O" else whole.astype(object)
