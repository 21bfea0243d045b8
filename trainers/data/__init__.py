"""Data that is addressed by index: the batch of a step is a function of the seed and the step, so that a resumed run
sees exactly what an uninterrupted one would have seen. `order.py` says in what order a finite set is read, `cache.py`
where prepared data are kept; the data themselves are in the room of their domain.
"""

from __future__ import annotations

from trainers.data.cache import cache_folder, keeping
from trainers.data.order import EpochOrder

__all__ = ["EpochOrder", "cache_folder", "keeping"]
