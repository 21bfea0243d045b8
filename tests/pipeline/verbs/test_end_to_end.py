"""One study through every part at once: Ray, parity, W&B's offline files, the fit and the report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from offline_wandb import read_offline_points
from rehearsal import sorted_points

from pipeline.store import Store

SMALL = """
from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="small",
    trainer="parity",
    fixed={"bits": 16, "parity_bits": 2, "label_noise": 0.1, "steps": 256, "test_size": 256},
    axes=[Axis("width", (4, 8, 16)), Axis("dataset_size", (256, 1024))],
    seeds=(0, 1),
    inputs=("parameters", "dataset_size", "step"),
    metric=Metric(name="loss"),
    split=Split(held_out="parameters > 200"),
    laws=("m2", "cf"),
)
"""


def test_the_store_w_and_b_and_the_report_agree(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment |= {
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "UNSL_STORE": str(tmp_path / "runs"),
    }

    (tmp_path / "small.py").write_text(SMALL)

    def unsl(*arguments: str) -> str:
        command = [sys.executable, "-m", "unsl", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "12 done, 0 diverged, 0 failed" in unsl("run", "small", "--wandb", "auto")
    assert "nothing to run: 12 done" in unsl("run", "small")

    points = sorted_points(Store(str(tmp_path / "runs"), "small"), without=[])
    tracked = read_offline_points(tmp_path / "runs" / "small" / "wandb")
    rows = {(run.rsplit("-", 1)[-1], row["step"]): row for run, logged in tracked.items() for row in logged}
    assert len(rows) == sum(map(len, tracked.values())) == len(points)
    for point in points.to_dict("records"):
        logged = rows[point["cell"], point["step"]]
        assert [logged[f"points/{name}"] for name in ("loss", "error")] == [point["loss"], point["error"]]
        for name in ("examples", "flops", "seconds"):
            assert logged[name] == point[name]

    printed = unsl("report", "small")
    assert "cf" in printed and "±" in printed
    page = Path(printed.split("report: ")[1].strip()).read_text()
    assert "small" in page and "cf" in page
