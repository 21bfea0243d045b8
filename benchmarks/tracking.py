"""A thousand cells of one study at W&B: what is sent, how fast, and whether a person can still find a run among them.

    python benchmarks/tracking.py [--cells 1000]        ten to twenty minutes on two busy cores

The server is a stand-in on loopback, which keeps what it is sent and answers at once; the runs' names, groups, tags and
configurations are what W&B would show. The cells are the oracle's, so nothing is trained. Prints what came and last
`tracking: <runs created in the busiest second, of the 80 that W&B takes> (goal at most 0.5)`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from offline_wandb import read_offline_runs
from rehearsal import make_study, run_study
from wandb_stub import StubRun, WandbStub

from pipeline import Axis
from pipeline.store import Store
from pipeline.tracking import sync

MOST_A_SECOND = 80
"""New runs that W&B takes in one project."""


class Timed(WandbStub):
    """When each run was created, in seconds."""

    def _run(self, name: str) -> StubRun:
        times = self.__dict__.setdefault("created_at", {})
        times.setdefault(name, time.perf_counter())
        return super()._run(name)


def study_of(cells: int):
    """A grid of five sizes, four amounts of data and as many seeds as it takes."""
    axes = [
        Axis("parameters", (1_000, 2_000, 4_000, 8_000, 16_000)),
        Axis("dataset_size", (1_000, 4_000, 16_000, 64_000)),
    ]
    return make_study(name="thousand", axes=axes, seeds=range(cells // 20))


def show(title: str, runs: dict[str, dict]) -> None:
    """runs: by identity, with name, group, tags, keys of the configuration and metrics."""
    groups, tags = (
        Counter(run["group"] for run in runs.values()),
        Counter(t for run in runs.values() for t in run["tags"]),
    )
    names = Counter(run["name"] for run in runs.values())
    keys = sorted({key for run in runs.values() for key in run["keys"]})
    print(f"{title}: {len(runs)} runs in {len(groups)} group ({', '.join(groups)}), {len(names)} different names")
    print(f"  a name: {next(iter(names))}")
    print(f"  tags: {', '.join(f'{tag} ({count})' for tag, count in tags.most_common())}")
    print(f"  {len(keys)} keys of the configuration: {', '.join(keys)}")
    print(f"  {len({key for run in runs.values() for key in run['metrics']})} metrics: "
          f"{', '.join(sorted({key for run in runs.values() for key in run['metrics']}))}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1000)
    options = parser.parse_args()
    study = study_of(options.cells)
    with tempfile.TemporaryDirectory(prefix="unsl-tracking-") as folder, Timed() as server:
        store = Store(str(Path(folder, "runs")), study.name)
        run_study(study, store)
        points = len(store.table())
        os.environ |= server.environment
        took, processor = {}, {}
        for mode in ("offline", "online"):
            began, spent = time.perf_counter(), sum(os.times()[:4])
            outcome = sync(mode, study=study, store=store, folder=str(Path(folder, mode)))
            took[mode], processor[mode] = time.perf_counter() - began, sum(os.times()[:4]) - spent
            assert (outcome.runs, outcome.runs_left, outcome.failures) == (len(study.cells), 0, 0), outcome
        again = time.perf_counter()
        assert sync("online", study=study, store=store, folder=str(Path(folder, "online"))).points == 0
        again = time.perf_counter() - again
        offline = read_offline_runs(Path(folder, "offline"))
        files = [path for path in Path(folder, "offline").rglob("*") if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        created = sorted(server.created_at.values())
    print(f"{len(study.cells)} cells, {points} points")
    shown = {
        name: {"name": run.name, "group": run.group, "tags": run.tags, "keys": run.config, "metrics": run.summary}
        for name, run in offline.items()
    }
    show("offline", shown)
    print(f"  {took['offline']:.0f} s, {processor['offline']:.0f} s of a core; {len(files)} files, {size / 1e6:.1f} MB")
    runs = {name: run for name, run in server.runs.items() if run.created}
    assert runs.keys() == offline.keys() and sum(len(run.rows()) for run in runs.values()) == points
    assert {run.created for run in runs.values()} == {1} and {run.exit_code for run in runs.values()} == {0}
    names = Counter(run.about["displayName"] for run in runs.values())
    groups = Counter(run.about["groupName"] for run in runs.values())
    busiest = max(sum(start <= one < start + 1 for one in created) for start in created)
    print(
        f"online: {len(runs)} runs of {len(groups)} group and {len(names)} names, the same; answered "
        f"{dict(server.answers)}"
    )
    print(
        f"  {took['online']:.0f} s, {processor['online']:.0f} s of a core; {busiest} runs created in the busiest second"
    )
    print(f"  once more: {again:.1f} s, nothing sent")
    print(f"tracking: {busiest / MOST_A_SECOND:.2f} (goal at most 0.5)")


if __name__ == "__main__":
    main()
