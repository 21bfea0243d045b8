"""The rooms of `fitting`: the library knows nothing of the exams, and the exams enter it by its door."""

import ast
from pathlib import Path

import pytest

import fitting

ROOM = Path(fitting.__file__).parent


def imported(path, package):
    """(module, name) of every import of a file, relative ones written out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield from ((".".join([*base, *([node.module] if node.module else [])]), a.name) for a in node.names)


def wrong(path, root=ROOM):
    package = ".".join(["fitting", *path.relative_to(root).parent.parts])
    room = path.relative_to(root).parts[0] if len(path.relative_to(root).parts) > 1 else "library"
    for module, name in imported(path, package):
        inside = module.split(".")[0] == "fitting"
        if room == "exams" and inside and not module.startswith("fitting.exams"):
            if module != "fitting" or name not in fitting.__all__:
                yield f"{module}.{name} is behind the library's door"
        elif room != "exams" and f"{module}.{name}.".startswith("fitting.exams."):
            yield f"{module} is the exams, of which the library knows nothing"
        elif room == "laws" and inside and not module.startswith("fitting.laws"):
            known = {"errors", "law", "metric", "priors", "table", "tape"}
            if (name if module == "fitting" else module.split(".")[1]) not in known:
                yield f"{module}.{name} stands above the laws"


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOM)))
def test_rooms_are_entered_by_their_doors(path):
    assert not list(wrong(path))


@pytest.mark.parametrize(
    "file, line",
    [
        ("exams/page.py", "from ..forecast import Forecast"),
        ("exams/page.py", "from fitting.table import Table"),
        ("fits.py", "from .exams import EXAMS"),
        ("laws/cf.py", "from ..selection import select"),
        ("laws/cf.py", "from .. import fits"),
    ],
)
def test_a_reach_past_a_door_is_seen(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line)
    assert len(list(wrong(path, tmp_path))) == 1


def test_every_name_of_the_door_is_there():
    assert all(hasattr(fitting, name) for name in fitting.__all__)
