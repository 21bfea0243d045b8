"""Plausible slips in code: what `mutants.py` plants, one at a time."""

from __future__ import annotations

import ast
import copy
import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pipeline", "trainers", "fitting")


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
LOOKS = {"alpha", "color", "linewidth", "lw", "markersize", "ms", "mew", "fontsize", "zorder"}
WORDS_AND_LOOKS = {"help", "metavar"} | LOOKS
UNTRIED = {f"argument {name} dropped" for name in WORDS_AND_LOOKS | {"strict"}}
"""Nor is what words a help or says how a line looks, and dropping an argument that asserts what is always so."""


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
        if isinstance(node, ast.keyword) and node.arg in WORDS_AND_LOOKS:
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
        place, pile = rng.random(), list(edits(ast.parse(text)))
        piles.append((place, path, text, [one for one in rng.sample(pile, len(pile)) if one[2] not in UNTRIED]))
    piles.sort(key=lambda pile: pile[0])
    drawn: list[Fault] = []
    while len(drawn) < count and any(pile for *_, pile in piles):
        drawn += [planted(path, text, pile.pop()) for _, path, text, pile in piles if pile]
    return drawn[:count]
