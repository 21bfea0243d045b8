"""Who may import whom, read off the source, and what planning must not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rooms import FOUNDATION, ROOMS, ROOT, behind_a_door, imported, packages, rooms

ALLOWED = {
    "trainers": {"trainers"},
    "fitting": {"fitting"},
    "pipeline": {"pipeline", "trainers", "fitting", "experiments"},
    "experiments": {"experiments", "pipeline", "trainers", "fitting"},
}
"""`pipeline` reaches `experiments` only to list and load studies by name, in one file."""


def upwards(path: Path, room: str) -> list[str]:
    """Imports of `pipeline` that lead from one of its rooms to one that is not below."""
    targets = [(*module.split("."), name) for module, name in imported(path) if module.split(".")[0] == "pipeline"]
    below = FOUNDATION | {room, *ROOMS[ROOMS.index(room) + 1 :]}
    return [target[1] for target in targets if target[1] not in below]


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_follow_the_arrows(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        forbidden = packages(path) & (ALLOWED.keys() - ALLOWED[package])
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_of_the_pipeline_import_downwards(room):
    files = sorted((ROOT / "pipeline" / room).rglob("*.py"))
    assert files
    for path in files:
        assert not upwards(path, room), path.relative_to(ROOT)


def test_nobody_reaches_behind_a_door():
    plan = rooms()
    for path in [path for files in plan.values() for path in files]:
        assert not behind_a_door(path, plan), path.relative_to(ROOT)


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
    assert upwards(path, "plan") == []
    assert upwards(path, "study") == ["store"]


@pytest.mark.parametrize(
    "line, own",
    [
        ("from pipeline.store.files import Folder", "pipeline.store"),
        ("from pipeline.store import files", "pipeline.store"),
        ("import pipeline.store.files", "pipeline.store"),
        ("from trainers.contract import Point", "trainers"),
        ("from fitting.laws.registry import LAWS", "fitting.laws"),
    ],
)
def test_a_reach_behind_a_door_is_seen(tmp_path, line, own):
    path = tmp_path / "file.py"
    path.write_text(line)
    assert len(behind_a_door(path, rooms() | {"pipeline.plan": [path]})) == 1
    assert behind_a_door(path, rooms() | {own: [path]}) == []


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
