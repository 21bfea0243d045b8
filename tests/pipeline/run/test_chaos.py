"""The chaos benchmark in small: everything happens to a study, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHAOS = Path(__file__).parents[3] / "benchmarks" / "chaos.py"


def test_a_study_survives_everything_at_once():
    command = [sys.executable, str(CHAOS), "--cells", "30", "--s3-cells", "0", "--seconds", "1"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert made.returncode == 0, made.stdout + made.stderr
    happened = made.stdout
    assert happened.count("a worker killed") == 3
    assert happened.count("the driver killed and started again") == 2
    assert happened.count("a node removed") == 1
    assert happened.count("a second driver started beside the first: it ended with exit code") == 1
    assert happened.count("its study taken over, and woken: it ended with exit code") == 1
    assert happened.count("the disk full: the driver ended with exit code") == 1
    assert happened.splitlines()[-1] == "chaos: 1 (goal 1)"
