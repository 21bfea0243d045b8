"""Who may import whom, read off the source, and what planning must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "trainers": {"trainers"},
    "fitting": {"fitting"},
    "pipeline": {"pipeline", "trainers", "fitting", "experiments"},
    "experiments": {"experiments", "pipeline", "trainers", "fitting"},
}
"""`pipeline` reaches `experiments` only to list and load studies by name, in one file."""


def imports(path: Path) -> set[str]:
    """Top-level names that a file imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_follow_the_arrows(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        forbidden = imports(path) & (ALLOWED.keys() - ALLOWED[package])
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


def test_only_the_study_loader_knows_experiments():
    known = {path.name for path in (ROOT / "pipeline").rglob("*.py") if "experiments" in imports(path)}
    assert known <= {"study.py"}


def test_a_forbidden_arrow_is_seen(tmp_path):
    """The walk would notice: imports inside functions count too."""
    path = tmp_path / "law.py"
    path.write_text("def f():\n    from pipeline.store import Store\n")
    assert imports(path) & (ALLOWED.keys() - ALLOWED["fitting"]) == {"pipeline"}


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
