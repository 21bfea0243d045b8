"""What travels to workers of a trainer's code."""

from __future__ import annotations

import pytest

from pipeline import PipelineError
from pipeline.run import code
from pipeline.run.code import Code


@pytest.fixture
def folder(tmp_path):
    for name in ("my_trainer.py", "helper.py", "package/__init__.py", "package/deep.py", "runs/other.py", "data.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n")
    return tmp_path


def test_the_files_beside_a_trainer_and_the_packages_there_travel(folder):
    one = Code.of_trainer("my_trainer.py:MINE", str(folder))
    assert one.files.keys() == {"my_trainer.py", "helper.py", "package/__init__.py", "package/deep.py"}
    assert one == Code.of_trainer("../" + folder.name + "/my_trainer.py:MINE", str(folder))
    module = Code.of_trainer("package.deep:MINE", str(folder))
    assert (module.files, module.trainer) == (one.files, "package.deep:MINE")


@pytest.mark.parametrize("name", ["parity", "installed.module:NAME"])
def test_what_workers_find_by_themselves_stays(folder, name):
    assert Code.of_trainer(name, str(folder)) is None


def test_files_are_used_in_place_while_they_are_the_same(folder):
    one = Code.of_trainer("my_trainer.py:MINE", str(folder))
    assert one.here() == str(folder)
    (folder / "helper.py").write_text("edited while the study runs")
    copied = one.here()
    assert copied != str(folder) and copied == one.here()
    assert Code.of_trainer("my_trainer.py:MINE", copied).files == one.files


def test_a_home_is_no_trainer(folder, monkeypatch):
    monkeypatch.setattr(code, "MOST_BYTES", 40)
    with pytest.raises(PipelineError, match="give the trainer a folder of its own"):
        Code.of_trainer("my_trainer.py:MINE", str(folder))
