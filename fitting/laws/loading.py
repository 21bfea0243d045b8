"""A law of the user's own: `my_law.py:LAW`, or `package.module:LAW` for a file below the current folder.

The file is imported under a private name, so that a folder of the user's may hold packages called `fitting` or
`trainers`: theirs are read by path, and `from fitting import Form` inside the file still means this package. A law's
file may import its neighbours with `from . import helper`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from ..errors import FittingError
from ..law import Law


def is_address(text: str) -> bool:
    """Whether the text says where a law is, rather than what it is called."""
    return ":" in text


def load_law(address: str) -> Law:
    """The law at `FILE.py:NAME` or `package.module:NAME`, both seen from the current folder; a module that is not a
    file there is looked for among the installed ones.

    Raises FittingError that says what is missing: the file, the name in it, or a part of what a law promises.
    """
    where, _, name = address.rpartition(":")
    if not where or not name:
        raise FittingError(f"{address!r} is not the address of a law; write FILE.py:NAME, as in my_law.py:LAW")
    module = _module_of(where)
    if not hasattr(module, name):
        laws = [key for key, value in vars(module).items() if not key.startswith("_") and not _lacks(value)]
        raise FittingError(f"{where} has no {name!r}; the laws in it are: {', '.join(laws) or 'none'}")
    law = getattr(module, name)
    missing = _lacks(law)
    if missing:
        raise FittingError(
            f"{address} is not a law: it lacks {' and '.join(missing)}. A law has a name (text) and a function "
            "forms(frame); give an instance, not the class"
        )
    return law


def _lacks(law: object) -> list[str]:
    """What of a law's promises an object does not keep."""
    if isinstance(law, type):
        return ["an instance"]
    lacks = [] if isinstance(getattr(law, "name", None), str) else ["name"]
    return lacks if callable(getattr(law, "forms", None)) else [*lacks, "forms"]


def _module_of(where: str) -> ModuleType:
    file = Path(where) if where.endswith(".py") else Path(*where.split(".")).with_suffix(".py")
    if not file.is_file() and not where.endswith(".py"):
        file = Path(*where.split(".")) / "__init__.py"
    try:
        if file.is_file():
            return _import_file(file.resolve(), depth=0 if where.endswith(".py") else where.count("."))
        if where.endswith(".py"):
            raise FittingError(f"there is no file {where} (seen from {Path.cwd()})")
        return importlib.import_module(where)
    except FittingError:
        raise
    except ModuleNotFoundError as error:
        if error.name and where.startswith(error.name):
            raise FittingError(
                f"there is no module {where}: no such file below {Path.cwd()}, and none is installed"
            ) from error
        raise FittingError(f"{where} cannot be imported: {error}") from error
    except Exception as error:  # whatever a user's file raises
        raise FittingError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error


def _import_file(file: Path, *, depth: int) -> ModuleType:
    """Import a file as a module of a private package whose root lies `depth` folders above it.

    The package's name holds a hash of the root and of the file's time of change: two users' files never meet, and a
    file that was edited is read again.
    """
    stem = file.parent if file.name == "__init__.py" else file.with_suffix("")
    root = stem.parents[depth]
    mark = hashlib.sha256(f"{root}|{file}|{file.stat().st_mtime_ns}".encode()).hexdigest()[:16]
    private = f"_unsl_law_{mark}"
    if private not in sys.modules:
        package = ModuleType(private)
        package.__path__ = [str(root)]
        sys.modules[private] = package
        # The import system caches what a folder holds; a file that is as new as this one may not be in the cache.
        importlib.invalidate_caches()
    return importlib.import_module(".".join([private, *stem.relative_to(root).parts]))
