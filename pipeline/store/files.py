"""Files that are either whole or absent, on a local disk or behind any fsspec URL (`s3://bucket/studies`, `gs://...`)."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pipeline.errors import PipelineError

T = TypeVar("T")
PARTIAL = ".partial"
"""Ending of local files that are being written, or that their writer died over."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""What file systems without hard links say."""


@dataclass(frozen=True)
class Folder:
    """A folder on a local disk or in an object store. Paths are relative to it, with `/`.

    All methods raise OSError where the disk or the network fails.
    """

    url: str

    @cached_property
    def _located(self):
        import fsspec

        try:
            filesystem, root = fsspec.url_to_fs(str(self.url), use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise PipelineError(f"the store {self.url} cannot be reached: {error}") from error
        return filesystem, root.rstrip("/")

    @cached_property
    def is_local(self) -> bool:
        """Whether paths are those of this machine's own filesystem."""
        return "file" in self._located[0].protocol

    def path(self, name: str = "") -> str:
        """The full path of a file, as its filesystem names it."""
        root = self._located[1]
        return f"{root}/{name}" if name else root

    def folder(self, name: str) -> Folder:
        return Folder(f"{str(self.url).rstrip('/')}/{name}")

    def sizes(self, under: str = "", *, ending: str = "") -> dict[str, int]:
        """Files and folders directly in a subfolder, in the order of their names, with their bytes; none where it does
        not exist."""
        if self.is_local:
            try:
                with os.scandir(self.path(under)) as entries:
                    found = {entry.name: entry.stat().st_size for entry in entries if entry.name.endswith(ending)}
            except FileNotFoundError:  # Also where an entry went between being listed and being asked.
                return self.sizes(under, ending=ending) if os.path.isdir(self.path(under)) else {}
            return dict(sorted(found.items()))
        try:
            entries = self._ask(lambda files: files.ls(self.path(under), detail=True))
        except FileNotFoundError:
            return {}
        found = {entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry["size"] or 0 for entry in entries}
        return {name: found[name] for name in sorted(found) if name and name.endswith(ending)}

    def names(self, under: str = "", *, ending: str = "") -> list[str]:
        """Sorted names of what is directly in a subfolder; none where it does not exist."""
        return list(self.sizes(under, ending=ending))

    def names_below(self, under: str) -> list[str]:
        """Every file below a subfolder, however deep, relative to this folder."""
        found = self._ask(lambda files: files.find(self.path(under)))
        return [name[len(self.path()) + 1 :] for name in sorted(found)]

    def exists(self, name: str) -> bool:
        """Of a small file: it is read, which is one request, where asking for it is two."""
        try:
            self.read(name)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        return self._ask(lambda files: files.cat_file(self.path(name)))

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Several files at once, in parallel where they are remote. Those that do not exist are left out."""
        return self._read_parts({name: (None, None) for name in names})

    def read_ends(self, sizes: Mapping[str, int], count: int) -> dict[str, bytes]:
        """The last `count` bytes of files of known sizes, likewise."""
        return self._read_parts({name: (max(size - count, 0), size) for name, size in sizes.items()})

    def _read_parts(self, parts: Mapping[str, tuple[int | None, int | None]]) -> dict[str, bytes]:
        if self.is_local:
            found = {name: _read_here(self.path(name), start or 0) for name, (start, _) in parts.items()}
            return {name: data for name, data in found.items() if data is not None}
        if not parts:
            return {}
        starts, ends = (list(bounds) for bounds in zip(*parts.values(), strict=True))
        paths = [self.path(name) for name in parts]
        answers = self._ask(lambda files: files.cat_ranges(paths, starts, ends, on_error="return"))
        whole: dict[str, bytes] = {}
        for (name, (start, end)), answer in zip(parts.items(), answers, strict=True):
            if not isinstance(answer, bytes) and not isinstance(answer, FileNotFoundError):
                answer = self._again(name, start, end)
            if isinstance(answer, bytes):
                whole[name] = answer
        return whole

    def _again(self, name: str, start: int | None, end: int | None) -> bytes | None:
        """By itself, what failed when it was asked for with others."""
        try:
            return self._ask(lambda files: files.cat_file(self.path(name), start=start, end=end))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file, durably and atomically: a reader sees the old content or the new, never a part."""
        path = self.path(name)
        if not self.is_local:
            # Object stores show an object only once its upload is complete.
            self._ask(lambda files: files.pipe_file(path, data))
            return
        partial = _write_partial(path, data)
        try:
            os.replace(partial, path)
        except OSError:
            _unlink(partial)
            raise
        _sync_folder(os.path.dirname(path))

    def create(self, name: str, data: bytes) -> bool:
        """Write a whole file only if it does not exist yet; False if it does. One of several writers gets True.

        The data should differ between writers: where an answer was lost on the way, they tell whose file it is.
        """
        path = self.path(name)
        if self.is_local:
            return _create_here(path, data)
        try:
            self._ask(lambda files: files.pipe_file(path, data, mode="create"))
        except FileExistsError:
            return self.read(name) == data
        return True

    def remove(self, *names: str) -> None:
        """Remove files; what does not exist is no error."""
        if self.is_local:
            for name in names:
                _unlink(self.path(name))
        elif names:
            try:
                self._ask(lambda files: files.rm([self.path(name) for name in names]))
            except FileNotFoundError:
                if len(names) > 1:
                    for name in names:
                        self.remove(name)

    def remove_below(self, *names: str) -> None:
        """Remove everything in subfolders, and them."""
        for name in names:
            self.remove(*self.names_below(name))
            if self.is_local:
                _remove_empty(self.path(name))

    def sweep(self, *under: str) -> None:
        """Remove what killed writers left half written."""
        for folder in under:
            self.remove(*(f"{folder}/{name}".lstrip("/") for name in self.names(folder, ending=PARTIAL)))

    def _ask(self, request: Callable[..., T]) -> T:
        """A request to the filesystem. Those of object stores ask again by themselves where they get no answer."""
        filesystem, _ = self._located
        try:
            return request(filesystem)
        except OSError:
            raise
        except Exception as error:  # Whatever a client of an object store raises.
            raise OSError(f"{type(error).__name__}: {error}") from error


def _read_here(path: str, start: int) -> bytes | None:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return None


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
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        # Then the name is taken first and filled after: still by one alone.
        try:
            with open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
    finally:
        _unlink(partial)
    _sync_folder(os.path.dirname(path))
    return True


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove_empty(path: str) -> None:
    for folder, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)
        except OSError:  # Someone has just written into it.
            continue


def _sync_folder(folder: str) -> None:
    """Make a rename durable: it lives in the folder's own data."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
