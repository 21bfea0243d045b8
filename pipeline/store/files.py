"""Files that are either whole or absent, on a local disk or behind any fsspec URL (`s3://bucket/studies`, `gs://...`)."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, TypeVar

from pipeline.errors import PipelineError

T = TypeVar("T")
PARTIAL = ".partial"
"""Ending of local files that are being written, or that their writer died over."""


@dataclass(frozen=True)
class Folder:
    """A folder on a local disk or in an object store. Paths are relative to it, with `/`."""

    url: str

    @cached_property
    def _located(self):
        import fsspec

        try:
            filesystem, root = fsspec.url_to_fs(str(self.url), use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise PipelineError(f"the store {self.url} cannot be reached: {error}") from error
        return filesystem, root.rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether paths are those of this machine's own filesystem."""
        return "file" in self._located[0].protocol

    def path(self, name: str = "") -> str:
        """The full path of a file, as its filesystem names it."""
        root = self._located[1]
        return f"{root}/{name}" if name else root

    def folder(self, name: str) -> Folder:
        return Folder(f"{str(self.url).rstrip('/')}/{name}")

    def names(self, under: str = "", *, ending: str = "") -> list[str]:
        """Sorted names of the files directly in a subfolder; none where it does not exist."""
        filesystem, _ = self._located
        try:
            entries = filesystem.ls(self.path(under), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for entry in entries if (name := entry.rsplit("/", 1)[-1]).endswith(ending) and name)

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        return self._located[0].cat_file(self.path(name))

    def with_open(self, name: str, reader: Callable[[BinaryIO], T]) -> T:
        """What `reader` makes of the open file; only what it asks for is fetched. Raises FileNotFoundError."""
        with self._located[0].open(self.path(name), "rb") as file:
            return reader(file)

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file, durably and atomically: a reader sees the old content or the new, never a part."""
        filesystem, path = self._located[0], self.path(name)
        if not self.is_local:
            # Object stores show an object only once its upload is complete.
            filesystem.pipe_file(path, data)
            return
        partial = _write_partial(path, data)
        try:
            os.replace(partial, path)
        except OSError:
            _unlink(partial)
            raise
        _sync_folder(os.path.dirname(path))

    def create(self, name: str, data: bytes) -> bool:
        """Write a whole file only if it does not exist yet; False if it does. One of several writers gets True."""
        path = self.path(name)
        if self.is_local:
            return _create_here(path, data)
        try:
            with self._located[0].open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def remove(self, *names: str) -> None:
        """Remove files or whole subfolders; what does not exist is no error."""
        filesystem, _ = self._located
        for name in names:
            try:
                filesystem.rm(self.path(name), recursive=True)
            except FileNotFoundError:
                continue

    def sweep(self, *under: str) -> None:
        """Remove what killed writers left half written. For the one who is now the only writer of these subfolders."""
        for folder in under:
            self.remove(*(f"{folder}/{name}".lstrip("/") for name in self.names(folder, ending=PARTIAL)))


def _write_partial(path: str, data: bytes) -> str:
    """The data in a file beside its later name, and on the disk."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = f"{path}.{uuid.uuid4().hex[:8]}{PARTIAL}"
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        _unlink(partial)
        raise
    return partial


def _create_here(path: str, data: bytes) -> bool:
    """A link to a complete file appears at once or not at all, and never in place of another."""
    if os.path.exists(path):
        return False
    partial = _write_partial(path, data)
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    finally:
        _unlink(partial)
    _sync_folder(os.path.dirname(path))
    return True


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _sync_folder(folder: str) -> None:
    """Make a rename durable: it lives in the folder's own data."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
