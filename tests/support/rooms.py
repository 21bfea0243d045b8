"""The plan of the house, drawn from the code's own imports: `make rooms`.

A line a room: its files and lines of code, and the rooms that it imports. `tests/test_architecture.py` holds every
arrow to the order in which the rooms stand here.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("verbs", "paper", "report", "rescale", "forecasts", "analysis", "run", "plan", "tracking", "store", "study")
"""The rooms of `pipeline`, each of which may import those that follow it."""
FOUNDATION = {"errors"}
"""What every room of `pipeline` stands on."""
PACKAGES = ("experiments", "pipeline", "trainers", "fitting")


def imported(path: Path, root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Every module that a file imports, wherever in the file it does, with a name taken from it (empty for none).

    root: the folder of the packages, from which relative imports are written out.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = path.relative_to(root).parts[: -node.level] if node.level else ()
            module = ".".join([*home, *filter(None, [node.module])])
            yield from ((module, alias.name) for alias in node.names)


def packages(path: Path) -> set[str]:
    """Top-level names that a file imports."""
    return {module.split(".")[0] for module, _ in imported(path)}


def rooms() -> dict[str, list[Path]]:
    """The files of every room, from the top of the house to its foundations; a package's flat files are its hall."""
    found: dict[str, list[Path]] = {}
    for package in PACKAGES:
        folders = [path for path in sorted((ROOT / package).iterdir()) if list(path.glob("*.py"))]
        if package == "pipeline":
            folders.sort(key=lambda path: ROOMS.index(path.name))
        found[package] = sorted((ROOT / package).glob("*.py"))
        found |= {f"{package}.{folder.name}": sorted(folder.rglob("*.py")) for folder in folders}
    return found


def behind_a_door(path: Path, plan: dict[str, list[Path]]) -> list[str]:
    """Imports of a file that reach past the door of another room: a room's door is its `__init__`.

    The flat files of a package, such as `trainers/contract.py`, are its hall: all rooms of the package walk through it.
    A module that the door itself offers in its `__all__`, such as `fitting.tape`, is no reach.
    """
    home = next(room for room, files in plan.items() if path in files)
    reached = []
    for module, name in imported(path):
        room = _room_of(module, name, plan)
        if room is None or room == home:
            continue
        inside = "." in room or room != home.split(".")[0]
        hidden = _is_module(f"{room}.{name}") and name not in _offered(room)
        past = module.removeprefix(room) or (f".{name}" if hidden else "")
        if inside and past and f"{module}.{name}" != room:
            reached.append(f"{room}{past}")
    return reached


def main() -> None:
    plan = rooms()
    for room, files in plan.items():
        arrows: Counter[str] = Counter()
        for path in files:
            for module, name in imported(path):
                target = _room_of(module, name, plan)
                if target and target != room:
                    arrows[target] += 1
        lines = sum(len(path.read_text().splitlines()) for path in files)
        to = ", ".join(target.removeprefix("pipeline.") for target in plan if target in arrows)
        print(f"{room:20} {len(files):3} files {lines:6,} lines   {'-> ' + to if to else ''}")


def _room_of(module: str, name: str, plan: dict[str, list[Path]]) -> str | None:
    parts = [*module.split("."), name]
    return next((one for one in (".".join(parts[:2]), parts[0]) if one in plan), None)


def _offered(room: str) -> set[str]:
    """What a room's door lists in its `__all__`."""
    for node in ast.parse(ROOT.joinpath(*room.split("."), "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def _is_module(name: str) -> bool:
    return ROOT.joinpath(*name.split(".")).with_suffix(".py").exists()


if __name__ == "__main__":
    main()
