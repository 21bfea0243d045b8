"""The truth about a study: which cells have run and what they measured, written by one driver and read by anyone.

Plain Parquet and JSON, by names that no two writers share, rather than a table format made for several of them. Delta
Lake (`deltalake` 1.6) was measured for `points/` (benchmarks/results/store_delta.txt): 141 MB more to install; after a
hundred commits, another takes 58 ms on a disk and 1.3 s in an object store, where a file of ours takes 8 ms and 9 ms;
and whoever opens the folder itself, as pandas does, finds every row twice once the table was compacted. It would carry
the points alone: lease, journal and checkpoints would still be files of ours.
"""

from pipeline.store.events import Ended, Event, Failed, Failure, Held, Measured, Used, from_json, to_json
from pipeline.store.files import Folder
from pipeline.store.history import CellRecord, History, Standing
from pipeline.store.lease import Holder
from pipeline.store.pack import pack, unpack
from pipeline.store.question import Asked
from pipeline.store.reader import Changes, Store
from pipeline.store.rounds import Round, close_round, mark_reported, open_round
from pipeline.store.saved_fit import SavedFit
from pipeline.store.writer import Writer

__all__ = [
    "Asked",
    "CellRecord",
    "Changes",
    "Ended",
    "Event",
    "Failed",
    "Failure",
    "Folder",
    "Held",
    "History",
    "Holder",
    "Measured",
    "Round",
    "SavedFit",
    "Standing",
    "Store",
    "Used",
    "Writer",
    "close_round",
    "from_json",
    "mark_reported",
    "open_round",
    "pack",
    "to_json",
    "unpack",
]
