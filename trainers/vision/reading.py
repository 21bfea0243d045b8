"""Prepared pictures on their way to the device: held there where they fit, or read from disk ahead of the training.

Shards are mapped into memory, so that reading a picture is copying it, at the speed of memory where the system still
has the file's pages. A GPU takes thousands of pictures a second and must never wait for one: batches are copied ahead
of it, in several threads, which run outside Python's lock, into memory that the GPU reads by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from trainers.contract import reserved_threads

AHEAD = 4
"""Batches that are read ahead at most: one that is slow to come is made up for, and memory stays small."""
MOST_READERS = 8
"""Threads that read: of pictures of 256 pixels, each copies more in a second than a GPU learns from in one."""
CHUNK = 64
"""Pictures that one thread copies at a time, so that all of them work on the batch that is needed first."""


def on_gpu(device) -> bool:
    """Whether a device is a GPU, as torch names it."""
    return str(device).startswith("cuda")


class Pictures:
    """Some pictures of a part, on the device where they fit and mapped from disk otherwise."""

    def __init__(self, shards: dict[int, np.ndarray], places: np.ndarray, device, *, digests: list[bytes]):
        """`places` has the shard's number and the row in it of every picture, (2, pictures)."""
        import torch

        self._pixels = {number: np.asarray(shard["picture"]) for number, shard in shards.items()}
        self._places, self.device = places, torch.device(device)
        self.count = places.shape[1]
        self.digest = hashlib.sha256(b"".join(digests)).digest()
        """Changes where any picture or label of its shards does."""
        self.labels = np.empty(self.count, np.int64)
        for number, mine in self._by_shard():
            self.labels[mine] = shards[number]["label"][places[1, mine]]
        self._shape = next(iter(self._pixels.values())).shape[1:]
        self._held = None
        self._threads: ThreadPoolExecutor | None = None
        self._ahead: dict[bytes, tuple] = {}
        """Batches that are being read, by their rows."""
        shape = (self.count, *self._shape)
        # Half of what is free: the rest is for the model.
        if on_gpu(self.device) and 2 * np.prod(shape) < torch.cuda.mem_get_info(self.device)[0]:
            self._held = torch.empty(shape, dtype=torch.uint8, device=self.device)
            for number, mine in self._by_shard():
                part = torch.from_numpy(self._pixels[number][places[1, mine]])
                self._held[torch.from_numpy(mine).to(self.device)] = part.to(self.device)
        elif on_gpu(self.device):
            self.read_ahead(min(MOST_READERS, reserved_threads()))

    def _by_shard(self) -> Iterator[tuple[int, np.ndarray]]:
        """Every shard's number and which of the pictures are in it."""
        order = np.argsort(self._places[0], kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(self._places[0, order])) + 1):
            yield int(self._places[0, mine[0]]), mine

    def read_ahead(self, threads: int) -> None:
        """From now on, read in so many threads what is said to be asked for next."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="pictures")

    @property
    def is_read_ahead(self) -> bool:
        """Whether anything comes of telling what is asked for next."""
        return self._threads is not None

    def take(self, rows: np.ndarray, following: Sequence[np.ndarray] = ()):
        """Pictures (rows, side, side, 3), uint8, and labels (rows,), both on the device.

        `following` are the rows to be asked for next, batch by batch: they are read in the meantime, where they have to
        be read at all.
        """
        import torch

        labels = torch.from_numpy(self.labels[rows]).to(self.device, non_blocking=True)
        if self._held is not None:
            return self._held[torch.from_numpy(rows).to(self.device, non_blocking=True)], labels
        reading = self._ahead.pop(rows.tobytes(), None) or self._begin(rows)
        # What is not asked for any more, as where a branch has led back to its trunk, is forgotten.
        self._ahead = {
            key: self._ahead.get(key) or self._begin(next_rows)
            for next_rows in (following if self._threads else ())
            if (key := next_rows.tobytes())
        }
        found, copies = reading
        for copy in copies:
            copy.result()
        return found.to(self.device, non_blocking=True), labels

    def _begin(self, rows: np.ndarray) -> tuple:
        """Memory of the host that the pictures are copied into, and the copies that are under way."""
        import torch

        found = torch.empty((len(rows), *self._shape), dtype=torch.uint8, pin_memory=on_gpu(self.device))
        target, copies = found.numpy(), list[Future]()
        if self._threads is None:
            self._copy(rows, target)
            return found, copies
        for start in range(0, len(rows), CHUNK):
            chunk = slice(start, start + CHUNK)
            copies.append(self._threads.submit(self._copy, rows[chunk], target[chunk]))
        return found, copies

    def _copy(self, rows: np.ndarray, target: np.ndarray) -> None:
        for place, (shard, row) in enumerate(self._places[:, rows].T.tolist()):
            target[place] = self._pixels[shard][row]
