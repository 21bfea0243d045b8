"""Prints how many threads a process has after Procgen's runs that ended in every way, less what it had before them.

A process of its own, since other libraries' threads come and go in one that has run other tests.
"""

from __future__ import annotations

import os

from small_procgen import SMALL

from trainers.battery import Recorder, run_in_memory
from trainers.procgen import PROCGEN, random_returns


class Failing(Recorder):
    def checkpoint_due(self):
        raise RuntimeError("the cell fails")


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def main() -> None:
    run_in_memory(PROCGEN, [SMALL])  # torch's own threads, and Qt's
    before = threads()
    failures = 0
    for _ in range(3):
        try:
            run_in_memory(PROCGEN, [SMALL], Failing())
        except RuntimeError as error:
            failures += str(error) == "the cell fails"
        abandoned = PROCGEN.train([SMALL], Recorder())
        next(abandoned)
        abandoned.close()
        random_returns(game="bossfight", mode="easy", episodes=2, seed=0)
    print(failures, threads() - before)


if __name__ == "__main__":
    main()
