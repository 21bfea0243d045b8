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
import ast
import copy
import dataclasses
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "mutants"
VERDICTS = BUILD / "verdicts.json"
EQUIVALENT = ROOT / "tests" / "mutants_equivalent.txt"
PACKAGES = ("pipeline", "trainers", "fitting")
DEAR = ["numpy", "pandas", "pyarrow", "scipy.optimize", "scipy.stats", "torch", "pytest"]
"""Imported once for all runs of tests, which are forked from the process that did so."""
SLACK_SECONDS, SLACK_FACTOR = 30.0, 4.0
"""A test run that takes so much longer than it did on sound code counts as failed: the fault made it hang."""
FIRST_SECONDS = 2.0
"""Tests of so long are tried first: about what it takes to collect them."""
GOAL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """One change of one file."""

    path: str
    line: int
    what: str
    """The kind of change, in words."""
    before: str
    after: str
    """The changed lines, each side stripped of its indentation."""
    source: str
    """The whole file with the change."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.what}\n    - {self.before}\n    + {self.after}"

    @property
    def key(self) -> str:
        """What names it in `mutants_equivalent.txt`: it stays the same when lines above move."""
        return f"{self.path}: {self.before} => {self.after}"

    @property
    def room(self) -> str:
        folders = Path(self.path).parent.parts
        return "/".join(folders[: 1 if folders[0] == "fitting" else 2])


Edit = tuple[ast.AST, Callable[[ast.AST], ast.AST], str]
"""A node, what is made of a copy of it, and that in words."""

SWAPPED = {
    ast.Add: (ast.Sub, "plus to minus"),
    ast.Sub: (ast.Add, "minus to plus"),
    ast.Mult: (ast.Div, "times to divided by"),
    ast.Div: (ast.Mult, "divided by to times"),
    ast.FloorDiv: (ast.Mult, "divided by to times"),
    ast.Lt: (ast.LtE, "< to <="),
    ast.LtE: (ast.Lt, "<= to <"),
    ast.Gt: (ast.GtE, "> to >="),
    ast.GtE: (ast.Gt, ">= to >"),
    ast.Eq: (ast.NotEq, "== to !="),
    ast.NotEq: (ast.Eq, "!= to =="),
    ast.In: (ast.NotIn, "in to not in"),
    ast.NotIn: (ast.In, "not in to in"),
    ast.Is: (ast.IsNot, "is to is not"),
    ast.IsNot: (ast.Is, "is not to is"),
    ast.And: (ast.Or, "and to or"),
    ast.Or: (ast.And, "or to and"),
}
TWINS = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any"}
TOLD = {"print", "say", "warn", "note"}
"""Calls that only tell a person something: dropping one is no fault of behaviour."""


def edits(tree: ast.Module) -> Iterator[Edit]:
    """Every change that is tried in a file, each a plausible slip. What only words an error is left alone."""
    for node in _live(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED and not _is_text(node):
            yield node, _with_operator, SWAPPED[type(node.op)][1]
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPPED:
            yield node, _with_comparison, SWAPPED[type(node.ops[0])][1]
        elif isinstance(node, ast.BoolOp):
            yield node, _with_operator, SWAPPED[type(node.op)][1]
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield node, lambda twin: twin.operand, "not dropped" if isinstance(node.op, ast.Not) else "minus dropped"
        elif isinstance(node, ast.Call):
            yield from _call_edits(node)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield node, _other_number, "another number"
        elif isinstance(node, ast.If | ast.IfExp):
            yield node.test, lambda twin: ast.UnaryOp(op=ast.Not(), operand=twin), "condition turned round"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value) not in TOLD:
            yield node, lambda twin: ast.Pass(), "call dropped"
        elif isinstance(node, ast.AugAssign):
            yield node, lambda twin: ast.Pass(), "update dropped"


def _call_edits(node: ast.Call) -> Iterator[Edit]:
    name = _name(node)
    if name in TWINS:
        yield node.func, _with_twin, f"{name} to {TWINS[name]}"
    if name[:1].isupper():
        return  # Most of what a class is made with is required: Python itself would notice.
    for k, keyword in enumerate(node.keywords):
        if keyword.arg is not None and len(node.keywords) + len(node.args) > 1:
            yield node, lambda twin, k=k: twin.keywords.pop(k) and twin, f"argument {keyword.arg} dropped"


def _live(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that do something when the code runs: no annotations, no texts of errors, no names of types."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
                continue
            stack += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, ast.AST)]


def _with_operator(twin: ast.BinOp | ast.BoolOp) -> ast.AST:
    twin.op = SWAPPED[type(twin.op)][0]()
    return twin


def _with_comparison(twin: ast.Compare) -> ast.AST:
    twin.ops = [SWAPPED[type(twin.ops[0])][0]()]
    return twin


def _with_twin(twin: ast.Name | ast.Attribute) -> ast.AST:
    field = "id" if isinstance(twin, ast.Name) else "attr"
    setattr(twin, field, TWINS[getattr(twin, field)])
    return twin


def _other_number(twin: ast.Constant) -> ast.AST:
    twin.value = {0: 1, 1: 2}.get(twin.value, twin.value * 2)
    return twin


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in ast.walk(node)
    )


def _name(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


def planted(path: Path, text: str, edit: Edit) -> Fault:
    node, change, what = edit
    replacement = ast.unparse(change(copy.deepcopy(node)))
    lines = text.splitlines(keepends=True)
    first, last = node.lineno - 1, node.end_lineno - 1
    head = lines[first].encode()[: node.col_offset].decode()
    tail = lines[last].encode()[node.end_col_offset :].decode()
    whole = isinstance(node, ast.stmt | ast.Constant | ast.Name | ast.Attribute)
    after = head + (replacement if whole else f"({replacement})") + tail
    return Fault(
        path=str(path.relative_to(ROOT)),
        line=node.lineno,
        what=what,
        before=" ".join("".join(lines[first : last + 1]).split()),
        after=" ".join(after.split()),
        source="".join([*lines[:first], after, *lines[last + 1 :]]),
    )


def draw(count: int, seed: int) -> list[Fault]:
    """Faults spread over all modules: one from each in turn, until there are enough.

    What is drawn from a file depends on the seed and that file alone.
    """
    piles = []
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        rng = random.Random(f"{seed} {path.relative_to(ROOT)}")
        text = path.read_text()
        pile = list(edits(ast.parse(text)))
        piles.append((rng.random(), path, text, rng.sample(pile, len(pile))))
    piles.sort(key=lambda pile: pile[0])
    drawn: list[Fault] = []
    while len(drawn) < count and any(pile for *_, pile in piles):
        drawn += [planted(path, text, pile.pop()) for _, path, text, pile in piles if pile]
    return drawn[:count]


class Stopwatch:
    """What pytest tells: how long each test took, and which failed first."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed = ""

    def pytest_runtest_logreport(self, report) -> None:
        self.seconds[report.nodeid] += report.duration
        self.pytest_collectreport(report)

    def pytest_collectreport(self, report) -> None:
        self.failed = self.failed or (report.nodeid if report.failed else "")


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

    def run(self, *arguments: str, limit: float | None = None, quiet: bool = True, **environment: str):
        """The address of the first test that failed ("" for none), and the seconds of every test."""
        came = self.place / "came.json"
        came.unlink(missing_ok=True)
        process = self.processes.Process(target=run_tests, args=(self.place, arguments, environment, quiet))
        process.start()
        process.join(limit)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return f"no end after {limit:.0f} s", {}
        failed, seconds = json.loads(came.read_text()) if came.exists() else ("", {})
        return (failed or f"pytest ended with {process.exitcode}" if process.exitcode else ""), seconds

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
                    return failed
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
        name = "+".join(tests).replace("/", "-") or "all"
        data, seconds = BUILD / f"{name}.coverage", BUILD / f"{name}.json"
        place = BUILD / "sound"
        if not (keep and seconds.exists()):
            command = [*tests, f"--numprocesses={jobs}", "--dist=loadfile", "--no-loadscope-reorder"]
            command += ["--cov-context=test", "--cov-report=", *(f"--cov={package}" for package in PACKAGES)]
            failed, took = Copy(place.name).run(*command, quiet=False, COVERAGE_FILE=str(data))
            if failed:
                sys.exit(f"{failed} fails on the sound code, where every fault would seem to be found: mend that first")
            seconds.write_text(json.dumps(took))
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
