"""Do the tests bite? Plant one fault at a time in the code, and see whether a test fails.

    make mutants                                                  # 240 faults drawn over all modules
    python tests/mutants.py pipeline/store --tests tests/pipeline/store    # a room's share of them, by its own tests
    python tests/mutants.py pipeline/store --again --keep         # those of them that were not killed yet
    python tests/mutants.py --show                                # what is known of all 240, by room

The tests run once, in a copy of the project, to learn which of them reach which line (`--keep` takes what was learnt
the last time). Then each fault is tried in such a copy by the tests that reach its line, the quickest first, until one
fails. A fault that none of them notices has survived: it wants a test of behaviour, or a line in
`mutants_equivalent.txt` that says why the changed code does the same.
"""

from __future__ import annotations

import argparse
import ast
import bisect
import hashlib
import itertools
import json
import multiprocessing
import os
import re
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
DEAR = ["matplotlib.figure", "pandas", "pyarrow.parquet", "pytest", "ray", "scipy.optimize", "scipy.stats", "torch"]
"""Imported once for all runs of tests, which are forked from the process that did so."""
SLACK_SECONDS, SLACK_FACTOR = 30.0, 4.0
"""A test run that takes so much longer than it did on sound code counts as failed: the fault made it hang."""
FIRST_SECONDS = 2.0
"""Tests of so long are tried first: about what it takes to collect them."""
LONGEST_SECONDS = 45.0
"""For a file of tests whose seconds nobody has learnt: one that takes longer says nothing."""
TOO_LONG = "it does not end"
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
            return [TOO_LONG], {}
        if process.exitcode == 1 and not came.exists():
            raise RuntimeError("pytest did not even start: the fault is here")
        failed, seconds = json.loads(came.read_text()) if came.exists() else ([], {})
        return failed or [f"pytest ended with {process.exitcode}"] * bool(process.exitcode), seconds

    def write(self, path: str, text: str) -> None:
        """Python takes a file of the same size and second for the one that it has compiled: no two are of one."""
        self.stamp += 1
        (self.place / path).write_text(text)
        os.utime(self.place / path, (self.stamp, self.stamp))

    def killer(self, fault: Fault, heaps: Iterator[tuple[list[str], float]]) -> str:
        """The first test that fails with the fault in the code; "" if all pass. heaps: of tests, with a limit each."""
        sound = (self.place / fault.path).read_text()
        self.write(fault.path, fault.source)
        try:
            for some, limit in heaps:
                if failed := self.run("-x", *some, limit=limit, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")[0]:
                    return failed[0]
            return ""
        finally:
            self.write(fault.path, sound)


class Named:
    """The tests that speak most of a module's names: to begin with, where the machine is busy."""

    def __init__(self, tests: Sequence[str], most: int):
        self.most = most
        below = [ROOT / name for name in tests or ["tests"]]
        files = [file for path in below for file in ([path] if path.is_file() else sorted(path.rglob("test_*.py")))]
        self._words: dict[Path, dict[str, set[str]]] = {}
        for file in files:
            text = file.read_text()
            parts = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            texts = {part.name: ast.get_source_segment(text, part) for part in parts if part.name[:4].lower() == "test"}
            self._words[file.relative_to(ROOT)] = {name: _words(part) for name, part in texts.items()} | {
                "": _words(text)
            }
        self._tests_with = Counter(word for tests in self._words.values() for words in tests.values() for word in words)

    def heaps(self, fault: Fault) -> Iterator[tuple[list[str], float]]:
        """A rare name says more than a frequent one, and a file in the mirrored folder more than another."""
        module = Path(fault.path)
        tree = ast.parse((ROOT / module).read_text())
        defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        names = {node.name for node in defined}
        around = [node for node in defined if node.lineno <= fault.line <= node.end_lineno]
        close = _words(" ".join(ast.unparse(node) for node in around[-1:])) | {node.name for node in around}

        def shared(some: set[str]) -> float:
            return sum(1 / self._tests_with[word] for word in some)

        def near(file: Path) -> float:
            beside = module.is_relative_to(file.parent.relative_to("tests"))
            return shared(names & self._words[file][""]) + beside + beside * (module.stem in file.stem)

        for file in sorted(self._words, key=near, reverse=True)[: self.most]:
            tests = {name: shared((names | close) & words) for name, words in self._words[file].items() if name}
            yield [f"{file}::{name}" for name in sorted(tests, key=tests.get, reverse=True)], LONGEST_SECONDS


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{3,}", text))


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

    def heaps(self, fault: Fault) -> Iterator[tuple[list[str], float]]:
        """The tests that reach a fault's line, the quickest first, then those of its mirror among the tests.

        A line outside functions runs while its module is imported, whichever test that was for: it is reached by all
        that reach the module. One that only other processes run, such as a worker's, is reached by no test that one
        can see: its mirror's start those processes. The tests come in heaps, each of which takes four times as long:
        most faults are found by a quick test.
        """
        lines = self._files[fault.path]
        functions = (node for node in ast.walk(ast.parse(fault.source)) if isinstance(node, ast.FunctionDef))
        inside = any(node.body[0].lineno <= fault.line <= node.end_lineno for node in functions)
        reached = (inside and lines.get(fault.line)) or set().union(*lines.values())
        mirrors = (str(Path("tests", folder)) + "/" for folder in Path(fault.path).parents)
        near = ({test for test in self.seconds if test.startswith(mirror)} for mirror in mirrors)
        beside = next(filter(None, near), set()) - reached
        tests = sorted(reached, key=self.seconds.get) + sorted(beside, key=self.seconds.get)
        enough = FIRST_SECONDS
        while tests:
            took = list(itertools.accumulate(self.seconds[test] for test in tests))
            count = bisect.bisect_left(took, enough) + 1
            yield tests[:count], SLACK_SECONDS + SLACK_FACTOR * took[:count][-1]
            tests, enough = tests[count:], 4 * enough


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
    parser.add_argument(
        "--named",
        type=int,
        default=0,
        metavar="N",
        help="learn nothing: the N files of tests that speak most of a module",
    )
    parser.add_argument("--keep", action="store_true", help="which test reaches what, as it was learnt before")
    parser.add_argument("--again", action="store_true", help="only faults that were not killed before")
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
        and not (options.again and verdicts.get(fault.key))
    ]
    if not options.show:
        reach = (
            Named(options.tests, options.named)
            if options.named
            else Reach(options.tests, jobs=options.jobs, keep=options.keep)
        )
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(options.jobs):
            copies.put(Copy(f"copy{number}"))

        def tried(fault: Fault) -> None:
            place = copies.get()
            killer = verdicts[fault.key] = place.killer(fault, reach.heaps(fault))
            copies.put(place)
            print(f"killed by {killer}: {fault}" if killer else f"survived: {fault}", flush=True)
            VERDICTS.write_text(json.dumps(verdicts, indent=1))

        with ThreadPoolExecutor(options.jobs) as workers:
            for _ in workers.map(tried, chosen):  # Raises what went wrong here, and not in a test.
                pass
        killers = {verdicts[fault.key] for fault in chosen if verdicts[fault.key].startswith("tests/")}
        for test in copies.get().run(*killers)[0] if killers else ():
            print(f"fails on the sound code too, and says nothing: {test}")
            verdicts = {key: verdict for key, verdict in verdicts.items() if verdict != test}
        if options.named:
            verdicts = {key: "" if verdict == TOO_LONG else verdict for key, verdict in verdicts.items()}
        VERDICTS.write_text(json.dumps(verdicts, indent=1))
    killed = show(drawn, verdicts)
    print(f"mutants: {killed:.3f} (goal {GOAL})")
    return 0 if killed >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
