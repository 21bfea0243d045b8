"""The rooms of `trainers`: imports go downwards, only through doors, and no door loads a framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rooms import ROOT, imported

PACKAGE = ROOT / "trainers"
BELOW = {
    "contract": set(),
    "data": {"contract"},
    "loop": {"contract"},
    "oracle": {"contract", "loop"},
    "math": {"contract", "data", "loop"},
    "language": {"contract", "data", "loop"},
    "procgen": {"contract", "loop"},
    "vision": {"contract", "data", "loop", "procgen"},
    "runner": {"contract"},
    "registry": {"contract"},
    "battery": {"contract", "registry"},
    "__init__": {"contract", "registry", "runner"},
}
"""For every room or file, the ones that it may import; `vision` looks at frames of `procgen`'s games."""


def imports(path: Path) -> set[str]:
    """Dotted names of modules of `trainers` that a file imports."""
    found = {name for module, taken in imported(path) for name in (module, f"{module}.{taken}".rstrip("."))}
    return {name for name in found if name.split(".")[0] == "trainers"}


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def behind_doors(path: Path, room: str = "") -> list[str]:
    """What a file imports from behind the door of a room that is not its own."""
    modules = [name.split(".") for name in imports(path) if is_module(name)]
    return [".".join(parts) for parts in modules if len(parts) > 2 and parts[1] != room]


def test_every_room_is_known():
    names = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert names == set(BELOW)


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_what_is_below_it_through_its_door(room):
    files = sorted((PACKAGE / room).glob("*.py")) or [PACKAGE / f"{room}.py"]
    for path in files:
        used = {name.split(".")[1] for name in imports(path) if is_module(name) and "." in name}
        assert used <= BELOW[room] | {room}, path
        assert not behind_doors(path, room), path


@pytest.mark.parametrize("folder", ["benchmarks", "experiments", "pipeline"])
def test_others_come_in_by_the_door(folder):
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert not behind_doors(path), path


def test_a_reach_behind_a_door_is_seen(tmp_path):
    path = tmp_path / "bench.py"
    path.write_text("def f():\n    from trainers.procgen.trainer import _Run\n    from trainers.procgen import ppo\n")
    assert sorted(behind_doors(path)) == ["trainers.procgen.ppo", "trainers.procgen.trainer"]


def test_no_door_loads_a_framework():
    doors = ", ".join(f"trainers.{room}" for room in BELOW if room != "__init__")
    slow = "{'torch', 'transformers', 'datasets', 'envpool', 'gymnasium', 'PIL', 'pandas', 'ray', 'wandb'}"
    program = f"import sys, {doors}; print(*({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == []
