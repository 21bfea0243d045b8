"""Do the tests bite? Plant one fault at a time in the code, and see whether a test fails.

    make mutants                                      # 240 faults drawn over all modules
    python tests/mutants.py fitting --count 40 --tests tests/fitting      # of one package, by its own tests
    python tests/mutants.py --again                   # those that survived the last time

The whole suite runs once, in a copy of the project, to learn which tests reach which line (kept in build/, so
that the next call may skip it with --keep). Then each fault is tried in such a copy by the tests that reach its line,
the quickest first, until one fails. A fault that none of them notices has survived: it wants a test of behaviour, or a
line in `mutants_equivalent.txt` that says why the changed code does the same.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import os
import queue
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "mutants"
PACKAGES = ("pipeline", "trainers", "fitting")
EQUIVALENT = ROOT / "tests" / "mutants_equivalent.txt"
SLACK_SECONDS, SLACK_FACTOR = 30.0, 4.0
"""A test run that takes so much longer than it did on sound code counts as failed: the fault made it hang."""
FIRST_SECONDS = 5.0
"""Tests of so long are tried first: about what it takes to start Python and import torch."""
LEARNT_IN = "sound"
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


def faults(path: Path) -> Iterator[Fault]:
    """Every change that is tried in a file, each a plausible slip. What only words an error is left alone."""
    text = path.read_text()
    tree = ast.parse(text)
    for node, edit, what in _edits(tree):
        changed = ast.parse(text)
        twin = _at(changed, node)
        replacement = edit(twin)
        yield _fault(path, text, node, ast.unparse(replacement), what)


def _edits(tree: ast.Module) -> Iterator[tuple[ast.AST, object, str]]:
    for node in _live(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED and not _is_text(node):
            yield node, _with_operator("op"), SWAPPED[type(node.op)][1]
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPPED:
            yield node, _with_first_operator, SWAPPED[type(node.ops[0])][1]
        elif isinstance(node, ast.BoolOp):
            yield node, _with_operator("op"), SWAPPED[type(node.op)][1]
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


def _call_edits(node: ast.Call) -> Iterator[tuple[ast.AST, object, str]]:
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


def _fault(path: Path, text: str, node: ast.AST, replacement: str, what: str) -> Fault:
    lines = text.splitlines(keepends=True)
    first, last = node.lineno - 1, node.end_lineno - 1
    head = lines[first].encode()[: node.col_offset].decode()
    tail = lines[last].encode()[node.end_col_offset :].decode()
    whole = isinstance(node, ast.stmt | ast.Constant | ast.Name | ast.Attribute)
    bracketed = replacement if whole else f"({replacement})"
    after = head + bracketed + tail
    return Fault(
        path=str(path.relative_to(ROOT)),
        line=node.lineno,
        what=what,
        before=" ".join("".join(lines[first : last + 1]).split()),
        after=" ".join(after.split()),
        source="".join([*lines[:first], after, *lines[last + 1 :]]),
    )


def _at(tree: ast.Module, node: ast.AST) -> ast.AST:
    """The node of an equal tree in the same place."""
    place = (type(node), node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
    return next(
        one
        for one in ast.walk(tree)
        if hasattr(one, "lineno")
        and (type(one), one.lineno, one.col_offset, one.end_lineno, one.end_col_offset) == place
    )


def _with_operator(name: str):
    def edit(twin):
        setattr(twin, name, SWAPPED[type(getattr(twin, name))][0]())
        return twin

    return edit


def _with_first_operator(twin: ast.Compare) -> ast.Compare:
    twin.ops = [SWAPPED[type(twin.ops[0])][0]()]
    return twin


def _with_twin(twin: ast.Name | ast.Attribute) -> ast.AST:
    field = "id" if isinstance(twin, ast.Name) else "attr"
    setattr(twin, field, TWINS[getattr(twin, field)])
    return twin


def _other_number(twin: ast.Constant) -> ast.Constant:
    twin.value = {0: 1, 1: 2}.get(twin.value, twin.value * 2)
    return twin


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in ast.walk(node)
    )


def _name(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))


class Reach:
    """Which tests run which line, and how long each takes."""

    def __init__(self, *, keep: bool, among: Sequence[str] = ()):
        data, report = BUILD / "coverage", BUILD / "junit.xml"
        if not (keep and data.exists() and report.exists()):
            self._learn(data, report, among)
        self.seconds = _seconds(report)
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
                    self._files[str(Path(path).relative_to(BUILD / LEARNT_IN))][line].add(test)

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

    @staticmethod
    def _learn(data: Path, report: Path, among: Sequence[str]) -> None:
        BUILD.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--numprocesses",
            "2",
            "--dist",
            "loadfile",
            "--no-loadscope-reorder",
        ]
        command += [f"--junit-xml={report}", "--cov-context=test", "--cov-report="]
        command += [f"--cov={package}" for package in PACKAGES]
        command += among
        place = copied(BUILD / LEARNT_IN)
        done = subprocess.run(command, cwd=place, env=_environment(place) | {"COVERAGE_FILE": str(data)})
        if done.returncode:
            sys.exit("the suite fails on the sound code, where every fault would seem to be found: mend that first")


def _seconds(report: Path) -> dict[str, float]:
    """How long every test took, by its address."""
    import xml.etree.ElementTree as tree

    took: dict[str, float] = {}
    for case in tree.parse(report).iter("testcase"):
        module, classes = re.fullmatch(r"(.*?\.test_\w+)((?:\.\w+)*)", case.get("classname")).groups()
        address = "::".join([module.replace(".", "/") + ".py", *classes.split(".")[1:], case.get("name")])
        took[address] = float(case.get("time"))
    return took


def copied(place: Path) -> Path:
    """A copy of what belongs to the project, committed or about to be."""
    shutil.rmtree(place, ignore_errors=True)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, place / name)
    return place


def _environment(place: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(place)}


def survives(fault: Fault, tests: Sequence[str], seconds: dict[str, float], place: Path) -> bool:
    """Whether every test passes with the fault in the copy of the project at `place`."""
    target = place / fault.path
    sound = target.read_text()
    target.write_text(fault.source)
    try:
        for some in _growing(tests, seconds):
            limit = SLACK_SECONDS + SLACK_FACTOR * sum(seconds[one] for one in some)
            (place / "tests.txt").write_text("\n".join(some))
            command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "@tests.txt"]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(command, cwd=place, env=_environment(place), start_new_session=True, **quiet)
            try:
                if process.wait(limit):
                    return False
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return False
        return True
    finally:
        target.write_text(sound)


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


def draw(names: Sequence[str], count: int, seed: int) -> list[Fault]:
    """Faults spread over all files that were named: one from each in turn, until there are enough."""
    paths = [
        path
        for name in names
        for path in sorted((ROOT / name).rglob("*.py") if (ROOT / name).is_dir() else [ROOT / name])
    ]
    rng = random.Random(seed)
    piles = [list(faults(path)) for path in paths]
    for pile in piles:
        rng.shuffle(pile)
    rng.shuffle(piles)
    drawn: list[Fault] = []
    while any(piles) and len(drawn) < count:
        drawn += [pile.pop() for pile in piles if pile]
    return drawn[:count]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", default=list(PACKAGES), help="packages, folders or files")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--tests", nargs="*", default=[], metavar="PATH", help="tests that are to find them (default: all)"
    )
    parser.add_argument("--keep", action="store_true", help="which test reaches what, as it was learnt before")
    parser.add_argument("--again", action="store_true", help="only the faults that survived the last time")
    options = parser.parse_args()
    reach = Reach(keep=options.keep or options.again, among=options.tests)
    drawn = draw(options.paths, options.count, options.seed)
    argued = {line.split(" -- ")[0] for line in EQUIVALENT.read_text().splitlines()} if EQUIVALENT.exists() else set()
    last = BUILD / "survivors.json"
    if options.again:
        keys = set(json.loads(last.read_text()))
        drawn = [one for one in draw(options.paths, 10**9, options.seed) if one.key in keys]
    waiting: queue.SimpleQueue[Fault] = queue.SimpleQueue()
    for fault in drawn:
        waiting.put(fault)
    survivors: list[Fault] = []
    equivalent = 0
    began = time.monotonic()

    def work(number: int) -> None:
        nonlocal equivalent
        place = copied(BUILD / f"copy{number}")
        while True:
            try:
                fault = waiting.get_nowait()
            except queue.Empty:
                return
            if fault.key in argued:
                equivalent += 1
            elif survives(fault, reach.tests(fault), reach.seconds, place):
                survivors.append(fault)
                print(f"survived: {fault}", flush=True)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    tried = len(drawn) - equivalent
    killed = (tried - len(survivors)) / max(tried, 1)
    last.write_text(json.dumps([fault.key for fault in survivors]))
    print(f"{tried} faults in {time.monotonic() - began:.0f} s, {len(survivors)} survived, {equivalent} change nothing")
    print(f"mutants: {killed:.3f} (goal {GOAL})")
    return 0 if killed >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
