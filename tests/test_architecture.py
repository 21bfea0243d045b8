"""Who may import whom, read off the source, and what planning must not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rooms import FOUNDATION, ROOMS, ROOT, imported, packages

ALLOWED = {
    "trainers": {"trainers"},
    "fitting": {"fitting"},
    "pipeline": {"pipeline", "trainers", "fitting", "experiments"},
    "experiments": {"experiments", "pipeline", "trainers", "fitting"},
}
"""`pipeline` reaches `experiments` only to list and load studies by name, in one file."""


def wrong_doors(path: Path, room: str) -> list[str]:
    """Imports of `pipeline` that lead upwards from a room, or past another room's door."""
    wrong = []
    for module, name in imported(path):
        parts = [*module.split("."), name]
        if parts[0] != "pipeline" or parts[1] in FOUNDATION | {room}:
            continue
        if parts[1] not in ROOMS[ROOMS.index(room) + 1 :]:
            wrong.append(f"{module} is not below {room}")
        elif len(module.split(".")) > 2 or (ROOT / "pipeline" / parts[1] / f"{name}.py").exists():
            wrong.append(f"{module}.{name} is behind a door")
    return wrong


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_follow_the_arrows(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        forbidden = packages(path) & (ALLOWED.keys() - ALLOWED[package])
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_downwards_and_by_the_door(room):
    files = sorted((ROOT / "pipeline" / room).rglob("*.py"))
    assert files
    for path in files:
        assert not wrong_doors(path, room), path.relative_to(ROOT)


def test_every_file_of_the_pipeline_is_in_a_room():
    flat = {path.stem for path in (ROOT / "pipeline").glob("*.py")}
    assert flat == {"__init__", "__main__", "cli"} | FOUNDATION
    assert {path.name for path in (ROOT / "pipeline").iterdir() if (path / "__init__.py").exists()} == set(ROOMS)


def test_the_rooms_are_listed_from_top_to_bottom_in_the_readme():
    text = (ROOT / "README.md").read_text()
    places = [text.index(f"    {room}/") for room in ROOMS]
    assert places == sorted(places)


def test_only_the_study_loader_knows_experiments():
    known = {path.name for path in (ROOT / "pipeline").rglob("*.py") if "experiments" in packages(path)}
    assert known <= {"loading.py"}


def test_a_forbidden_arrow_is_seen(tmp_path):
    """The walk would notice: imports inside functions count too."""
    path = tmp_path / "law.py"
    path.write_text("def f():\n    from pipeline.store import Store\n")
    assert packages(path) & (ALLOWED.keys() - ALLOWED["fitting"]) == {"pipeline"}
    assert wrong_doors(path, "plan") == []
    assert wrong_doors(path, "study") == ["pipeline.store is not below study"]


@pytest.mark.parametrize(
    "line",
    ["from pipeline.store.files import Folder", "from pipeline.store import files", "import pipeline.store.files"],
)
def test_a_reach_behind_a_door_is_seen(tmp_path, line):
    path = tmp_path / "verb.py"
    path.write_text(line)
    assert len(wrong_doors(path, "plan")) == 1
    assert wrong_doors(path, "store") == []


def test_planning_loads_nothing_slow(tmp_path):
    program = (
        "import sys; from pipeline.cli import main; "
        f"code = main(['plan', 'quickstart', '--json', '--store', {str(tmp_path)!r}]); "
        "slow = {'torch', 'ray', 'wandb', 'matplotlib', 'pandas'} & set(sys.modules); "
        "sys.exit(f'loaded {slow}' if slow else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert '"predicted_seconds"' in done.stdout
