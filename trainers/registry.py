"""Trainers by name: those of this package, those of an installed package, and those in a file of one's own.

    parity                      a name in `TRAINERS`
    package.module:NAME         an object in a module that Python finds
    folder/my_trainer.py:NAME   an object in a file; a relative path is relative to `base`

A file is loaded by its path, whatever it or its neighbours are called: a folder that holds packages named `trainers` or
`pipeline` shadows none of ours. It may import its neighbours, as `import helper` or `from . import helper`.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from trainers.contract import Trainer, TrainerError

TRAINERS = {
    "addition": "trainers.math:ADDITION",
    "language": "trainers.language:LANGUAGE",
    "modular": "trainers.math:MODULAR",
    "oracle": "trainers.oracle:ORACLE",
    "parity": "trainers.math:PARITY",
    "procgen": "trainers.procgen:PROCGEN",
    "vision": "trainers.vision:VISION",
}
FILES = "unsl_files_"
"""How the packages begin that files are loaded into: one a folder, named by a hash of its path."""
METHODS = {
    "count": "count(config), what a run costs",
    "evaluation_steps": "evaluation_steps(config), the steps at which a run is measured",
    "cohort_key": "cohort_key(config), equal for cells that may train together",
    "train": "train(configs, context), the run itself",
}


def load_trainer(name: str, *, base: str | Path | None = None) -> Trainer:
    """The trainer of that name; see the module's docstring for names. Two loads in one process give the same object.

    `base` is the current folder where nothing is said. Raises TrainerError, which says what to change.
    """
    base = Path(base or ".").resolve()
    location, _, attribute = TRAINERS.get(name, name).rpartition(":")
    if not location or not attribute:
        raise TrainerError(_no_trainer(name, base))
    try:
        module = _load_file(base / Path(location).expanduser()) if _is_file(location) else _load_module(location, base)
    except Exception as error:
        raise TrainerError(f"trainer '{name}' cannot be loaded: {_in_words(error)}") from error
    if not hasattr(module, attribute):
        found = [key for key, value in vars(module).items() if not key.startswith("_") and not missing_parts(value)]
        hint = f"its trainers are {', '.join(found)}" if found else "it has no trainer"
        raise TrainerError(f"trainer '{name}' cannot be loaded: {location} has no '{attribute}'; {hint}")
    trainer = getattr(module, attribute)
    if missing := missing_parts(trainer):
        raise TrainerError(f"'{name}' is no trainer: {'; '.join(missing)} (the contract is in trainers/contract.py)")
    return trainer


def missing_parts(trainer: Any) -> list[str]:
    """What an object lacks of the contract's parts, a phrase for each; an empty list for a trainer."""
    if inspect.isclass(trainer):
        return [f"{trainer.__name__} is a class: name an object of it, as TRAINER = {trainer.__name__}() makes one"]
    missing = []
    if not isinstance(getattr(trainer, "name", None), str) or not trainer.name:
        missing.append("it lacks `name`, what it is called: a string")
    version = getattr(trainer, "version", None)
    if not isinstance(version, int) or isinstance(version, bool):
        missing.append("it lacks `version`, which behaviour it has: an int, raised when points change")
    config = getattr(trainer, "Config", None)
    if not inspect.isclass(config) or not dataclasses.is_dataclass(config):
        missing.append("it lacks `Config`, its configuration: a class under @dataclass(frozen=True)")
    missing += [f"it lacks {says}" for method, says in METHODS.items() if not callable(getattr(trainer, method, None))]
    return missing


def location_of(trainer: Trainer) -> str:
    """A name that `load_trainer` finds this trainer by, in any process on this machine. Raises TrainerError."""
    module = sys.modules[type(trainer).__module__]
    for attribute, value in vars(module).items():
        if value is trainer:
            by_path = module.__name__.startswith(FILES)
            return f"{module.__file__ if by_path else module.__name__}:{attribute}"
    raise TrainerError(f"trainer '{trainer.name}' is no value of its module {module.__name__}: name it there")


def _is_file(location: str) -> bool:
    return location.endswith(".py")


def _load_module(name: str, base: Path) -> types.ModuleType:
    _reach(base)
    return importlib.import_module(name)


def _load_file(path: Path) -> types.ModuleType:
    """The module of a file, loaded once a process as a member of a package that stands for its folder."""
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    package = FILES + hashlib.sha256(str(path.parent).encode()).hexdigest()[:12]
    name = f"{package}.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    if package not in sys.modules:
        folder = types.ModuleType(package)
        folder.__path__ = [str(path.parent)]
        sys.modules[package] = folder
    _reach(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _reach(folder: Path) -> None:
    """Let modules of a folder be imported by name, after everything that is found without it."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _no_trainer(name: str, base: Path) -> str:
    if _is_file(name):
        return f"'{name}' says in which file a trainer is and not which: write {name}:NAME, NAME as in NAME = ...()"
    if near := difflib.get_close_matches(name, TRAINERS, n=1):
        hint = f"did you mean '{near[0]}'?"
    else:
        hint = f"known: {', '.join(TRAINERS)}; your own is package.module:NAME or path/to/file.py:NAME"
    return f"there is no trainer '{name}': {hint}"


def _in_words(error: Exception) -> str:
    """What went wrong while a module was loaded, and where."""
    if isinstance(error, FileNotFoundError | ModuleNotFoundError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
