"""Studies by path, module and name, from folders that hold whatever they like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rehearsal import make_study, write_study

from pipeline import PipelineError, load_study

ROOT = Path(__file__).parents[3]
TRAINER = '''
from dataclasses import dataclass

from helper import SLOPE
from trainers import Counts, End, Point


@dataclass(frozen=True)
class Config:
    width: int = 8
    """Width."""
    seed: int = 0
    """Seed."""


class Mine:
    name, version, Config = "mine", 1, Config

    def count(self, config):
        return Counts(
            parameters=config.width, parameters_without_embeddings=config.width, flops_per_step=1.0, steps=64, bytes=8
        )

    def evaluation_steps(self, config):
        return (8, 16, 32, 64)

    def cohort_key(self, config):
        return config.width

    def train(self, configs, context):
        for cell, config in enumerate(configs):
            for step in self.evaluation_steps(config):
                loss = LOSS
                yield Point(cell=cell, step=step, metrics={"loss": loss}, examples=step, flops=1.0 * step, seconds=0.0)
            yield End(cell=cell, step=64)


MINE = Mine()
'''
STUDY = """
from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="width",
    trainer="my_trainer.py:MINE",
    axes=[Axis("width", (2, 4, 8, 16))],
    inputs=("parameters", "step"),
    metric=Metric(name="loss"),
    split=Split(held_out="parameters > 4"),
    laws=("my_law.py:LAW",),
)
"""
LAW = """
from fitting import LAWS


class Law:
    name = "mine"

    def forms(self, frame):
        return LAWS["cf"].forms(frame)


LAW = Law()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder of a person's, with packages called like ours."""
    for name in ("pipeline", "trainers", "fitting", "experiments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('theirs')\n")
    (tmp_path / "helper.py").write_text("SLOPE = 0.5\n")
    (tmp_path / "my_trainer.py").write_text(TRAINER.replace("LOSS", "config.width**-SLOPE + step**-SLOPE"))
    (tmp_path / "my_law.py").write_text(LAW)
    (tmp_path / "width.py").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_is_found_by_path_module_and_name(here, monkeypatch):
    (here / "inner").mkdir()
    write_study(here / "inner", make_study(name="deep"))
    (here / "experiments" / "local_one.py").write_text(Path("inner/deep.py").read_text())
    assert load_study("width").name == load_study("width.py").name == load_study(str(here / "width.py")).name == "width"
    assert load_study("inner/deep.py") == load_study("inner.deep") == load_study("local-one") == make_study(name="deep")
    monkeypatch.chdir("inner")
    assert load_study("../width.py").loaded_trainer.name == "mine"
    assert load_study("deep").name == "deep"


def test_the_nearest_study_of_a_name_is_meant(here):
    assert load_study("quickstart").trainer == "parity"
    write_study(here, make_study(name="quickstart"))
    assert load_study("quickstart").trainer == "oracle"


def test_values_and_tiers_are_named_after_a_colon(here):
    with open("width.py", "a") as file:
        file.write("SMALL = STUDY\nfrom dataclasses import replace\nTIERS = {'big': replace(STUDY, seeds=(0, 1))}\n")
    assert load_study("width.py:SMALL").seeds == (0,)
    assert load_study("width.py:big").seeds == load_study("width", "big").seeds == (0, 1)
    assert load_study("width:big").address == "width --tier big"
    assert load_study("width.py:SMALL").address == "width.py:SMALL"


def test_an_edited_study_is_read_again(here):
    load_study("width")
    Path("width.py").write_text(STUDY.replace("(2, 4, 8, 16)", "(2, 4)"))
    assert len(load_study("width").cells) == 2


def test_neighbours_are_imported_either_way(here):
    Path("near.py").write_text("from pipeline import Axis\nAXES = [Axis('width', (2, 4))]\n")
    for line in ("from near import AXES", "from .near import AXES"):
        Path("width.py").write_text(line + STUDY.replace('[Axis("width", (2, 4, 8, 16))]', "AXES"))
        assert len(load_study("width").cells) == 2


@pytest.mark.parametrize(
    "target, text, message",
    [
        ("none.py", None, "there is no study 'none.py': no such file, seen from "),
        ("inner/none", None, "there is no study 'inner/none'"),
        ("./mine", "", "did you mean 'mine.py'"),
        (
            "no.such.module",
            None,
            "there is no study 'no.such.module': no such file below .* no such module is installed",
        ),
        ("language-gpu", None, "did you mean 'language --tier gpu'"),
        ("quikstart", None, "did you mean 'quickstart'"),
        ("", None, "there is no study ''"),
        ("mine", "x = 1\ny = (\n", "mine.py cannot be read: line 2: '\\(' was never closed"),
        ("mine", "x = 1\nx / 0\n", "mine.py cannot be read: line 2: ZeroDivisionError: division by zero"),
        (
            "mine",
            "def f():\n    import nothing_there\nf()\n",
            "line 2: ModuleNotFoundError: No module named 'nothing_there'",
        ),
        ("mine", "import sys\nsys.exit('enough')\n", "mine.py cannot be read: line 2: SystemExit: enough"),
        ("mine", "", "mine.py has no STUDY: it must say STUDY = Study"),
        ("mine:OTHER", "STUDY = 1", "study 'mine' has no tier 'OTHER': it has no tiers"),
        ("mine", "STUDY = 1", "STUDY in mine.py must be a pipeline.Study, not int"),
        ("mine", STUDY.replace("STUDY =", "SMALL ="), "mine.py has no STUDY: name one of its studies: mine:SMALL"),
        ("mine", STUDY.replace('"width"', '"Width!"', 1), "mine.py: study name 'Width!' must be"),
    ],
)
def test_what_is_wrong_with_a_study_is_said(here, target, text, message):
    if text is not None:
        Path("mine.py").write_text(text)
    with pytest.raises(PipelineError, match=message):
        load_study(target)


def unsl(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """The command in the current folder, in a process of its own."""
    command = [sys.executable, "-c", f"import sys; sys.path[0] = {str(ROOT)!r}; import unsl; sys.exit(unsl.main())"]
    settings = {"capture_output": True, "text": True, "timeout": 120, "env": os.environ | environment}
    return subprocess.run([*command, *arguments, "--store", "runs"], **settings)


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_trainers_and_laws_beside_a_study_are_used_wherever_it_runs(here, executor):
    """Also in Ray's workers, which look into the current folder first."""
    done = unsl("run", "width.py", "--executor", executor, "--device", "cpu", "--wandb", "off", PYTHONPATH=str(here))
    assert (done.returncode, "4 done, 0 diverged, 0 failed" in done.stdout) == (0, True), done.stderr
    fitted = unsl("fit", "width.py", PYTHONPATH=str(here))
    assert (fitted.returncode, " mine " in fitted.stdout) == (0, True), fitted.stderr


def test_a_trainer_that_cannot_count_is_blamed_with_its_line(here):
    Path("my_trainer.py").write_text(TRAINER.replace("bytes=8", "bytes=config.nothing"))
    with pytest.raises(PipelineError, match="my_trainer.py:MINE' raises AttributeError: .*my_trainer.py, line 2"):
        load_study("width").check()


def test_points_that_are_not_finite_are_no_success(here):
    Path("my_trainer.py").write_text(TRAINER.replace("LOSS", "float('nan') if step > 16 else step**-SLOPE"))
    done = unsl("run", "width.py", "--executor", "inline", "--device", "cpu", "--wandb", "off")
    assert "0 done, 4 diverged, 0 failed" in done.stdout, done.stderr
