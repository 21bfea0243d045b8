"""Ten rounds of a small study, each started twice at once and killed -9 at a random moment, until it is closed.

    python benchmarks/rescale_chaos.py [--rounds 10] [--seed 0]       some ten minutes on two cores

Whole processes, as cron starts them, in one folder; what tests/pipeline/rescale/test_chaos.py does to changes of files
is done to wall-clock moments here. After every death: the ledger verifies, no point and no forecast is there twice, no
cell ran before its forecast, no cell is in two rounds, the budget is kept. Prints how the calls ended and last `rescale
chaos: 1 (goal 1)` where all of it held.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from growing import STUDY, check
from rehearsal import write_study

from pipeline.store import Store

ROOT = Path(__file__).resolve().parent.parent
LONGEST_SECONDS = 20.0
"""Of a call on a busy machine: moments of death are drawn from it."""


def start(folder: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "unsl.py"), "rescale", "rehearsal", "--executor", "inline", "--wandb", "off"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, endings, began = random.Random(options.seed), Counter(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="unsl-rescale-chaos-") as folder:
        os.environ["UNSL_STORE"] = str(Path(folder, "runs"))
        write_study(Path(folder), STUDY)
        store = Store(os.environ["UNSL_STORE"], STUDY.name)
        calls = 0
        while sum(one.closed is not None for one in store.rounds()) < options.rounds:
            two = [start(folder) for _ in range(2)]
            calls += 2
            for process in two:
                try:
                    process.wait(draw.uniform(0, LONGEST_SECONDS))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                endings["killed" if process.returncode < 0 else f"exit {process.returncode}"] += 1
            if store.records():
                check(store)
        print(
            f"{options.rounds} rounds closed by {calls} calls in {time.perf_counter() - began:.0f} s: {dict(endings)}"
        )
        sound = set(endings) <= {"killed", "exit 0"} and endings["killed"] > 0
        sound &= {record.status for record in store.records().values()} == {"done"}
    print(f"rescale chaos: {int(sound)} (goal 1)")


if __name__ == "__main__":
    main()
