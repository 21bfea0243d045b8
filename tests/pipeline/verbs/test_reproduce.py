"""`unsl reproduce`: lists what there is, trains nothing twice, and repeats its tables from the points that it keeps."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.paper import files
from trainers.math import PARITY

COMMON = "reproduce decades --tier tiny --executor inline --wandb off"


def unsl(words: str, capsys) -> tuple[int, str, str]:
    code = cli.main(shlex.split(words))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    """A folder in which the block was reproduced, with its store beside its results."""
    made = tmp_path_factory.mktemp("first")
    assert cli.main(shlex.split(f"{COMMON} --store {made}/runs --out {made}/results")) == 0
    return made


@pytest.fixture
def idle(monkeypatch):
    """A trainer that may not train."""
    monkeypatch.setattr(type(PARITY), "train", lambda *asked: pytest.fail("a cell was trained"))


def test_what_is_there_is_neither_trained_nor_fitted_again(first, idle, capsys):
    code, _, err = unsl(f"{COMMON} --store {first}/runs --out {first}/results", capsys)
    assert code == 0 and "decades: unchanged, nothing was fitted again" in err


def test_the_points_that_came_with_unsl_repeat_the_tables_to_the_last_digit(first, idle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "RESULTS", first / "results")
    assert "5 of 5" in unsl(f"reproduce decades --list --tier tiny --store {tmp_path}/runs", capsys)[1]
    code, _, err = unsl(f"{COMMON} --store {tmp_path}/runs --out {tmp_path}/results", capsys)
    assert code == 0 and "decades: its points came with unsl" in err and "points fitted" in err
    for name in ("tiny/decades.csv", "tiny/decades.png", "README.md"):
        one, other = ((folder / "results" / name).read_bytes() for folder in (first, tmp_path))
        if name != "README.md":
            assert one == other, name
    html = (tmp_path / "results" / "index.html").read_text()
    assert "The paper, block by block" in html and html.count('src="data:image/png') == 1
    kept = [json.loads((folder / "results/tiny/decades.json").read_text()) for folder in (first, tmp_path)]
    assert kept[0]["rows"] == kept[1]["rows"] and kept[0]["entries"] == kept[1]["entries"] != []


def test_other_laws_are_fitted_to_the_same_points(first, idle, tmp_path, capsys):
    code, out, _ = unsl(f"{COMMON} --store {first}/runs --out {tmp_path} --laws m1,cf --json -", capsys)
    assert code == 0
    assert [row["law"] for row in json.loads(out)["answers"]] == ["m1", "cf"]


def test_the_list_says_what_is_done_what_it_costs_and_what_came(first, capsys):
    listed = f"reproduce --list --tier tiny --store {first}/runs --out {first}/results"
    code, out, _ = unsl(listed, capsys)
    assert code == 0 and "experiments/paper/parity.py" in out and "5 of 5" in out
    rows = {row["block"]: row for row in json.loads(unsl(f"{listed} --json", capsys)[1])}
    assert rows["decades"]["run"] and {row["law"] for row in rows["decades"]["answers"]} == {"m2", "cf"}
    assert rows["parity"]["run"] is None and rows["parity"]["done"] == 0 and rows["parity"]["cells"] == 4
    assert not (first / "runs" / "paper-parity-tiny").exists(), "a list runs nothing"


def test_a_budget_that_is_too_small_leaves_cells_and_says_so(tmp_path, capsys):
    words = f"{COMMON} --store {tmp_path}/runs --out {tmp_path}/results --budget 0.0000000001cpu-hours"
    code, _, err = unsl(words, capsys)
    assert code == 2 and "--trim" not in err.split("unsl: ")[0]


def test_a_stop_ends_the_whole(first, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.verbs.reproduce._run", lambda block, options: 130)
    assert unsl(f"reproduce decades parity --tier tiny --store {tmp_path}/runs --out {tmp_path}/out", capsys)[0] == 130
    assert not (tmp_path / "out").exists()
