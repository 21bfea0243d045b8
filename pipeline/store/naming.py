"""Names of files that grow in number: they carry their writer, and their order is the order of writing.

`e00000003-00000012-5f3a9c1e` is the twelfth file of the third driver. No two drivers have the same number, so no file
is ever written over another's; and the random end keeps them apart where a store cannot even promise that. Files from
before drivers were numbered (`00000042`) come first.

Files that are many are merged. A merged file is later than those whose content it holds, and it names them. From that
follows what keeps a store whole whoever writes to it, a driver included that was paused, has lost its lease and does
not know yet: *a file is removed only in favour of a later one that holds all that it holds.* Whatever several drivers
remove in whatever order, the last file that holds a cell is removed by none of them.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FAN = 8
"""Files of about one size that become one: a store of n files' worth keeps about 8 log8 n of them, and writes each row
about log8 n times."""


@dataclass(kw_only=True)
class Names:
    """The names that one driver gives."""

    epoch: int
    token: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def series(self) -> str:
        """What all of them begin with."""
        return f"e{self.epoch:08d}"

    def next(self, ending: str) -> str:
        return f"{self.series}-{next(self._numbers):08d}-{self.token}{ending}"


def to_merge(sizes: Mapping[str, int], *, smallest: int, largest: int) -> list[str]:
    """The files that have become too many of about one size, in their order; none if none have.

    `sizes` are files by name, with their rows or bytes. Always the newest in a row: the merged file takes their place.
    Below `smallest` all count as one size; those above `largest` stay as they are.
    """
    ordered = sorted(sizes)
    rank = {name: _rank(sizes[name], smallest) for name in ordered}
    for most in sorted(set(rank.values())):
        count = 0
        while count < len(ordered) and rank[ordered[-1 - count]] <= most and sizes[ordered[-1 - count]] <= largest:
            count += 1
        if count >= FAN:
            return ordered[-count:]
    return []


def _rank(size: int, smallest: int) -> int:
    rank = 0
    while size > smallest:
        size, rank = size // FAN, rank + 1
    return rank
