"""Ten rounds of a small study, each started twice at once and killed -9 at a random moment, until it is closed.

    python benchmarks/rescale_chaos.py [--rounds 10] [--seed 0]       some ten minutes on two cores
    python benchmarks/rescale_chaos.py --nodes 3                      on Ray over simulated nodes: longer

Whole processes, as cron starts them, in one folder; what tests/pipeline/rescale/test_chaos.py does to changes of files
is done to wall-clock moments here. After every death: the ledger verifies, no point and no forecast is there twice, no
cell ran before its forecast, no cell is in two rounds, the budget is kept. Prints how the calls ended and last `rescale
chaos: 1 (goal 1)` where all of it held.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from growing import STUDY, check
from rehearsal import write_study

from pipeline.store import Store

ROOT = Path(__file__).resolve().parent.parent
LATEST = 2.0
"""Moments of death are drawn from so many times what a call took that nobody disturbed: half of them come too late."""


def start(folder: str, executor: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "unsl.py"), "rescale", "rehearsal", "--executor", executor, "--wandb", "off"]
    with open(Path(folder, "said.txt"), "ab") as said:
        return subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)


@contextlib.contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """The executor to run on: this process, or Ray over so many nodes of one core that are simulated here."""
    if not nodes:
        yield "inline"
        return
    # Said outright: whether the machine has a token of Ray's own must not decide whether its nodes find each other.
    os.environ["RAY_AUTH_MODE"] = "disabled"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1)
        made.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = made.address
        yield "ray"
    finally:
        made.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, endings, began = random.Random(options.seed), Counter(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="unsl-rescale-chaos-") as folder, cluster(options.nodes) as executor:
        os.environ["UNSL_STORE"] = str(Path(folder, "runs"))
        write_study(Path(folder), STUDY)
        store = Store(os.environ["UNSL_STORE"], STUDY.name)
        undisturbed = time.perf_counter()
        assert start(folder, executor).wait() == 0, "the grid, before the first round"
        longest = LATEST * (time.perf_counter() - undisturbed)
        calls, killed_in = 1, Counter()
        while (closed := sum(one.closed is not None for one in store.rounds())) < options.rounds:
            two = [start(folder, executor) for _ in range(2)]
            calls += 2
            for process in two:
                try:
                    process.wait(draw.uniform(0, longest))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    killed_in[closed + 1] += 1
                endings["killed" if process.returncode < 0 else f"exit {process.returncode}"] += 1
                if process.returncode > 0:
                    print(Path(folder, "said.txt").read_text(errors="replace")[-600:], flush=True)
            check(store)
            print(
                f"{time.perf_counter() - began:6.0f} s  {calls} calls, {closed} rounds closed, {dict(endings)}",
                flush=True,
            )
        seconds = time.perf_counter() - began
        print(f"{options.rounds} rounds closed by {calls} calls in {seconds:.0f} s: {dict(endings)}")
        print(f"an undisturbed call took {longest / LATEST:.1f} s; killed, by round: {dict(sorted(killed_in.items()))}")
        sound = set(endings) <= {"killed", "exit 0"} and endings["killed"] > 0
        sound &= {record.status for record in store.records().values()} == {"done"}
    print(f"rescale chaos: {int(sound)} (goal 1)")


if __name__ == "__main__":
    main()
