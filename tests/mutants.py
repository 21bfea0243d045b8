"""Do the tests bite? Plant one fault at a time in the code, and see whether a test fails.

    make mutants                                                  # 240 faults drawn over all modules
    python tests/mutants.py pipeline/store --tests tests/pipeline/store    # a room's share of them, by its own tests
    python tests/mutants.py pipeline/store --again --keep         # those of them that survived the last time
    python tests/mutants.py --show                                # what is known of all 240, by room

The tests run once, in a copy of the project, to learn which of them reach which line (`--keep` takes what was learnt
the last time). Then each fault is tried in such a copy by the tests that reach its line, the quickest first, until one
fails. A fault that none of them notices has survived: it wants a test of behaviour, or a line in
`mutants_equivalent.txt` that says why the changed code does the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from faults import PACKAGES, ROOT, Fault, draw

BUILD = ROOT / "build" / "mutants"
VERDICTS = BUILD / "verdicts.json"
EQUIVALENT = ROOT / "tests" / "mutants_equivalent.txt"
DEAR = ["numpy", "pandas", "pyarrow", "scipy.optimize", "scipy.stats", "torch", "pytest"]
"""Imported once for all runs of tests, which are forked from the process that did so."""
SLACK_SECONDS, SLACK_FACTOR = 30.0, 4.0
"""A test run that takes so much longer than it did on sound code counts as failed: the fault made it hang."""
FIRST_SECONDS = 2.0
"""Tests of so long are tried first: about what it takes to collect them."""
GOAL = 0.95


class Stopwatch:
    """What pytest tells: how long each test took, and which failed."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report) -> None:
        self.seconds[report.nodeid] += report.duration
        self.pytest_collectreport(report)

    def pytest_collectreport(self, report) -> None:
        self.failed += [report.nodeid] if report.failed else []


def run_tests(place: Path, arguments: Sequence[str], environment: dict[str, str], quiet: bool) -> None:
    """In a process of its own: pytest on the copy of the project at `place`, which gets a file on what came."""
    os.setsid()
    os.chdir(place)
    os.environ |= {"PYTHONPATH": str(place)} | environment
    sys.path.insert(0, str(place))
    if quiet:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    import pytest

    class Ending(Stopwatch):
        @pytest.hookimpl(tryfirst=True)
        def pytest_unconfigure(self) -> None:
            (place / "came.json").write_text(json.dumps([self.failed, self.seconds]))

    sys.exit(pytest.main([*arguments, "-p", "no:cacheprovider"], plugins=[Ending()]))


class Copy:
    """A copy of what belongs to the project, committed or about to be, in which tests are run."""

    def __init__(self, name: str):
        self.place = BUILD / name
        shutil.rmtree(self.place, ignore_errors=True)
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
            (self.place / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, self.place / name)
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(DEAR)
        self.stamp = int(time.time())

    def run(
        self, *arguments: str, limit: float | None = None, quiet: bool = True, **environment: str
    ) -> tuple[list[str], dict[str, float]]:
        """The addresses of the tests that failed, or in words why none of them ended; and the seconds of every test."""
        came = self.place / "came.json"
        came.unlink(missing_ok=True)
        process = self.processes.Process(target=run_tests, args=(self.place, arguments, environment, quiet))
        process.start()
        process.join(limit)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return [f"no end after {limit:.0f} s"], {}
        failed, seconds = json.loads(came.read_text()) if came.exists() else ([], {})
        return failed or [f"pytest ended with {process.exitcode}"] * bool(process.exitcode), seconds

    def write(self, path: str, text: str) -> None:
        """Python takes a file of the same size and second for the one that it has compiled: no two are of one."""
        self.stamp += 1
        (self.place / path).write_text(text)
        os.utime(self.place / path, (self.stamp, self.stamp))

    def killer(self, fault: Fault, tests: Sequence[str], seconds: dict[str, float]) -> str:
        """The first test that fails with the fault in the code; "" if all pass."""
        sound = (self.place / fault.path).read_text()
        self.write(fault.path, fault.source)
        try:
            for some in _growing(tests, seconds):
                limit = SLACK_SECONDS + SLACK_FACTOR * sum(seconds[one] for one in some)
                if failed := self.run("-x", *some, limit=limit)[0]:
                    return failed[0]
            return ""
        finally:
            self.write(fault.path, sound)


def _growing(tests: Sequence[str], seconds: dict[str, float]) -> Iterator[list[str]]:
    """The tests in heaps, each of which takes four times as long: most faults are found by a quick test."""
    heap, limit = [], FIRST_SECONDS
    for test in tests:
        heap.append(test)
        if sum(seconds[one] for one in heap) >= limit:
            yield heap
            heap, limit = [], 4 * limit
    if heap:
        yield heap


class Reach:
    """Which tests run which line, and how long each takes."""

    def __init__(self, tests: Sequence[str], *, jobs: int, keep: bool):
        name = hashlib.sha256(" ".join(tests).encode()).hexdigest()[:8]
        data, seconds = BUILD / f"{name}.coverage", BUILD / f"{name}.json"
        place = BUILD / "sound"
        if not (keep and seconds.exists()):
            command = [*tests, f"--numprocesses={jobs}", "--dist=loadfile", "--no-loadscope-reorder"]
            command += ["--cov-context=test", "--cov-report=", *(f"--cov={package}" for package in PACKAGES)]
            failed, took = Copy(place.name).run(*command, quiet=False, COVERAGE_FILE=str(data))
            if failed:
                print("left out, since they fail on the sound code too:", *failed, sep="\n    ")
            if not took:
                sys.exit("no test ran on the sound code")
            seconds.write_text(json.dumps({test: time for test, time in took.items() if test not in failed}))
        self.seconds = json.loads(seconds.read_text())
        self._files: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        from coverage.numbits import numbits_to_nums

        with sqlite3.connect(data) as database:
            rows = database.execute(
                "select file.path, context.context, line_bits.numbits from line_bits "
                "join file on file.id = file_id join context on context.id = context_id"
            )
            for path, context, bits in rows:
                test = context.rsplit("|", 1)[0]
                for line in numbits_to_nums(bits) if test in self.seconds else ():
                    self._files[str(Path(path).relative_to(place))][line].add(test)

    def tests(self, fault: Fault) -> list[str]:
        """The tests that reach a fault's line, the quickest first, then those of its mirror among the tests.

        A line that runs while its module is imported is reached by all that reach the module. One that only other
        processes run, such as a worker's, is reached by no test that one can see: its mirror's start those processes.
        """
        lines = self._files[fault.path]
        mirror = str(Path("tests", *Path(fault.path).parent.parts)) + "/"
        reached = lines.get(fault.line) or set().union(*lines.values())
        beside = {test for test in self.seconds if test.startswith(mirror)} - reached
        return sorted(reached, key=self.seconds.get) + sorted(beside, key=self.seconds.get)


def show(drawn: Sequence[Fault], verdicts: dict[str, str]) -> float:
    """A table of rooms; the share of the faults with a verdict that were killed, of those that change anything."""
    rooms: dict[str, Counter[str]] = defaultdict(Counter)
    for fault in drawn:
        verdict = verdicts.get(fault.key)
        word = {None: "untried", "": "survived", "equivalent": "equivalent"}.get(verdict, "killed")
        rooms[fault.room][word] += 1
        rooms["all"][word] += 1
    words = ("killed", "equivalent", "survived", "untried")
    print(f"{'room':22}{'planted':>10}" + "".join(f"{word:>12}" for word in words))
    for room, counts in sorted(rooms.items(), key=lambda item: (item[0] == "all", item[0])):
        print(f"{room:22}{counts.total():10}" + "".join(f"{counts[word]:12}" for word in words))
    counts = rooms["all"]
    return counts["killed"] / max(counts["killed"] + counts["survived"], 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", default=list(PACKAGES), help="try only faults below these")
    parser.add_argument("--count", type=int, default=240, help="faults drawn over all modules (default: 240)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--tests", nargs="*", default=[], metavar="PATH", help="tests that are to find them (default: all)"
    )
    parser.add_argument("--keep", action="store_true", help="which test reaches what, as it was learnt before")
    parser.add_argument("--again", action="store_true", help="only the faults that survived the last time")
    parser.add_argument("--show", action="store_true", help="try nothing: the verdicts until now")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    drawn = draw(options.count, options.seed)
    verdicts: dict[str, str] = json.loads(VERDICTS.read_text()) if VERDICTS.exists() else {}
    argued = {line.split(" -- ")[0] for line in EQUIVALENT.read_text().splitlines()}
    verdicts |= {fault.key: "equivalent" for fault in drawn if fault.key in argued}
    chosen = [
        fault
        for fault in drawn
        if fault.key not in argued
        and any(Path(fault.path).is_relative_to(path) for path in options.paths)
        and (not options.again or verdicts.get(fault.key) == "")
    ]
    if not options.show:
        reach = Reach(options.tests, jobs=options.jobs, keep=options.keep)
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(options.jobs):
            copies.put(Copy(f"copy{number}"))

        def tried(fault: Fault) -> None:
            place = copies.get()
            killer = verdicts[fault.key] = place.killer(fault, reach.tests(fault), reach.seconds)
            copies.put(place)
            print(f"killed by {killer}: {fault}" if killer else f"survived: {fault}", flush=True)
            VERDICTS.write_text(json.dumps(verdicts, indent=1))

        with ThreadPoolExecutor(options.jobs) as workers:
            list(workers.map(tried, chosen))
    killed = show(drawn, verdicts)
    print(f"mutants: {killed:.3f} (goal {GOAL})")
    return 0 if killed >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
