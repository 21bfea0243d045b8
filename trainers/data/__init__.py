"""Data that is addressed by index: the batch of a step is a function of the seed and the step, so that a resumed run
sees exactly what an uninterrupted one would have seen. `subset.py` says which examples a run may see, `order.py` in
what order it reads them, `cache.py` where prepared data are kept; the data themselves are in the room of their domain.
"""

from __future__ import annotations

from trainers.data.cache import cache_folder, keeping
from trainers.data.order import EpochOrder
from trainers.data.subset import nested_subset

__all__ = ["EpochOrder", "cache_folder", "keeping", "nested_subset"]
