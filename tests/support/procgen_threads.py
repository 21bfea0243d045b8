"""Prints how many threads a process has after Procgen's runs that ended in every way, less what it had before them.

A process of its own, since other libraries' threads come and go in one that has run other tests.
"""

from __future__ import annotations

import dataclasses
import os

import torch
from small_procgen import SMALL

from trainers.battery import Recorder, run_in_memory
from trainers.procgen import PROCGEN, random_returns

SHORT = dataclasses.replace(SMALL, steps=4)


class Failing(Recorder):
    def checkpoint_due(self):
        raise RuntimeError("the cell fails")


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def main() -> None:
    torch.set_num_threads(1)  # as trainers are run, and without threads that wait for each other on a busy core
    run_in_memory(PROCGEN, [SHORT])  # torch's own threads, and Qt's
    before = threads()
    failures = 0
    for _ in range(3):
        try:
            run_in_memory(PROCGEN, [SHORT], Failing())
        except RuntimeError as error:
            failures += str(error) == "the cell fails"
        abandoned = PROCGEN.train([SHORT], Recorder())
        next(abandoned)
        abandoned.close()
        random_returns(game="bossfight", mode="easy", episodes=2, seed=0)
    print(failures, threads() - before)


if __name__ == "__main__":
    main()
