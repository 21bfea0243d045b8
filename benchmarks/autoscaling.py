"""A study on spot GPUs that come and go: Ray's autoscaler from none to sixteen and back, over pretended nodes.

    python benchmarks/autoscaling.py                                          500 cells, 16 nodes: ten minutes or more
    python benchmarks/autoscaling.py --cells 25 --nodes 3 --lose-every 30     a few minutes on two cores
    python benchmarks/autoscaling.py --simulated                             the same on a clock of its own, without Ray

The oracle's cells sleep on nodes of one pretended GPU each, which Ray's own autoscaler launches as they are asked for.
Every few seconds one is taken away at once, as spot machines are. The first that comes is sick: whatever runs there
fails. Half way the driver is stopped as `ray job stop` does it, by SIGTERM with three seconds to live, and later
started again. What must be left: every cell done once and none failed, the sick node named, nothing that waits for a
node after the stop, and no node in the end. Nodes are processes of this machine: how long they take to come, and so how
long GPUs idle, says nothing of a cloud. Needs Linux.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from rehearsal import make_study, run_study, write_study

from pipeline import Axis, Metric, Split, Study
from pipeline.plan import Accounts
from pipeline.store import Ended, Store

ROOT = Path(__file__).resolve().parent.parent
NAME = "autoscaling"
STEPS = 256
IDLE_MINUTES = 0.25
"""Until a node without work leaves: seconds here, minutes in a cloud, where a node takes minutes to come."""
KILL_SECONDS = 3.0
"""Between SIGTERM and SIGKILL of `ray job stop`."""
MOST_MINUTES = 25


def study_of(cells: int, seconds: float) -> Study:
    """Cells of five sizes, each asleep for some seconds."""
    return Study(
        name=NAME,
        trainer=f"{ROOT}/tests/support/fragile.py:FRAGILE",
        fixed={"steps": STEPS, "step_seconds": seconds / STEPS},
        axes=[Axis("parameters", (1_000, 3_000, 10_000, 30_000, 100_000))],
        seeds=range(math.ceil(cells / 5)),
        metric=Metric(name="loss"),
        inputs=("parameters", "step"),
        split=Split(held_out="parameters > 10_000"),
        laws=("cf",),
        cohort_size=1,
        device="gpu",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=500, help="cells, in fives (default: 500)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that a cell sleeps (default: 3)")
    parser.add_argument("--nodes", type=int, default=16, help="GPU nodes at most (default: 16)")
    parser.add_argument("--lose-every", type=float, default=10.0, help="seconds between losses (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="draws which nodes are lost")
    parser.add_argument("--simulated", action="store_true", help="no Ray: nodes that are simulated in this process")
    parser.add_argument("--drive", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    study = study_of(options.cells, options.seconds)
    if options.drive:
        return drive(options.drive)
    with tempfile.TemporaryDirectory(prefix="unsl-autoscaling-") as folder:
        if options.simulated:
            return simulate(options, folder)
        return Autoscaling(study=study, options=options, folder=folder).run()


def drive(folder: str) -> int:
    """The driver's own process: the command line on the study in a folder."""
    import pipeline.run
    from pipeline import cli

    pipeline.run.Driver = functools.partial(pipeline.run.Driver, checkpoint_seconds=0.5)
    return cli.main(["run", f"{folder}/{NAME}.py", "--store", f"{folder}/runs", "--wandb", "off"])


def simulate(options: argparse.Namespace, folder: str) -> int:
    """The same on a simulated cloud (tests/support/simulated_cloud.py says what that leaves out): stopped half way, and
    run again."""
    from simulated_cloud import SimulatedCloud

    study = study_of(options.cells, options.seconds)
    study = make_study(trainer="oracle", fixed={"steps": 1_000}, axes=study.axes, seeds=study.seeds, cohort_size=1)
    store, drivers, done = Store(folder, study.name), [], []

    class StopHalfWay:
        def begin(self, cell, points): ...

        def tell(self, events):
            done.extend(event for event in events if isinstance(event, Ended))
            if len(done) >= len(study.cells) / 2:
                drivers[0].stop()

    clouds = [SimulatedCloud(lose_every=options.lose_every, most=options.nodes, seed=options.seed + n) for n in (0, 1)]
    first = run_study(study, store, clouds[0], listeners=[StopHalfWay()], watch=drivers.append, checkpoint_seconds=0.0)
    waiting = clouds[0].waiting
    second = run_study(study, store, clouds[1], checkpoint_seconds=0.0)
    held, up = (sum(getattr(one.account, what)["gpu"] for one in (first, second)) for what in ("held", "offered"))
    sick = {node.node for one in (first, second) for node in one.account.sick}
    losses, seconds = (sum(getattr(cloud, what) for cloud in clouds) for what in ("losses", "now"))
    on_sick = sum(node == "node 1" for cloud in clouds for _, node in cloud.started)
    print(f"{len(study.cells)} cells in {seconds:.0f} simulated seconds, stopped once; {losses} nodes taken back")
    print(f"the sick node {sick} was given {on_sick} cells; {waiting} tasks waited for a node after the stop")
    print(f"GPU-seconds: {up:.0f} up, {held:.0f} held; idle {1 - held / up:.0%}")
    points = Counter(store.table()["cell"])
    once = sum(points[cell.id] == cell.points for cell in study.cells)
    print(f"autoscaling: {once / len(study.cells):.6g} (goal 1)", flush=True)
    good = once == len(study.cells) and not waiting and sick == {"node 1"} and first.failed + second.failed == 0
    return 0 if good else 1


@dataclass(kw_only=True)
class Autoscaling:
    """One study, what is done to it, and the verdict."""

    study: Study
    options: argparse.Namespace
    folder: str
    wrong: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    sick: str = ""
    lost: int = 0
    most_nodes: int = 0

    def run(self) -> int:
        from fake_cloud import fake_cloud

        self.store, self.sick_file = Store(f"{self.folder}/runs", NAME), Path(self.folder, "sick")
        self.draw = random.Random(self.options.seed)
        write_study(Path(self.folder), self.study)
        environment = {"UNSL_SICK": str(self.sick_file)}
        with fake_cloud(most=self.options.nodes, idle_minutes=IDLE_MINUTES, environment=environment) as self.cloud:
            self.note(f"the head is up, with {len(self.cloud.nodes())} GPU nodes")
            driver = self.start()
            self.watch(driver, until=0.5)
            self.stop(driver)
            driver = self.start()
            self.watch(driver, until=1.0)
            self.expect(f"the driver ends with 0, not {driver.wait(120)}", driver.returncode == 0)
            self.note("the driver has ended")
            self.empty("in the end")
        return self.judge()

    def start(self) -> subprocess.Popen:
        with open(f"{self.folder}/log", "a") as log:
            command = [sys.executable, __file__, "--drive", self.folder]
            return subprocess.Popen(command, stdout=log, stderr=log)

    def watch(self, driver: subprocess.Popen, *, until: float) -> None:
        """Take nodes away until so large a share of the cells is done."""
        next_loss = time.monotonic() + self.options.lose_every
        while self.done() < until * len(self.study.cells) and driver.poll() is None:
            nodes = self.cloud.nodes()
            if len(nodes) > self.most_nodes:
                self.most_nodes = len(nodes)
                self.note(f"{len(nodes)} nodes are up")
            if nodes and not self.sick:
                self.sick = min(nodes.values())
                self.sick_file.write_text(self.sick)
                self.note(f"{self.sick} is sick from the start")
            healthy = [address for address in nodes.values() if address != self.sick]
            if time.monotonic() > next_loss and healthy:
                next_loss = time.monotonic() + self.options.lose_every
                address = self.draw.choice(healthy)
                self.lost += self.cloud.lose(address)
                self.note(f"{address} is taken back, of {len(nodes)}")
            if time.monotonic() - self.began > 60 * MOST_MINUTES:
                self.expect(f"the study is done after {MOST_MINUTES} minutes", False)
                driver.kill()
            time.sleep(0.5)

    def stop(self, driver: subprocess.Popen) -> None:
        """As `ray job stop` does it."""
        began = time.monotonic()
        driver.send_signal(signal.SIGTERM)
        while self.store.holder() and time.monotonic() - began < KILL_SECONDS:
            time.sleep(0.05)
        self.note(f"the lease is given back {time.monotonic() - began:.1f} s after SIGTERM")
        try:
            driver.wait(max(0.0, KILL_SECONDS - (time.monotonic() - began)))
        except subprocess.TimeoutExpired:
            driver.kill()  # Where Ray's own end takes longer. Everything is kept by now.
        driver.wait()
        self.expect("the lease is given back", self.store.holder() is None)
        began = time.monotonic()
        while (waiting := self.cloud.demand()) and time.monotonic() - began < 10:
            time.sleep(0.2)
        self.note(f"{waiting} tasks wait for a node {time.monotonic() - began:.1f} s later")
        self.expect("nothing waits for a node after the stop", waiting == 0)
        self.empty("after the stop")

    def empty(self, when: str) -> None:
        began = time.monotonic()
        while (nodes := self.cloud.nodes()) and time.monotonic() - began < 120:
            time.sleep(1)
        self.note(f"{len(nodes)} nodes {when}, after {time.monotonic() - began:.0f} s")
        self.expect(f"no node is left {when}", not nodes)

    def done(self) -> int:
        return sum(record.finished for record in self.store.records().values())

    def note(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {self.done():4} done  {what}", flush=True)

    def expect(self, what: str, true: bool) -> None:
        if not true:
            self.wrong.append(f"not so: {what}")

    def judge(self) -> int:
        """The share of the cells that are done exactly once."""
        records, accounts = self.store.records(), Accounts.read(self.store.folder)
        table = self.store.table()
        points = Counter(table["cell"])
        each = self.study.cells[0].points
        once = sum(records[cell.id].status == "done" and points[cell.id] == each for cell in self.study.cells)
        sick = {node.address for account in accounts.all for node in account.sick}
        self.expect(f"the sick node is named, and no other: {sick}", sick == {self.sick})
        self.expect("as many nodes came as may", self.most_nodes == self.options.nodes)
        held, offered, trained = (
            sum(getattr(account, what).get("gpu", 0.0) for account in accounts.all)
            for what in ("held", "offered", "trained")
        )
        print(f"\n{len(self.study.cells)} cells, up to {self.most_nodes} nodes, {self.lost} taken back, one sick")
        print(f"GPU-seconds: {offered:.0f} up, {held:.0f} held, {trained:.0f} in points; idle {1 - held / offered:.0%}")
        if self.wrong:
            print(Path(self.folder, "log").read_text()[-4000:], file=sys.stderr)
        print(
            "verdict:", "; ".join(self.wrong) or "every cell done once, the sick node left alone, nothing left waiting"
        )
        share = once / len(self.study.cells)
        print(f"autoscaling: {share:.6g} (goal 1)", flush=True)
        return 1 if self.wrong or share < 1 else 0


if __name__ == "__main__":
    os.environ["RAY_AUTH_MODE"] = "disabled"
    sys.exit(main())
