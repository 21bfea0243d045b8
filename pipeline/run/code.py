"""A person's own code on its way to the workers: the Python files beside a trainer, as they were when the study began.

Workers on the driver's machine, or on a disk that they share, use the files where they are. Elsewhere, and where a file
was edited meanwhile, they use a copy: all cells of a run are trained by the same code.
"""

from __future__ import annotations

import functools
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from trainers import TRAINERS

MOST_BYTES = 20 * 2**20
"""More Python than this is no trainer with its helpers: the folder is somebody's home, or holds an environment."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """The Python files of a folder and of the packages in it, and the trainer that is among them."""

    trainer: str
    """Its address, seen from the folder."""
    folder: str
    """Where the files are on the driver's machine: a full path."""
    files: Mapping[str, bytes]
    """Content by path, relative to the folder."""

    @classmethod
    def of_trainer(cls, name: str, base: str) -> Code | None:
        """What a worker needs to load a trainer, seen from the folder `base`; None for one that is installed.

        Raises PipelineError where the folder holds far more than a trainer.
        """
        root, (location, _, attribute) = Path(base or ".").resolve(), name.rpartition(":")
        if name in TRAINERS:
            return None
        if location.endswith(".py"):
            file = (root / Path(location).expanduser()).resolve()
            return cls(trainer=f"{file.name}:{attribute}", folder=str(file.parent), files=_files(file.parent))
        first = root / location.split(".")[0]
        if first.with_suffix(".py").is_file() or (first / "__init__.py").is_file():
            return cls(trainer=name, folder=str(root), files=_files(root))
        return None

    def here(self) -> str:
        """A folder on this machine that holds these files."""
        return self.folder if _unchanged(self.folder, self.files) else _copy(pickle.dumps(self.files)).name


def _files(folder: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for path in _python_files(folder):
        files[str(path.relative_to(folder))] = path.read_bytes()
        if sum(map(len, files.values())) > MOST_BYTES:
            raise PipelineError(
                f"{folder} holds more than {MOST_BYTES // 2**20} MB of Python files, and those beside a trainer travel "
                "to the workers: give the trainer a folder of its own"
            )
    return files


def _python_files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.glob("*.py") if path.is_file())
    for package in sorted(folder.glob("*/__init__.py")):
        yield from _python_files(package.parent)


def _unchanged(folder: str, files: Mapping[str, bytes]) -> bool:
    paths = {Path(folder, name): content for name, content in files.items()}
    return all(path.is_file() and path.read_bytes() == content for path, content in paths.items())


@functools.cache
def _copy(pickled: bytes) -> tempfile.TemporaryDirectory:
    """Written once a process, and gone with it."""
    folder = tempfile.TemporaryDirectory(prefix="unsl-code-")
    for name, content in pickle.loads(pickled).items():
        path = Path(folder.name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
