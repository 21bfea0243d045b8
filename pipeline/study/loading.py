"""Studies by path, by module and by name.

    path/to/width.py        the value STUDY of a file, seen from the current folder
    path/to/width.py:SMALL  another value of the file, or one of its TIERS
    package.module          a file below the current folder, or an installed module
    width                   width.py or experiments/width.py of the current folder, or a study that comes with unsl

A file is imported under a private name and its folder is searched last for what it imports: whatever the folder holds,
`pipeline` in a study means this package. Neighbours are imported as `import helper` or `from . import helper`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from pipeline.errors import PipelineError, suggest
from pipeline.study.block import Block
from pipeline.study.study import Study

OWN = Path(__file__).resolve().parents[2] / "experiments"
"""The studies that come with unsl."""
PAPER = OWN / "paper"
"""Those of the paper, a block a file."""


def load_study(target: str, tier: str | None = None) -> Study:
    """The study at `target`, or its `TIERS[tier]`. Raises PipelineError."""
    where, _, value = target.partition(":")
    file = _find(where)
    module = _import_file(file) if file else _import_module(where)
    shown = _shown(file) if file else where
    tiers = getattr(module, "TIERS", {})
    if value and tier is None and not hasattr(module, value):
        tier, value = value, ""
    if tier is not None and tier not in tiers:
        have = f"its tiers are {', '.join(tiers)}" if tiers else "it has no tiers"
        raise PipelineError(f"study '{where}' has no tier '{tier}': {have}")
    study = tiers[tier] if tier is not None else getattr(module, value or "STUDY", None)
    if isinstance(study, Study):
        address = f"{where} --tier {tier}" if tier is not None else target
        return replace(study, address=address, folder=str(file.parent) if file else "")
    name = f"TIERS['{tier}']" if tier is not None else value or "STUDY"
    if study is not None:
        raise PipelineError(f"{name} in {shown} must be a pipeline.Study, not {type(study).__name__}")
    others = [f"{where}:{key}" for key, one in vars(module).items() if isinstance(one, Study)]
    remedy = f"name one of its studies: {', '.join(others)}" if others else "it must say STUDY = Study(...)"
    raise PipelineError(f"{shown} has no {name}: {remedy}")


def known_studies() -> list[str]:
    """Names of the studies that come with unsl."""
    return sorted(path.stem for path in OWN.glob("*.py") if path.stem != "__init__")


def load_block(name: str) -> Block:
    """The block of the paper of that name. Raises PipelineError."""
    if name not in known_blocks():
        raise PipelineError(f"the paper has no block '{name}': {suggest(name, known_blocks())}")
    module = _import_file(PAPER / f"{name}.py")
    address, folder = f"experiments.paper.{name}", str(PAPER)
    tiers = {
        tier: replace(study, address=f"{address} --tier {tier}", folder=folder)
        for tier, study in module.BLOCK.tiers.items()
    }
    return replace(module.BLOCK, tiers=tiers, name=name, text=(module.__doc__ or "").strip())


def known_blocks() -> list[str]:
    """Names of the paper's blocks."""
    return sorted(path.stem for path in PAPER.glob("*.py") if path.stem != "__init__")


def _find(where: str) -> Path | None:
    """The file that is meant, or None where only an installed module can be. Raises PipelineError where nothing can."""
    if where.endswith(".py") or os.sep in where:
        path = Path(where).expanduser()
        if path.is_file():
            return path.resolve()
        near = path.with_suffix(".py") if path.suffix != ".py" else None
        raise PipelineError(
            f"there is no study '{where}': no such file, seen from {Path.cwd()}"
            + (f"; did you mean '{near}'?" if near and near.is_file() else "")
        )
    if "." in where and all(part.isidentifier() for part in where.split(".")):
        below = Path(*where.split("."))
        found = [path for path in (below.with_suffix(".py"), below / "__init__.py") if path.is_file()]
        return found[0].resolve() if found else None
    stems = dict.fromkeys((where, where.replace("-", "_")))
    for folder in (Path(), Path("experiments"), OWN):
        for stem in stems if where else ():
            if (path := folder / f"{stem}.py").is_file():
                return path.resolve()
    raise PipelineError(f"there is no study '{where}': {_hint(where)}")


def _hint(name: str) -> str:
    """What may have been meant by the name of no study: a tier of one, a study spelled alike, or a new one."""
    study, _, tier = name.rpartition("-")
    if study and (file := OWN / f"{study.replace('-', '_')}.py").is_file():
        tiers = getattr(_import_file(file), "TIERS", {})
        return f"did you mean '{study}{f' --tier {tier}' if tier in tiers else ''}'?"
    return f"{suggest(name, known_studies())}; `unsl new NAME` writes one"


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise PipelineError(
                f"there is no study '{name}': no such file below {Path.cwd()}, and no such module is installed"
            ) from error
        raise PipelineError(f"{name} cannot be read: {error}") from error
    except (Exception, SystemExit) as error:
        raise PipelineError(f"{name} cannot be read: {type(error).__name__}: {error}") from error


def _import_file(file: Path) -> ModuleType:
    """The module that a file makes. A file that was edited is read again."""
    try:
        mark = hashlib.sha256(f"{file}|".encode() + file.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise PipelineError(f"{_shown(file)} cannot be read: {error.strerror}") from error
    package = ModuleType(f"_unsl_study_{mark}")
    package.__path__ = [str(file.parent)]
    name = f"{package.__name__}.{file.stem.replace('.', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    importlib.invalidate_caches()
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules |= {package.__name__: package, name: module}
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, PipelineError):
            raise PipelineError(f"{_shown(file)}: {error}") from error
        if not isinstance(error, Exception | SystemExit):
            raise
        raise PipelineError(f"{_shown(file)} cannot be read: {_what(error, file)}") from error
    return module


def _what(error: BaseException, file: Path) -> str:
    """An error in a person's file, on one line, with the line of the file."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    first = str(error).strip().split("\n")[0]
    return (f"line {lines[-1]}: " if lines else "") + f"{type(error).__name__}: {first}"


def _shown(file: Path) -> str:
    """A file as a person would name it here."""
    if file.parent == OWN:
        return f"experiments/{file.name}"
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
