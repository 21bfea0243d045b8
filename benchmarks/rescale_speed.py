"""What a stroke of the clock costs where nothing is due, and what the choice of the next cells costs, with growth.

    python benchmarks/rescale_speed.py       minutes on two cores

An idle call is a whole process, `unsl rescale STUDY --every 7d`, of a study with so many cells and rounds in its store:
its seconds of a core, which other work on the machine does not lengthen, and those of the clock. A design step chooses
eight of so many candidate cells of six points each, of one task and of four. Last comes a line `rescale speed: <the
slower of both as a part of its goal> (goal 1)`: an idle call with a year of weekly rounds in 2 s, a design step over
1,000 candidates in 5 s.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from growing import STUDY
from rehearsal import make_study, run_study, write_study

from pipeline import Axis, Growth, Split
from pipeline.rescale import Candidate, learn, most_telling
from pipeline.store import Store, close_round, mark_reported, open_round
from pipeline.study import NEWEST_ROUND

ROOT = Path(__file__).resolve().parent.parent
IDLE_GOAL, DESIGN_GOAL = 2.0, 5.0
WEEKS = 52
STORES = ((1, 10), (WEEKS, 10), (WEEKS, 100), (4 * WEEKS, 10))
"""Rounds, and cells of each."""
CANDIDATES = (200, 1_000, 4_000)
TARGET = "parameters=1e5, dataset_size=1e5, step=512"


def idle(rounds: int, cells: int) -> tuple[float, float]:
    """Seconds of a core and of the clock of an idle call, the least of three."""
    with tempfile.TemporaryDirectory(prefix="unsl-idle-") as folder:
        write_study(Path(folder), STUDY)
        store = Store(str(Path(folder, "runs")), STUDY.name)
        for number in range(1, rounds + 1):
            added = [{"parameters": 1_000 + number, "dataset_size": 2_000 + k, "seed": 0} for k in range(cells)]
            open_round(store.folder, number, added, {})
        run_study(store.grown(STUDY), store)
        for number in range(1, rounds + 1):
            close_round(store.folder, number, {"left": []})
            mark_reported(store.folder, number)
        command = [sys.executable, str(ROOT / "unsl.py"), "rescale", STUDY.name, "--every", "7d", "--store", "runs"]
        taken = []
        for _ in range(3):
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert "nothing is due" in done.stdout, done.stdout + done.stderr
            core = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            taken.append((core, time.perf_counter() - began))
        return min(taken)


def step(candidates: int, tasks: int) -> float:
    """Seconds of a core that a design step takes, the fit apart."""
    floors = tuple(0.1 + 0.5 * number for number in range(tasks))
    targets = tuple(f"irreducible={floor}, {TARGET}" for floor in floors) if tasks > 1 else (TARGET,)
    study = make_study(
        axes=[*STUDY.axes, Axis("irreducible", floors)],
        tasks=("irreducible",) if tasks > 1 else (),
        split=Split(held_out=NEWEST_ROUND),
        growth=Growth(axes={"parameters": 2}, target=targets, budget="1cpu-hours"),
    )
    with tempfile.TemporaryDirectory(prefix="unsl-design-") as folder:
        store = Store(folder, study.name)
        run_study(study, store)
        asked = learn(study, store, targets).fits["cf"]
    axes = [
        Axis("parameters", (1_000, 2_000, 4_000, 8_000, 16_000)),
        Axis("dataset_size", tuple(2_000 + 100 * k for k in range(candidates // 5 // tasks))),
        study.axes[-1],
    ]
    cells = replace(study, axes=axes, seeds=(0,)).cells
    offered = [Candidate(cell=cell, settings={}, cost=float(cell.config["parameters"])) for cell in cells]
    assert len(offered) == candidates, len(offered)
    began = time.process_time()
    assert len(most_telling(study, asked, offered, most=8).chosen) == 8
    return time.process_time() - began


def main() -> None:
    print("an idle call            rounds   cells   seconds of a core   of the clock")
    worst = 0.0
    for rounds, cells in STORES:
        core, clock = idle(rounds, cells)
        worst = max(worst, core / IDLE_GOAL if rounds <= WEEKS else 0.0)
        print(f"                        {rounds:6} {len(STUDY.cells) + rounds * cells:7} {core:19.2f} {clock:14.2f}")
    print("a design step       candidates   tasks   seconds of a core")
    for candidates in CANDIDATES:
        for tasks in (1, 4):
            seconds = step(candidates, tasks)
            worst = max(worst, seconds / DESIGN_GOAL if candidates <= 1_000 else 0.0)
            print(f"                    {candidates:10} {tasks:7} {seconds:19.2f}")
    print(f"rescale speed: {worst:.2f} (goal 1)")


if __name__ == "__main__":
    main()
