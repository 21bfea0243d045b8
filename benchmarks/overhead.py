"""What orchestration costs: trivial cells by us, by plain Ray tasks and by Ray Tune, in one run, in alternation.

    python benchmarks/overhead.py                       about ten minutes on two cores
    python benchmarks/overhead.py --rounds 1 --big 2000

Every rival runs the same cells: the oracle's, one point each, tens of microseconds of work. Cluster and workers are
warm. Ours plans, writes each point durably before anything else hears of it and leaves Parquet; W&B is off. Plain Ray
tasks return their points to the driver's memory and keep nothing. Ray Tune, which needs nothing beyond `ray` but for
its logger to TensorBoard, writes its own results; its trials are few and their time is scaled, as it says. Then, in
fresh processes: a plan of many cells, a study that resumes after its driver was killed half way, and the memory of the
driver.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from rehearsal import write_study

from pipeline import Axis, Metric, Split, Study
from pipeline.plan import make_plan
from pipeline.run import Driver, use_one_thread
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Ended, Store, Writer
from trainers import Point, load_trainer

NAME = "overhead"
GOAL, TUNE_GOAL, PLAN_SECONDS, RESUME_SECONDS = 1.5, 20, 3, 10
FRESH, REUSED = 16, 50
"""Trials of Ray Tune that are measured; their time a trial is what is scaled."""
SIZES = (200, 1_000)


def study_of(cells: int) -> Study:
    """Cells of one step and one point."""
    return Study(
        name=NAME,
        trainer="oracle",
        fixed={"steps": 1},
        axes=[Axis("parameters", tuple(range(1_000, 1_000 + cells)))],
        metric=Metric(name="loss"),
        inputs=("parameters",),
        split=Split(held_out="parameters > 1500"),
        laws=("cf",),
    )


def train_cell(config: dict[str, Any]) -> list[Point]:
    """What a cell is without any of us: its points."""
    trainer = load_trainer("oracle")
    return [event for event in trainer.train([trainer.Config(**config)], NoContext()) if isinstance(event, Point)]


class NoContext:
    device = "cpu"

    def load(self, cell: int) -> None: ...

    def checkpoint_due(self) -> bool:
        return False

    def should_stop(self) -> bool:
        return False


def ours(study: Study, folder: str) -> None:
    from pipeline.run.executors.on_ray import RayExecutor

    executor = RayExecutor(workers=None, device="cpu", hang_seconds=600)
    run(study, Store(folder, NAME), executor)
    executor.close()


def run(study: Study, store: Store, executor: Any, listeners: tuple = ()) -> None:
    with Writer.open(store) as writer:
        made = make_plan(study, store)
        planned = made.to_run(retry_failed=False)
        outcome = Driver(study=study, writer=writer, executor=executor, listeners=listeners).run(
            planned, made.throughput
        )
        assert outcome.done == len(planned), outcome


def plain(study: Study, folder: str) -> None:
    import ray

    task = ray.remote(train_cell)
    points = ray.get([task.remote(cell.config) for cell in study.cells])
    assert len(points) == len(study.cells)


def tune(study: Study, folder: str, *, reuse: bool) -> None:
    from ray import tune

    def trial(config: dict[str, Any]) -> dict[str, Any]:
        return {"loss": train_cell(config)[-1].metrics["loss"]}

    tuner = tune.Tuner(
        trial,
        param_space={"steps": 1, "parameters": tune.grid_search([cell.config["parameters"] for cell in study.cells])},
        tune_config=tune.TuneConfig(reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=folder, name="tune", verbose=0),
    )
    with open(os.devnull, "w") as silence, redirect_stdout(silence):
        results = tuner.fit()
    assert len(results) == len(study.cells) and not results.errors


class Stopwatch:
    """Runs a rival on a study in a folder of its own: (seconds, seconds of this process's CPU), both a cell."""

    def __init__(self, root: str):
        self._root = root

    def __call__(self, rival: Callable[..., None], study: Study, **how: Any) -> tuple[float, float]:
        _ = study.cells  # Unfolding the study is part of no rival.
        folder = tempfile.mkdtemp(dir=self._root)
        began, busy = time.perf_counter(), time.process_time()
        rival(study, folder, **how)
        wall, cpu = time.perf_counter() - began, time.process_time() - busy
        shutil.rmtree(folder)
        return wall / len(study.cells), cpu / len(study.cells)


def side_by_side(rounds: int, root: str) -> dict[tuple[str, int], tuple[float, float]]:
    """Medians of every rival at every size."""
    measure = Stopwatch(root)
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for number in range(rounds + 1):  # The first round warms up.
        for size in SIZES:
            entries = {("ours", size): measure(ours, study_of(size)), ("plain", size): measure(plain, study_of(size))}
            if number:
                for key, value in entries.items():
                    found.setdefault(key, []).append(value)
        if number:
            found.setdefault(("reused", REUSED), []).append(measure(tune, study_of(REUSED), reuse=True))
            found.setdefault(("fresh", FRESH), []).append(measure(tune, study_of(FRESH), reuse=False))
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    return {key: tuple(map(statistics.median, zip(*values, strict=True))) for key, values in found.items()}


def print_table(found: dict[tuple[str, int], tuple[float, float]]) -> None:
    print(f"{'':34}{'ms a cell':>12}{'driver CPU':>12}" + "".join(f"{f'{size:,} cells':>14}" for size in SIZES))
    rows = [("ours, with a durable store", "ours"), ("plain Ray tasks, nothing kept", "plain")]
    for title, rival in rows:
        wall, cpu = found[rival, SIZES[-1]]
        totals = "".join(f"{f'{found[rival, size][0] * size:.2f} s':>14}" for size in SIZES)
        print(f"{title:34}{1e3 * wall:12.2f}{1e3 * cpu:12.2f}{totals}")
    for title, rival, trials in (
        ("Ray Tune, reused actors", "reused", REUSED),
        ("Ray Tune, fresh actors", "fresh", FRESH),
    ):
        wall, cpu = found[rival, trials]
        totals = "".join(f"{f'{wall * size:.0f} s':>14}" for size in SIZES)
        print(f"{title:34}{1e3 * wall:12.2f}{1e3 * cpu:12.2f}{totals}   scaled from {trials} trials")


def in_child(what: str, cells: int, root: str) -> dict[str, float]:
    """Run `child` in a process of its own; `began` is when that was."""
    command = [sys.executable, __file__, "--child", what, str(cells), root]
    began = time.time()
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=what != "fill")
    lines = made.stdout.strip().splitlines()
    return {"began": began, "seconds": time.time() - began, **(json.loads(lines[-1]) if what != "plan" else {})}


def child(what: str, cells: int, root: str) -> None:
    study = study_of(cells)
    store = Store(root, NAME)
    use_one_thread()
    if what == "plan":
        from pipeline import cli

        (folder := Path(root)).mkdir()
        sys.exit(cli.main(["plan", str(write_study(folder, study)), "--store", root]))
    if what == "memory":
        from pipeline.run.executors.on_ray import RayExecutor

        executor = RayExecutor(workers=None, device="cpu", hang_seconds=600)
        run(study, store, executor)
        print(json.dumps({"peak": most_memory()}))
        return
    ear = Ear(stop_after=cells // 2 if what == "fill" else 1)
    run(study, store, InlineExecutor(device="cpu"), (ear,))


class Ear:
    """A listener that ends the process as `kill -9` would, once it has heard of so many ended cells."""

    def __init__(self, stop_after: int):
        self._left = stop_after

    def begin(self, cell: Any, points: Any) -> None: ...

    def tell(self, events: Any) -> None:
        self._left -= sum(isinstance(event, Ended) for event in events)
        if self._left <= 0:
            print(json.dumps({"at": time.time()}), flush=True)
            os._exit(0)


def most_memory() -> float:
    """The most memory that this process has had, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each rival, of which the median counts")
    parser.add_argument("--big", type=int, default=10_000, help="cells of plan, resume and memory (default: 10,000)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, cells, root = options.child
        child(what, int(cells), root)
        return 0

    import ray

    use_one_thread()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    root = tempfile.mkdtemp(prefix="unsl-overhead-")
    try:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
        found = side_by_side(options.rounds, root)
        ray.shutdown()
        print_table(found)
        big = options.big
        plan = statistics.median(in_child("plan", big, f"{root}/plan{number}")["seconds"] for number in range(3))
        print(f"\n{big:,} cells planned, the whole command: {plan:.1f} s (goal {PLAN_SECONDS})")
        in_child("fill", big, f"{root}/resume")
        resumed = in_child("resume", big, f"{root}/resume")
        print(
            f"{big:,} cells, the driver killed half way: run again, the first new cell is in the store after "
            f"{resumed['at'] - resumed['began']:.1f} s (goal {RESUME_SECONDS})"
        )
        few, many = (in_child("memory", cells, f"{root}/memory-{cells}")["peak"] for cells in (big // 10, big))
        print(f"the driver's memory at its peak: {few:.0f} MiB with {big // 10:,} cells, {many:.0f} MiB with {big:,}")
    finally:
        shutil.rmtree(root)
    most = SIZES[-1]
    mine = found["ours", most][0]
    fresh, reused = found["fresh", FRESH][0] / mine, found["reused", REUSED][0] / mine
    print(
        f"beside ours, a cell takes Ray Tune {fresh:.0f} times as long with fresh actors (goal {TUNE_GOAL}), ", end=""
    )
    print(f"{reused:.0f} times with reused ones")
    print(f"overhead: {mine / found['plain', most][0]:.3g} (goal {GOAL})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
