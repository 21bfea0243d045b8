"""Laws of the user's own, by path: they fit, they may stand beside packages of any name, and what is wrong is said."""

import subprocess
import sys

import numpy as np
import pytest

import fitting
from fitting import FittingError, Table, fit, load_law

LAW = """
from dataclasses import dataclass

from fitting import Form, tape


@dataclass(frozen=True, kw_only=True)
class Line(Form):
    structure = "line"
    parameters = ("b", "c")

    def log_y(self, p, z):
        return p["b"] - p["c"] * z["steps"]

    def natural(self, p):
        return {"c": float(p["c"])}


@dataclass(frozen=True, kw_only=True)
class Power:
    name: str = "power"

    def forms(self, frame):
        return (Line(frame=frame),)


POWER = Power()
"""
X = np.geomspace(1e2, 1e6, 20)
TABLE = Table(inputs={"steps": X}, y=3 * X**-0.25)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_law.py").write_text(LAW)
    return tmp_path


def test_a_law_is_named_by_its_path(folder):
    result = fit("my_law.py:POWER", TABLE, recipe=fitting.PLAIN)
    assert result.law == "power"
    assert result.coefficients["c"] == pytest.approx(0.25, rel=1e-6)


def test_an_absolute_path_is_as_good(folder, monkeypatch):
    monkeypatch.chdir("/")
    assert load_law(f"{folder}/my_law.py:POWER").name == "power"


@pytest.mark.parametrize("name", ["fitting", "trainers", "lab"])
def test_a_package_below_the_folder_never_shadows_ours(folder, name):
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("raise RuntimeError('only when it is what was asked for')")
    assert load_law("my_law.py:POWER").name == "power"
    (folder / name / "__init__.py").write_text("")
    (folder / name / "curves.py").write_text(LAW.replace('"power"', '"theirs"'))
    assert load_law(f"{name}.curves:POWER").name == "theirs"
    assert sys.modules["fitting"] is fitting and "lab" not in sys.modules and str(folder) not in sys.path


def test_a_law_may_import_its_neighbour(folder):
    (folder / "helper.py").write_text("NAME = 'neighbourly'")
    (folder / "my_law.py").write_text(
        LAW.replace("POWER = Power()", "from .helper import NAME\nPOWER = Power(name=NAME)")
    )
    assert load_law("my_law.py:POWER").name == "neighbourly"


def test_an_edited_file_is_read_again(folder):
    one = load_law("my_law.py:POWER")
    (folder / "my_law.py").write_text(LAW.replace('"power"', '"edited"'))
    assert (one.name, load_law("my_law.py:POWER").name) == ("power", "edited")


@pytest.mark.parametrize(
    "address, words",
    [
        ("nowhere.py:POWER", "there is no file nowhere.py"),
        ("my_law.py:FORCE", "no 'FORCE'; the laws in it are: POWER"),
        ("my_law.py:Power", "lacks an instance"),
        ("my_law.py:dataclass", "lacks name and forms"),
        ("my_law.py:", "FILE.py:NAME"),
        ("no_such_package.curves:POWER", "there is no module no_such_package.curves"),
        ("broken.py:POWER", "broken.py cannot be imported: ZeroDivisionError"),
        ("missing.py:POWER", "missing.py cannot be imported: No module named 'not_installed'"),
    ],
)
def test_what_is_wrong_is_said(folder, address, words):
    (folder / "broken.py").write_text("1 / 0")
    (folder / "missing.py").write_text("import not_installed")
    with pytest.raises(FittingError, match=words):
        load_law(address)


def test_an_installed_module_is_found_too():
    assert load_law("fitting.laws.kaplan:KAPLAN_ND").name == "kaplan_nd"


def test_a_name_that_is_no_law_tells_of_addresses():
    with pytest.raises(FittingError, match="my_law.py:LAW"):
        fit("m22", TABLE)


def test_exams_send_the_address_to_their_processes(folder):
    """A worker knows nothing of our import: with the law itself it could not even start."""
    data = folder / "data" / "nano-width"
    data.mkdir(parents=True)
    rows = [f"{x},{3 * x**-0.25},final_val_loss,0,{int(k < 15)}" for k, x in enumerate(X)]
    (data / "nano.csv").write_text("n_embd,val_loss,metric,hyper_id,training\n" + "\n".join(rows))
    (folder / "hold.py").write_text(
        "from fitting.exams import EXAMS, run_exams\n"
        "if __name__ == '__main__':\n"
        "    exams = [e for e in EXAMS if e.name == 'curve-nanogpt-final-0']\n"
        "    (result,) = run_exams('data', laws=['law.py:POWER', 'm1'], exams=exams, processes=2)\n"
        "    print([s.reason or round(s.rmsle_held_out.value, 6) for s in result.scores])\n"
    )
    (folder / "law.py").write_text(LAW.replace("steps", "width"))
    done = subprocess.run([sys.executable, "hold.py"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("[0.0"), done.stdout + done.stderr
