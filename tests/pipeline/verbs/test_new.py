"""`unsl new` and `unsl check-trainer`: what is written runs as it is, and a fault in it is said in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import cli
from pipeline.store import Store


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    return tmp_path


def test_a_study_and_its_trainer_run(here, capsys):
    assert cli.main(["new", "my-slope", "--trainer"]) == 0
    assert "wrote my_slope.py and my_slope_trainer.py. Next: unsl plan my_slope.py" in capsys.readouterr().out
    assert "my_slope_trainer.py:TRAINER" in Path("my_slope.py").read_text()
    assert "unsl check-trainer my_slope_trainer.py:TRAINER" in Path("my_slope_trainer.py").read_text()
    assert cli.main(["check-trainer", "my_slope_trainer.py:TRAINER"]) == 0
    assert "keeps its contract: " in capsys.readouterr().out
    study = Path("my_slope.py")
    small = {'"steps": 2048': '"steps": 128', "step > 1024": "step > 96", "(0.03, 0.1, 0.3)": "(0.1,)"}
    for long, short in small.items():
        assert long in study.read_text()
        study.write_text(study.read_text().replace(long, short))
    options = ["--executor", "inline", "--device", "cpu", "--wandb", "off", "--no-forecast"]
    assert cli.main(["run", "my_slope.py", *options]) == 0
    done = Store("runs", "my-slope").records().values()
    assert done and {record.status for record in done} == {"done"}


def test_what_a_trainer_breaks_is_said_in_words(capsys):
    assert cli.main(["new", "slope", "--trainer"]) == 0
    path = Path("slope_trainer.py")
    path.write_text(path.read_text().replace("first=16, per_doubling=1)", "first=16, per_doubling=1)[::-1]"))
    capsys.readouterr()
    assert cli.main(["check-trainer", "slope_trainer.py:TRAINER"]) == 1
    assert "evaluation_steps" in capsys.readouterr().out


def test_a_study_without_a_trainer_of_its_own_takes_one_of_ours(capsys):
    assert cli.main(["new", "width"]) == 0
    assert cli.main(["plan", "width.py"]) == 0
    assert "new" in capsys.readouterr().out and not Path("width_trainer.py").exists()
