"""Trainers by name, by module and by path: what is found, what shadows nothing, and what a wrong name is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from own_trainer import write_trainer

import trainers
from trainers import TrainerError, field_types, load_trainer
from trainers.battery import run_in_memory

ROOT = Path(trainers.__file__).parent.parent


@pytest.mark.parametrize(
    "name, hint",
    [
        ("parrity", "did you mean 'parity'"),
        ("x", "known: .*oracle.*path/to/file.py:NAME"),
        ("a.b:C", "'a.b:C' cannot be loaded: No module named 'a'"),
        ("nowhere.py:TRAINER", "there is no file .*nowhere.py"),
        ("mine.py", "write mine.py:NAME"),
        ("trainers.oracle:ORACEL", "trainers.oracle has no 'ORACEL'; its trainers are ORACLE"),
    ],
)
def test_an_unknown_trainer_is_named(name, hint):
    with pytest.raises(TrainerError, match=hint):
        load_trainer(name)


@pytest.mark.parametrize(
    "change, says",
    [
        (("def count(self", "def counts(self"), r"lacks count\(config\)"),
        (("def train(self", "def run(self"), r"lacks train\(configs, context\)"),
        (("def cohort_key(self", "def key(self"), r"lacks cohort_key\(config\)"),
        (
            ("def evaluation_steps(self, config):\n        return", "def steps(self, config):\n        return"),
            "evaluation_steps",
        ),
        (('name, version, Config = "coin", 1, Coin', "version, Config = 1, Coin"), "lacks `name`"),
        (
            ('name, version, Config = "coin", 1, Coin', 'name, version, Config = "coin", "1", Coin'),
            "lacks `version`.* int",
        ),
        (('name, version, Config = "coin", 1, Coin', 'name, version, Config = "coin", 1, dict'), "lacks `Config`"),
        (("TRAINER = CoinTrainer()", "TRAINER = CoinTrainer"), r"is a class: .* TRAINER = CoinTrainer\(\)"),
        (("TRAINER = CoinTrainer()", "COIN = CoinTrainer()"), "coin.py has no 'TRAINER'; its trainers are COIN"),
        (("import numpy as np", "import nampy"), "No module named 'nampy'"),
        (("class CoinTrainer:", "class CoinTrainer"), r"SyntaxError: .*coin.py, line \d\d"),
        (("TRAINER = CoinTrainer()", "TRAINER = 1 / 0"), r"ZeroDivisionError: division by zero .*coin.py, line \d\d"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_trainer_lacks_is_said(tmp_path, change, says):
    with pytest.raises(TrainerError, match=says):
        load_trainer(write_trainer(tmp_path / "coin.py", change))


def test_a_file_is_found_from_its_base_and_loaded_once(tmp_path, monkeypatch):
    write_trainer(tmp_path / "mine" / "coin.py")
    first = load_trainer("mine/coin.py:TRAINER", base=tmp_path)
    assert first is load_trainer("coin.py:TRAINER", base=tmp_path / "mine")
    assert first is load_trainer(f"{tmp_path}/mine/coin.py:TRAINER")
    monkeypatch.chdir(tmp_path)
    assert first is load_trainer("mine/coin.py:TRAINER")
    assert run_in_memory(first, [first.Config()])[1][0].step == 8
    with pytest.raises(TrainerError, match="there is no file"):
        load_trainer("mine/coin.py:TRAINER", base=tmp_path / "mine")


def test_files_of_one_name_in_two_folders_are_two_trainers(tmp_path):
    one = load_trainer(write_trainer(tmp_path / "a" / "coin.py"))
    other = load_trainer(write_trainer(tmp_path / "b" / "coin.py", ("1, Coin\n", "2, Coin\n")))
    assert (one.version, other.version) == (1, 2)


def test_a_file_may_import_its_neighbours(tmp_path):
    (tmp_path / "coins_of_mine.py").write_text("VERSION = 7\n")
    for how in ("from coins_of_mine import VERSION", "from .coins_of_mine import VERSION"):
        name = write_trainer(
            tmp_path / f"coin{len(how)}.py",
            ("import numpy as np\n", f"import numpy as np\n\n{how}\n"),
            (", 1, Coin", ", VERSION, Coin"),
        )
        assert load_trainer(name).version == 7


def test_packages_of_the_same_names_as_ours_shadow_none(tmp_path):
    """A user's folder holds packages `trainers` and `pipeline`, and a file that is called as one of our modules."""
    for package in ("trainers", "pipeline"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('theirs was imported by name')\n")
    write_trainer(tmp_path / "trainers" / "registry.py")
    program = (
        "from trainers import load_trainer; t = load_trainer('trainers/registry.py:TRAINER'); "
        "import trainers.registry, pipeline; print(t.name, trainers.registry.TRAINERS['parity'], pipeline.__file__)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["coin", "trainers.math:PARITY", str(ROOT / "pipeline" / "__init__.py")], done.stderr


def test_a_module_of_the_users_folder_is_found(tmp_path):
    write_trainer(tmp_path / "my_coins" / "thrown.py")
    assert load_trainer("my_coins.thrown:TRAINER", base=tmp_path).name == "coin"


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_annotations_may_be_written_either_way(tmp_path, future):
    """With the import they are strings, without it types: a field of either kind is an int."""
    name = write_trainer(tmp_path / f"coin{len(future)}.py", ("\nfrom dataclasses", f"\n{future}from dataclasses"))
    assert field_types(load_trainer(name).Config) == {"chance": float, "steps": int, "batch_size": int, "seed": int}


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_a_field_of_another_kind_is_named_with_its_type(tmp_path, future):
    changes = [("\nfrom dataclasses", f"\n{future}from dataclasses"), ("steps: int", "steps: list")]
    config = load_trainer(write_trainer(tmp_path / f"coin{len(future)}.py", *changes)).Config
    with pytest.raises(
        TrainerError, match="field steps of Coin is annotated as list; it must be int, float, str or bool"
    ):
        field_types(config)
