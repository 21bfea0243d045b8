"""A study's finished cells as one Parquet file, to be carried from one store to another."""

from __future__ import annotations

from pipeline.errors import OutsideError, PipelineError
from pipeline.store import points
from pipeline.store.columns import grown
from pipeline.store.reader import Store

NAME = "00000001"
"""Before the file of any driver, so that whatever a driver writes later speaks for a cell."""


def pack(store: Store) -> bytes:
    """Every finished cell with its points, each once. Raises PipelineError where no cell has finished."""
    view = store.look()
    if not view.footers:
        raise PipelineError(f"the store {store.folder.path()} has no finished cells to pack")
    found = store.folder.read_all(f"{points.FOLDER}/{name}" for name in view.footers)
    files = {path.rpartition("/")[2]: data for path, data in found.items()}
    if files.keys() != view.footers.keys():
        raise OutsideError(f"the store {store.folder.path()} is being written: pack it when its driver has ended")
    return points.merge(files, view.footers, grown(footer.schema for footer in view.footers.values()))[0]


def unpack(store: Store, data: bytes) -> bool:
    """Put packed cells into a store that has none yet. Returns whether it did. Raises OSError."""
    if store.records():
        return False
    return store.folder.create(f"{points.FOLDER}/{NAME}{points.ENDING}", data)
