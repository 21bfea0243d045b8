"""The files of `points/`: Parquet, with the cells themselves, those without points too, in each file's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import PipelineError
from pipeline.store.columns import fitted, rows
from pipeline.store.history import CellRecord, History

FOLDER, ENDING = "points", ".parquet"
CELLS = b"unsl_cells"
"""Key of a file's metadata: its cells as JSON."""
BATCH_ROWS = 2**16
"""That are in memory beside the frame that they become part of."""
FOOTER_BYTES = 2**17
"""What is fetched first of a file's end: the metadata of a hundred cells. Where they are more, the rest follows."""


@dataclass(frozen=True, kw_only=True)
class Footer:
    """What a file says of itself."""

    records: Mapping[str, CellRecord]
    schema: Any
    rows: int


def write_cells(histories: Sequence[History]) -> tuple[bytes, Footer]:
    """A file of cells that have ended."""
    records = {history.description["id"]: history.record() for history in histories}
    return _write(rows(histories, list(records.values())), records)


def _write(table, records: Mapping[str, CellRecord]) -> tuple[bytes, Footer]:
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    with pyarrow.parquet.ParquetWriter(sink, table.schema) as writer:
        writer.write_table(table)
        # Not as metadata of the schema, of which the file would hold a second copy.
        writer.add_key_value_metadata({CELLS: json.dumps([vars(record) for record in records.values()])})
    return sink.getvalue().to_pybytes(), Footer(records=records, schema=table.schema, rows=len(table))


def read_footer(name: str, end: bytes) -> Footer | None:
    """From the last bytes of a file; None where they do not reach back to the footer's beginning.

    Raises PipelineError for a file that is not ours.
    """
    import pyarrow
    import pyarrow.parquet

    if end[-4:] == b"PAR1" and len(end) < footer_bytes(end):
        return None
    try:
        found = pyarrow.parquet.read_metadata(pyarrow.BufferReader(end))
        cells = json.loads((found.metadata or {})[CELLS])
    except (pyarrow.ArrowException, KeyError, ValueError) as error:
        raise PipelineError(f"{FOLDER}/{name} was not written by unsl: move it out of the store") from error
    return Footer(
        records={cell["id"]: CellRecord(**cell) for cell in cells},
        schema=found.schema.to_arrow_schema().remove_metadata(),
        rows=found.num_rows,
    )


def footer_bytes(end: bytes) -> int:
    """How many of the last bytes of a Parquet file its footer takes."""
    return int.from_bytes(end[-8:-4], "little") + 12


def read_rows(data: bytes):
    """The rows of a file."""
    import pyarrow
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data)).read().replace_schema_metadata(None)


def iterate_rows(data: bytes, columns: Sequence[str], *, words: Sequence[str]) -> Iterator[Any]:
    """Some columns of a file, a table of `BATCH_ROWS` after another; in `words`, each text once and then by number."""
    import pyarrow
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data), read_dictionary=list(words))
    for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
        yield pyarrow.table(batch).replace_schema_metadata(None)


def only(table, cells: Sequence[str]):
    """The rows of some cells."""
    import pyarrow
    import pyarrow.compute

    return table.filter(pyarrow.compute.is_in(table["cell"], pyarrow.array(list(cells), pyarrow.string())))


def merge(files: Mapping[str, bytes], footers: Mapping[str, Footer], schema) -> tuple[bytes, Footer]:
    """Several files as one in a schema, each cell once: as the latest of them has it."""
    import pyarrow

    records: dict[str, CellRecord] = {}
    tables = []
    for name in sorted(files, reverse=True):
        new = {cell: record for cell, record in footers[name].records.items() if cell not in records}
        table = read_rows(files[name])
        tables.append(fitted(table if len(new) == len(footers[name].records) else only(table, list(new)), schema))
        records |= new
    return _write(pyarrow.concat_tables(reversed(tables)), records)
