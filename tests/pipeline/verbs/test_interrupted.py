"""Ctrl-C at any moment: exit code 130, one line, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rehearsal import make_study, run_study, write_study

from pipeline.store import Store

ROOT = Path(__file__).parents[3]
PRESSED = """
import os, signal, sys

class Presses:
    def find_spec(name, path=None, target=None):
        if name == awaited:
            sys.meta_path.remove(Presses)
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # Tests in a shell's background inherit that it is ignored.
awaited, sys.path[0] = sys.argv[1:3]
del sys.argv[1:3]
import unsl
sys.meta_path.insert(0, Presses)
sys.exit(unsl.main())
"""
"""Presses Ctrl-C when a module is about to be imported: a moment that is the same on every machine."""
MOMENTS = [
    ("plan", "pipeline.cli"),
    ("plan", "numpy"),
    ("plan", "fitting.fits"),
    ("plan", "pipeline.verbs.show"),
    ("status", "pipeline.run.driver"),
    ("fit", "pandas"),
    ("fit", "fitting.priors"),
    ("report", "pipeline.report.writing"),
    ("run", "pipeline.tracking.tracker"),
    ("run", "trainers.oracle"),
    ("sync", "pipeline.tracking"),
    ("forecast", "pipeline.forecasts.making"),
    ("ledger", "pipeline.forecasts.ledger"),
    ("check", "pipeline.forecasts.due"),
    ("allocate", "fitting.allocation"),
]
OPTIONS = {
    "run": ["--executor", "inline", "--device", "cpu", "--wandb", "off"],
    "report": ["--wandb", "off"],
    "allocate": ["--cost", "6 * parameters * dataset_size", "--budget", "1e9", "--fix", "step=512"],
}


@pytest.mark.parametrize("verb, module", MOMENTS)
def test_a_verb_that_is_interrupted_says_so_in_one_line(verb, module, tmp_path):
    study = make_study()
    path = write_study(tmp_path, study)
    if verb != "run":
        run_study(study, Store(str(tmp_path / "runs"), study.name))
    command = [sys.executable, "-c", PRESSED, module, str(ROOT), verb, str(path), "--store", str(tmp_path / "runs")]
    done = subprocess.run([*command, *OPTIONS.get(verb, [])], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (130, "unsl: stopped\n")
    assert Store(str(tmp_path / "runs"), study.name).holder() is None, "nobody has to wait for it"


def test_a_study_that_is_interrupted_while_it_is_read(tmp_path):
    pressed = "signal.signal(signal.SIGINT, signal.default_int_handler)\nsignal.raise_signal(signal.SIGINT)\n"
    (tmp_path / "slow.py").write_text(f"import signal\n{pressed}")
    command = [sys.executable, "-m", "unsl", "plan", str(tmp_path / "slow.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (done.returncode, done.stderr) == (130, "unsl: stopped\n")
