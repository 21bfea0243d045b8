"""A study to which everything happens, and what is left of it: beside the same study undisturbed.

    python benchmarks/chaos.py                          1,000 cells on a disk, 200 on S3; some minutes on two cores
    python benchmarks/chaos.py --cells 30 --s3-cells 0 --seconds 1      as in the tests

Cells of the oracle that sleep, on a Ray cluster of three nodes simulated on this machine, tracked by a stand-in for W&B
on loopback that fails half of its answers. While they run, at moments drawn from `--seed`: workers are killed, a node
is removed, the driver is killed twice, a second one is started beside it, one is paused until another has taken its
study over and then wakes, and once the disk is full. Each time the study is just run again. On S3, on loopback, one
request of fifty fails all the while, half of those after they were carried out, and lists are late. What must be left
is the table of an undisturbed run bit for bit (but for seconds), each cell done once, W&B with each point once after
`unsl sync`, and no litter: no journal, no checkpoint, no unfinished file, no process. Needs Linux.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import functools
import itertools
import logging
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from rehearsal import write_study

from pipeline import Axis, Metric, Split, Study
from pipeline.plan import make_plan
from pipeline.store import CellRecord, Store

NAME = "chaos"
STEPS = 256
KEY = ["cell", "step", "inference_steps"]
EXPIRE_SECONDS = 10.0
"""Of a driver's lease: a minute for a user, and too long for a benchmark."""
REFUSED = (2, 3)
"""Exit codes of a driver that says what is in its way."""
MOST_MINUTES = 30
"""A study that takes longer has come to a standstill."""


def study_of(cells: int, seconds: float) -> Study:
    """Cells of five points and five sizes, each asleep for some seconds."""
    return Study(
        name=NAME,
        trainer="oracle",
        fixed={"steps": STEPS, "step_seconds": seconds / STEPS},
        axes=[Axis("parameters", (1_000, 3_000, 10_000, 30_000, 100_000))],
        seeds=range(math.ceil(cells / 5)),
        metric=Metric(name="loss"),
        inputs=("parameters", "step"),
        split=Split(held_out="parameters > 10_000"),
        laws=("cf",),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000, help="cells on a disk, in fives (default: 1,000)")
    parser.add_argument("--s3-cells", type=int, default=200, help="cells on S3, likewise (default: 200)")
    parser.add_argument("--seconds", type=float, default=0.3, help="that a cell sleeps (default: 0.3)")
    parser.add_argument("--seed", type=int, default=0, help="draws what happens when")
    parser.add_argument("--drive", nargs=3, metavar=("VERB", "FOLDER", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        return drive(*options.drive)
    adopt_orphans()
    shares = [chaos(options, cells, on_s3=on_s3) for cells, on_s3 in ((options.cells, False), (options.s3_cells, True))]
    print(f"chaos: {min(shares):.6g} (goal 1)", flush=True)
    return 0 if min(shares) == 1 else 1


def chaos(options: argparse.Namespace, cells: int, *, on_s3: bool) -> float:
    """The share of a study's points that are as they should be."""
    if not cells:
        return 1.0

    from s3_server import BUCKET, Faults, S3Server

    print(f"{cells:,} cells on {'S3' if on_s3 else 'a disk'}", flush=True)
    folder = tempfile.mkdtemp(prefix="unsl-chaos-")
    root = f"s3://{BUCKET}/runs" if on_s3 else f"{folder}/runs"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        if on_s3:
            stack.enter_context(S3Server.running(Faults(failing=0.02, late_seconds=0.2, seed=options.seed)))
        return Chaos(study=study_of(cells, options.seconds), options=options, folder=folder, root=root).run()


def drive(verb: str, folder: str, root: str) -> int:
    """The driver's own process: the command line on a folder's study, with a disk that is full while a file says so."""
    import pipeline.run
    from pipeline import cli, verbs
    from pipeline.store import lease

    fsync = os.fsync

    def fsync_unless_full(handle: int) -> None:
        if os.path.exists(f"{folder}/full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    os.fsync = fsync_unless_full
    verbs.run.TRACKING_CLOSE_SECONDS = 5.0
    lease.RENEW_SECONDS, lease.EXPIRE_SECONDS = EXPIRE_SECONDS / 10, EXPIRE_SECONDS
    pipeline.run.Driver = functools.partial(pipeline.run.Driver, checkpoint_seconds=0.1)
    run = ["--executor", "ray", "--device", "cpu", "--retry", "failed"] if verb == "run" else []
    return cli.main([verb, f"{folder}/{NAME}.py", "--store", root, "--wandb", "online", *run])


@dataclass(kw_only=True)
class Chaos:
    """One study, what is done to it, and the verdict."""

    study: Study
    options: argparse.Namespace
    folder: str
    root: str
    """Folder or URL of the store."""
    wrong: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    cluster: Any = None
    stub: Any = None
    nodes: list[Any] = field(default_factory=list)

    def run(self) -> float:
        """The share of the points that are as they should be; 0 where anything else is wrong."""
        from wandb_stub import WandbStub

        self.path = write_study(Path(self.folder), self.study)
        expected = self.undisturbed()
        self.store = Store(self.root, NAME)
        self.expected_points = len(expected)
        with WandbStub(failing=0.5, seed=self.options.seed) as self.stub:
            self.start_cluster()
            try:
                self.disturb()
                took = time.monotonic() - self.began
                self.note(self.share(), "the driver ended; unsl sync")
                self.stub.failing = 0.0
                began = time.monotonic()
                self.expect("unsl sync sends what W&B lacks", self.call("sync").wait(600) == 0)
                synced = time.monotonic() - began
            finally:
                self.cluster.shutdown()
            share = self.judge(expected)
        print(f"\n{len(self.study.cells)} cells, {self.expected_points} points, seed {self.options.seed}: ", end="")
        print(f"{took:.0f} s with {self.starts} starts of the driver, then {synced:.0f} s of `unsl sync`")
        print(f"W&B answered {dict(sorted(self.stub.answers.items()))}")
        if self.wrong:
            print(self.log()[-6000:], file=sys.stderr)
        print("verdict:", "; ".join(self.wrong) if self.wrong else "nothing lost, nothing doubled, nothing left behind")
        return 0.0 if self.wrong else share

    def undisturbed(self) -> dict[tuple, tuple]:
        """The points of the same study run in this process, where nobody sleeps."""
        from pipeline import cli

        root = f"{self.folder}/undisturbed"
        options = ["--executor", "inline", "--device", "cpu", "--wandb", "off", "--store", root]
        with ExitStack() as stack:
            stack.enter_context(mock.patch("time.sleep"))
            log = stack.enter_context(open(f"{self.folder}/log", "a"))
            stack.enter_context(redirect_stdout(log))
            stack.enter_context(redirect_stderr(log))
            assert cli.main(["run", str(self.path), *options]) == 0
        return dict(rows_of(Store(root, NAME)))

    def start_cluster(self) -> None:
        """Three nodes, each with an address of its own on loopback."""
        from ray.cluster_utils import Cluster

        logging.getLogger("ray").setLevel(logging.ERROR)
        here = {"num_cpus": 2, "include_dashboard": False, "node_ip_address": "127.0.0.2"}
        self.cluster = Cluster(initialize_head=True, head_node_args=here)
        self.nodes = [self.cluster.add_node(num_cpus=2, node_ip_address=f"127.0.0.{3 + i}") for i in range(2)]
        self.cluster.wait_for_nodes()

    def call(self, verb: str) -> subprocess.Popen:
        """A driver, or another verb, as a process of its own."""
        environment = os.environ | self.stub.environment | {"RAY_ADDRESS": self.cluster.address}
        environment |= {f"WANDB_{kind}_DIR": f"{self.folder}/wandb-{kind}" for kind in ("CONFIG", "CACHE", "DATA")}
        environment.pop("WANDB_MODE", None)
        with open(f"{self.folder}/log", "a") as log:
            command = [sys.executable, __file__, "--drive", verb, self.folder, self.root]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def disturb(self) -> None:
        """Run the study to its end, whatever is done to it meanwhile."""
        draw = random.Random(self.options.seed)
        kills = min(max(3, len(self.study.cells) // 20), 25)
        moments = [(draw.uniform(0.05, 0.85), self.kill_worker) for _ in range(kills)]
        moments += [(draw.uniform(0.15, 0.25), self.kill_driver), (draw.uniform(0.45, 0.55), self.kill_driver)]
        moments += [(draw.uniform(0.25, 0.3), self.start_another), (draw.uniform(0.55, 0.6), self.pause_driver)]
        moments += [(draw.uniform(0.3, 0.4), self.remove_node)]
        if self.store.folder.is_local:
            moments += [(draw.uniform(0.6, 0.7), self.fill_disk)]
        moments.sort(key=lambda moment: moment[0])
        self.draw, self.starts = draw, 0
        self.start_driver()
        while time.monotonic() - self.began < 60 * MOST_MINUTES:
            share = self.share()
            if moments and share >= max(moments[0][0], self.share_at_start + 1e-9) and self.driver.poll() is None:
                action = moments[0][1]
                if what := action():
                    self.note(share, what)
                    del moments[0]
            if (code := self.driver.poll()) is not None:
                if code == 0:
                    break
                self.expect(f"the driver ends with 0 or 1, not {code}", code == 1)
                self.start_driver()
                self.note(share, "cells had failed for good: the study run once more with --retry failed")
            time.sleep(0.05)
        else:
            self.wrong.append(f"the study was not done after {MOST_MINUTES} minutes")
            self.driver.kill()
        self.expect(f"{len(moments)} disturbances came too late", not moments)

    def note(self, share: float, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {share:4.0%}  {what}", flush=True)

    def start_driver(self) -> None:
        self.starts += 1
        self.share_at_start = self.share()
        self.driver = self.call("run")

    def share(self) -> float:
        """The share of the points that is in the store."""
        return sum(record.points for record in self.store.records().values()) / self.expected_points

    def kill_worker(self) -> str:
        busy = [pid for pid in descendants() if command_of(pid).startswith("ray::unsl")]
        if not busy:
            return ""
        os.kill(self.draw.choice(busy), signal.SIGKILL)
        return f"a worker killed, of {len(busy)} at work"

    def kill_driver(self) -> str:
        self.driver.kill()
        self.driver.wait()
        self.start_driver()
        return "the driver killed and started again"

    def start_another(self) -> str:
        """A second driver on the same study."""
        code = self.call("run").wait(120)
        self.expect("a second driver is refused", code in REFUSED and "another driver is running" in self.log())
        return f"a second driver started beside the first: it ended with exit code {code}"

    def pause_driver(self) -> str:
        """Silent until another has taken its study over and has written; then it wakes in the middle of that."""
        paused, before = self.driver, self.share()
        paused.send_signal(signal.SIGSTOP)
        time.sleep(1.5 * EXPIRE_SECONDS)
        self.start_driver()
        deadline = time.monotonic() + 120
        while self.share() <= before and self.driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        paused.send_signal(signal.SIGCONT)
        code = paused.wait(120)
        self.expect("a driver that was taken over stops", code in REFUSED and "taken this study over" in self.log())
        return f"the driver paused, its study taken over, and woken: it ended with exit code {code}"

    def remove_node(self) -> str:
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)
        return "a node removed, of three"

    def fill_disk(self) -> str:
        flag = Path(self.folder, "full")
        flag.touch()
        code = self.driver.wait(60)
        flag.unlink()
        self.expect("a full disk is one clear error", code in REFUSED and "cannot be written" in self.log())
        self.start_driver()
        return f"the disk full: the driver ended with exit code {code}; started again"

    def log(self) -> str:
        """What the drivers have said."""
        return Path(self.folder, "log").read_text()

    def expect(self, what: str, true: bool) -> None:
        if not true:
            self.wrong.append(f"not so: {what}")

    def judge(self, expected: dict[tuple, tuple]) -> float:
        """Compare what is left with what should be; the share of points that are equal, of all in one or the other."""
        cells = Counter(record.id for record in footers(self.store))
        self.expect("each cell is done exactly once", cells == Counter(cell.id for cell in self.study.cells))
        self.expect("every cell ended as done", {record.status for record in footers(self.store)} == {"done"})
        self.expect("the plan says so", make_plan(self.study, self.store).counts() == {"done": len(cells)})
        rows = list(rows_of(self.store))
        found = dict(rows)
        self.expect("no point is there twice", len(rows) == len(found))
        equal = sum(found.get(key) == row for key, row in expected.items())
        share = equal / len(expected.keys() | found.keys())
        self.expect("the table is that of an undisturbed run", share == 1)
        left = [name for name in self.store.folder.names_below("") if is_litter(name)]
        self.expect(f"no litter: {left[:5]}", not left)
        self.expect("W&B has each point once, in order", self.wandb_has(expected))
        deadline = time.monotonic() + 30
        while (alive := [command_of(pid) for pid in descendants()]) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.expect(f"no process is left: {alive}", not alive)
        return share

    def wandb_has(self, expected: dict[tuple, tuple]) -> bool:
        runs = {name.rsplit("-", 1)[-1]: run for name, run in self.stub.runs.items() if not name.endswith("-costs")}
        steps = {cell: [key[1] for key in keys] for cell, keys in itertools.groupby(sorted(expected), lambda k: k[0])}
        for cell, run in runs.items():
            if [row["step"] for row in run.rows()] != steps.get(cell) or run.exit_code != 0:
                return False
            if any(row["points/loss"] != dict(expected[cell, row["step"], 1])["loss"] for row in run.rows()):
                return False
        return runs.keys() == steps.keys()


def rows_of(store: Store):
    """Every row of every Parquet file: what tells points apart, and all else but the seconds."""
    import io

    import pyarrow.parquet

    for name in store.folder.names("points", ending=".parquet"):
        for row in pyarrow.parquet.read_table(io.BytesIO(store.folder.read(f"points/{name}"))).to_pylist():
            del row["seconds"]
            yield tuple(row.pop(name) for name in KEY), tuple(sorted(row.items()))


def footers(store: Store) -> list[CellRecord]:
    """The cells that the Parquet files say they hold."""
    return [record for footer in store.look().footers.values() for record in footer.records.values()]


def is_litter(name: str) -> bool:
    """Whether a file of a finished study should have gone. W&B's folder is not ours; accounts and forecasts stay."""
    stays = {"wandb", "tracking", "lease", "questions", "store.json", "accounts", "ledger", "fits"}
    return name.split("/")[0] not in stays and not name.endswith(".parquet")


def adopt_orphans() -> None:
    """Processes whose parents die become this one's children, so that none gets out of sight."""
    pr_set_child_subreaper = 36
    ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Processes below this one that run, in no order."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(name)] = int(parent)
    found, below = [], [os.getpid()]
    while below:
        below = [pid for pid, parent in parents.items() if parent in below]
        found += below
    return found


def command_of(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
