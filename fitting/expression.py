"""Boolean expressions over columns: `N >= 1e9 or 6 * N * D > 1e21`.

The text is parsed with `ast` and walked by a whitelist; it is never compiled or evaluated by Python, so it can name
columns, numbers and text, compare, calculate, and nothing else. Numbers are float64 throughout: a product of two
integer columns cannot overflow.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import FittingError

_ARITHMETIC = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_ORDER = {ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal}
_EQUALITY = {ast.Eq: np.equal, ast.NotEq: np.not_equal}
# Long enough for any rule that a person writes, short enough that a hostile text cannot exhaust the parser.
_LONGEST = 2000


@dataclass(frozen=True, kw_only=True)
class Expression:
    """A parsed yes/no question about rows. `names` are the columns it reads, in order of appearance."""

    text: str
    names: tuple[str, ...]
    _tree: ast.expr = field(repr=False, compare=False)

    def evaluate(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Answer for every row: a boolean array of the columns' common shape (0-d for scalars). Columns may be
        arrays, lists, scalars.
        """
        with np.errstate(all="ignore"):
            answer = _walk(self._tree, columns, self.text)
        return np.asarray(_yes_no(answer, self._tree, self.text))


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A parsed number of every row: `6 * N * D`. `names` are the columns it reads, in order of appearance."""

    text: str
    names: tuple[str, ...]
    _tree: ast.expr = field(repr=False, compare=False)

    def evaluate(self, columns: Mapping[str, Any]) -> np.ndarray:
        """The number of every row, of the columns' common shape."""
        with np.errstate(all="ignore"):
            return _number(_walk(self._tree, columns, self.text), self._tree, self.text)


def parse_expression(text: str) -> Expression:
    """Parse a boolean expression. Raises FittingError that names whatever is not allowed."""
    tree, names = _parse(text, "N >= 1e9")
    if not isinstance(tree, (ast.Compare, ast.BoolOp, ast.Name)) and not (
        isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
    ):
        raise FittingError(
            f"the expression {text!r} is not a yes/no question; compare something, as in: {text.strip()} > 0"
        )
    return Expression(text=text.strip(), names=names, _tree=tree)


def parse_quantity(text: str) -> Quantity:
    """Parse an expression for a number. Raises FittingError that names whatever is not allowed."""
    tree, names = _parse(text, "6 * N * D")
    if not isinstance(tree, (ast.BinOp, ast.Name)) and not (
        isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.USub, ast.UAdd))
    ):
        raise FittingError(f"the expression {text!r} is not a number; calculate something, as in: 6 * N * D")
    return Quantity(text=text.strip(), names=names, _tree=tree)


def _parse(text: str, example: str) -> tuple[ast.expr, tuple[str, ...]]:
    if not isinstance(text, str) or not text.strip():
        raise FittingError(f"the expression is empty; write for example: {example}")
    if len(text) > _LONGEST:
        raise FittingError(f"the expression is {len(text)} characters long; {_LONGEST} is the most")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        names: dict[str, None] = {}
        _check(tree, text.strip(), names)
    except (SyntaxError, ValueError) as error:
        if isinstance(error, FittingError):
            raise
        raise FittingError(f"cannot read the expression {text!r}: {getattr(error, 'msg', error)}") from None
    except (RecursionError, MemoryError):
        raise FittingError("the expression is nested too deeply") from None
    if not names:
        raise FittingError(f"the expression {text!r} names no column")
    return tree, tuple(names)


def _piece(node: ast.AST, text: str) -> str:
    return repr(ast.get_source_segment(text, node) or type(node).__name__)


def _check(node: ast.AST, text: str, names: dict[str, None]) -> None:
    """Refuse every kind of node that `_walk` does not know, before any column is seen."""
    if isinstance(node, ast.BoolOp):
        children = node.values
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.UAdd)):
        children = [node.operand]
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        children = [node.left, node.right]
    elif isinstance(node, ast.Compare) and all(type(op) in _ORDER or type(op) in _EQUALITY for op in node.ops):
        children = [node.left, *node.comparators]
    elif isinstance(node, ast.Name):
        names[node.id] = None
        children = []
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, str):
        children = []
    else:
        raise FittingError(
            f"{_piece(node, text)} is not allowed in an expression; "
            "use columns, numbers, text, + - * / // % **, comparisons, and, or, not"
        )
    for child in children:
        _check(child, text, names)


def _walk(node: ast.AST, columns: Mapping[str, Any], text: str) -> np.ndarray:
    if isinstance(node, ast.Name):
        return _column(node.id, columns)
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return np.asarray(node.value)
        try:
            return np.asarray(float(node.value))
        except OverflowError:
            raise FittingError(f"the number {_piece(node, text)} is too large") from None
    if isinstance(node, ast.BoolOp):
        join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        answer = _yes_no(_walk(node.values[0], columns, text), node.values[0], text)
        for child in node.values[1:]:
            answer = _join(join, answer, _yes_no(_walk(child, columns, text), child, text), node, text)
        return answer
    if isinstance(node, ast.UnaryOp):
        value = _walk(node.operand, columns, text)
        if isinstance(node.op, ast.Not):
            return np.logical_not(_yes_no(value, node.operand, text))
        value = _number(value, node.operand, text)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left = _number(_walk(node.left, columns, text), node.left, text)
        right = _number(_walk(node.right, columns, text), node.right, text)
        return _join(_ARITHMETIC[type(node.op)], left, right, node, text)
    assert isinstance(node, ast.Compare)
    left_node, left = node.left, _walk(node.left, columns, text)
    answer = np.asarray(True)
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        right = _walk(right_node, columns, text)
        if type(op) in _EQUALITY and (_is_text(left) or _is_text(right)):
            if not (_is_text(left) and _is_text(right)):
                raise FittingError(f"{_piece(node, text)} compares text with a number")
            step = _join(_EQUALITY[type(op)], left, right, node, text).astype(bool)
        else:
            compare = _EQUALITY.get(type(op)) or _ORDER[type(op)]
            step = _join(compare, _number(left, left_node, text), _number(right, right_node, text), node, text)
        answer = _join(np.logical_and, answer, step, node, text)
        left_node, left = right_node, right
    return answer


def _column(name: str, columns: Mapping[str, Any]) -> np.ndarray:
    if name not in columns:
        raise FittingError(f"unknown column {name!r}; the columns are: {', '.join(str(c) for c in columns)}")
    array = np.asarray(columns[name])
    if array.dtype.kind in "iuf":
        return array.astype(float)
    if array.dtype.kind == "O":
        kinds = {type(v) for v in array.ravel().tolist()}
        if any(issubclass(kind, str) for kind in kinds):
            return array
        try:
            return array.astype(float)
        except (TypeError, ValueError):
            raise FittingError(f"column {name!r} holds neither numbers nor text") from None
    if array.dtype.kind in "bU":
        return array
    raise FittingError(f"column {name!r} has type {array.dtype}; an expression reads numbers, booleans and text")


def _is_text(value: np.ndarray) -> bool:
    return value.dtype.kind in "UO"


def _number(value: np.ndarray, node: ast.AST, text: str) -> np.ndarray:
    if _is_text(value):
        raise FittingError(f"{_piece(node, text)} is text; only == and != compare text")
    if value.dtype.kind == "b":
        if isinstance(node, ast.Name):  # a column of 0 and 1 that was stored as booleans
            return value.astype(float)
        raise FittingError(f"{_piece(node, text)} is a yes/no answer; it cannot be calculated with")
    return value


def _yes_no(value: np.ndarray, node: ast.AST, text: str) -> np.ndarray:
    if value.dtype.kind != "b":
        raise FittingError(f"{_piece(node, text)} is not a yes/no answer; compare it with something")
    return value


def _join(function: Any, left: np.ndarray, right: np.ndarray, node: ast.AST, text: str) -> np.ndarray:
    try:
        with np.errstate(divide="raise", invalid="raise", over="ignore", under="ignore"):
            return np.asarray(function(left, right))
    except FloatingPointError:
        raise FittingError(
            f"{_piece(node, text)} divides by zero, or has no value, in some row: compare by multiplication instead"
        ) from None
    except ValueError:
        raise FittingError(
            f"{_piece(node, text)} joins columns of different lengths, {left.shape} and {right.shape}"
        ) from None
