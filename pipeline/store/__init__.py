"""The truth about a study: which cells have run and what they measured, written by one driver and read by anyone."""

from pipeline.store.events import Ended, Event, Failed, Failure, Measured, Used, from_json, to_json
from pipeline.store.files import Folder
from pipeline.store.saved_fit import SavedFit
from pipeline.store.store import CellRecord, Store, Writer

__all__ = [
    "CellRecord",
    "Ended",
    "Event",
    "Failed",
    "Failure",
    "Folder",
    "Measured",
    "SavedFit",
    "Store",
    "Used",
    "Writer",
    "from_json",
    "to_json",
]
