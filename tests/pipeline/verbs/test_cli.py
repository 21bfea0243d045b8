"""The command line as a user meets it: exit codes, messages, JSON, a killed driver."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rehearsal import make_study, run_study, sorted_points, write_study

from pipeline import Axis, cli
from pipeline.store import Store, Writer

ROOT = Path(__file__).parents[3]


@pytest.fixture
def studies(monkeypatch, tmp_path):
    """The current folder, with a study in it."""
    write_study(tmp_path, make_study())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    return tmp_path


def unsl(*arguments: str) -> int:
    return cli.main(arguments)


def run_inline(*arguments: str) -> int:
    return unsl("run", "rehearsal", "--executor", "inline", "--device", "cpu", "--wandb", "off", *arguments)


def test_from_plan_to_report(studies, capsys, tmp_path):
    assert unsl("plan", "rehearsal") == 0
    assert "8 cells: 8 new" in capsys.readouterr().out
    assert run_inline() == 0
    assert "8 done, 0 diverged, 0 failed" in capsys.readouterr().out
    assert run_inline() == 0
    assert "nothing to run: 8 done" in capsys.readouterr().out
    assert unsl("status", "rehearsal") == 0
    assert "8 cells: 8 done; 48 points" in capsys.readouterr().out
    assert unsl("fit", "rehearsal") == 0
    assert "24 points fitted, 24 held out (parameters > 2000)" in capsys.readouterr().out
    assert unsl("report", "rehearsal", "--wandb", "off") == 0
    path = Path(capsys.readouterr().out.split("report: ")[1].strip())
    page = path.read_text()
    assert page.lower().startswith("<!doctype html>")
    assert unsl("report", "rehearsal", "--wandb", "off") == 0
    assert "unchanged: nothing was fitted again" in capsys.readouterr().out
    write_study(studies, make_study(seeds=(0, 1, 2)))
    assert run_inline() == 0
    assert unsl("report", "rehearsal", "--wandb", "off") == 0
    assert "unchanged" not in capsys.readouterr().out
    assert path.read_text() != page


def test_json_is_json(studies, capsys, tmp_path):
    assert unsl("plan", "rehearsal", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert [cell["state"] for cell in made["cells"]] == ["new"] * 8
    run_inline()
    capsys.readouterr()
    assert unsl("status", "rehearsal", "--json") == 0
    assert json.loads(capsys.readouterr().out)["states"] == {"done": 8}
    assert unsl("fit", "rehearsal", "--json", str(tmp_path / "fit.json")) == 0
    laws = json.loads((tmp_path / "fit.json").read_text())["laws"]
    assert [law["law"] for law in laws] == ["cf"]


def test_failed_cells_are_shown_and_tried_again(studies, capsys):
    write_study(studies, make_study(fixed={"steps": 512, "fault": "error"}))
    assert run_inline() == 1
    assert "unsl status rehearsal --failed" in capsys.readouterr().out
    assert run_inline() == 1, "failed cells are not forgotten"
    assert unsl("status", "rehearsal", "--failed") == 0
    shown = capsys.readouterr().out
    assert "bug: RuntimeError: a rehearsed error" in shown
    assert "Traceback" in shown
    assert run_inline("--retry", "failed") == 1


def test_a_change_is_refused_until_it_is_accepted(studies, capsys):
    run_inline()
    write_study(studies, make_study(fixed={"steps": 512, "learning_rate": 0.02}))
    assert run_inline() == 2
    assert "learning_rate 0.01 -> 0.02" in capsys.readouterr().err
    assert run_inline("--accept-changes") == 0
    assert len(Store(os.environ["UNSL_STORE"], "rehearsal").table()) == 2 * 48


def test_a_second_driver_is_refused_and_status_reads_along(studies, capsys):
    run_inline()
    write_study(studies, make_study(seeds=(0, 1, 2)))
    with Writer.open(Store(os.environ["UNSL_STORE"], "rehearsal")):
        assert run_inline() == 3
        assert "another driver is running this study" in capsys.readouterr().err
        assert unsl("status", "rehearsal") == 0
        assert f"driver: process {os.getpid()}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["plan", "run", "status", "fit", "report"])
@pytest.mark.parametrize(
    "study, message",
    [
        ("nosuch", "there is no study 'nosuch'"),
        ("../quickstart", "there is no study"),
        ("empty", "unsl run empty"),
        ("typo", "axis 'paramters'.*did you mean 'parameters'"),
        ("stranger", "there is no trainer 'oracel'.*did you mean 'oracle'"),
    ],
)
def test_bad_use_is_one_line_and_exit_code_2(verb, study, message, studies, capsys, tmp_path):
    write_study(studies, make_study(name="empty"))
    write_study(studies, make_study(name="typo", axes=[Axis("paramters", (1,))]))
    write_study(studies, make_study(name="stranger", trainer="oracel"))
    if study == "empty" and verb in ("plan", "run"):
        return
    assert unsl(verb, study, "--store", str(tmp_path)) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err)
    assert len(printed.err.strip().splitlines()) == 1
    assert not printed.out


@pytest.mark.parametrize("arguments", [(), ("nosuch",), ("run", "rehearsal", "--workers", "0"), ("plan",)])
def test_bad_arguments_exit_with_2(arguments):
    assert unsl(*arguments) == 2


@pytest.mark.parametrize("verb", ["plan", "run", "status", "fit", "report"])
def test_every_verb_has_help_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        unsl(verb, "--help")
    assert stopped.value.code == 0
    assert f"example: unsl {verb} quickstart" in capsys.readouterr().out


@pytest.mark.parametrize("executor, kills", [("inline", (3, 15)), ("ray", (8,))])
def test_a_killed_driver_loses_and_doubles_nothing(tmp_path, executor, kills):
    """kill -9 in the middle, also twice; then the study runs to the table of an undisturbed run."""
    study = make_study(fixed={"steps": 512, "step_seconds": 1e-3})
    store, whole = (Store(str(tmp_path / name), study.name) for name in ("runs", "whole"))
    path = write_study(tmp_path, study)
    options = ["--executor", executor, "--device", "cpu", "--wandb", "off", "--store", str(tmp_path / "runs")]

    def start():
        command = [sys.executable, "-m", "unsl", "run", str(path), *options]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)

    finished_before: set[str] = set()
    for points in kills:
        driver = start()
        while driver.poll() is None and len(store.table()) < points:
            time.sleep(0.1)
        assert driver.poll() is None, driver.stderr.read()
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert not finished_before - {r.id for r in store.records().values() if r.finished}
        finished_before = {record.id for record in store.records().values() if record.finished}
    last = start()
    assert last.wait(120) == 0, last.stderr.read()
    run_study(study, whole)
    assert sorted_points(store).equals(sorted_points(whole))
