"""Names of files that grow in number: they carry their writer, and their order is the order of writing.

`e00000003-00000012-5f3a9c1e` is the twelfth file of the third driver. No two drivers have the same number, so no file
is ever written over another's; and the random end keeps them apart where a store cannot even promise that. Files from
before drivers were numbered (`00000042`) come first.

Files that are many are merged. A merged file is later than those whose content it holds. From that follows what keeps
a store whole whoever writes to it, a driver included that was paused, has lost its lease and does not know yet: *a file
is removed only in favour of a later one that holds all that it holds.* Whatever several drivers remove in whatever
order, the last file that holds a cell is removed by none of them.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FAN = 8
"""Files that are merged at once, at least: fewer would mean more work, more would mean more files to open."""


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


def to_merge(sizes: Mapping[str, int], *, largest: int) -> list[str]:
    """The newest files that have become too many, in their order; none if none have.

    `sizes` are files by name, with their rows or bytes; those above `largest` stay as they are. No file is merged with
    others that are smaller even together: so each row is written again only into a file at least twice as large, and of
    n files written there remain about log n.
    """
    ordered = sorted(sizes)
    most = total = 0
    for count, name in enumerate(reversed(ordered), start=1):
        most, total = max(most, sizes[name]), total + sizes[name]
        if sizes[name] > largest:
            break
        if count >= FAN and 2 * most <= total:
            return ordered[-count:]
    return []
