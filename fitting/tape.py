"""Exact Jacobians for formulas of a few parameters and many rows, in NumPy.

A law predicts one number a row, and a parameter is shared by all rows. So one reverse pass that carries an adjoint a
row, and never sums over rows, yields the whole Jacobian: d out[b, i] / d parameter[b, k] for every start b, row i and
parameter k. That costs about as much as the formula itself, whatever the number of parameters.

The functions here take a `Node` or a plain array alike. A formula is therefore written once: with nodes it gives
values and derivatives, with arrays it gives values only, and with floats it turns raw parameters into the
coefficients that people read.

Shapes: a parameter is (B, 1), one number a start; a column of the table is (n,); everything else broadcasts to (B, n).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray


class Tape:
    """Records one evaluation of a formula at raw parameters of shape (starts, parameters)."""

    def __init__(self, raw: Array) -> None:
        self.raw = raw
        # For each node, its parents with the derivative towards each. The parameters come first and have none.
        self.parents: list[tuple[tuple[int, Array | float], ...]] = [()] * raw.shape[1]

    def parameter(self, k: int) -> Node:
        return Node(self, k, self.raw[:, k : k + 1])

    def record(self, value: Array, parents: tuple[tuple[int, Array | float], ...]) -> Node:
        self.parents.append(parents)
        return Node(self, len(self.parents) - 1, value)

    def jacobian(self, out: Node, rows: int) -> Array:
        """d out / d raw, shape (starts, parameters, rows)."""
        starts, size = self.raw.shape
        adjoint: list[Array | None] = [None] * (out.index + 1)
        adjoint[out.index] = np.ones((starts, rows))
        for index in range(out.index, size - 1, -1):
            here = adjoint[index]
            if here is None:
                continue
            adjoint[index] = None
            for parent, derivative in self.parents[index]:
                share = here * derivative
                adjoint[parent] = share if adjoint[parent] is None else adjoint[parent] + share
        result = np.zeros((starts, size, rows))
        for k in range(size):
            if adjoint[k] is not None:
                result[:, k, :] = adjoint[k]
        return result


class Node:
    """A value on a tape. Arithmetic with nodes, arrays and numbers stays on the tape."""

    __slots__ = ("tape", "index", "value")
    __array_ufunc__ = None  # let `array + node` reach __radd__ instead of NumPy's own loop

    def __init__(self, tape: Tape, index: int, value: Array) -> None:
        self.tape, self.index, self.value = tape, index, value

    def __add__(self, other: Value) -> Node:
        if isinstance(other, Node):
            return self.tape.record(self.value + other.value, ((self.index, 1.0), (other.index, 1.0)))
        return self.tape.record(self.value + other, ((self.index, 1.0),))

    def __sub__(self, other: Value) -> Node:
        if isinstance(other, Node):
            return self.tape.record(self.value - other.value, ((self.index, 1.0), (other.index, -1.0)))
        return self.tape.record(self.value - other, ((self.index, 1.0),))

    def __rsub__(self, other: Value) -> Node:
        return self.tape.record(other - self.value, ((self.index, -1.0),))

    def __mul__(self, other: Value) -> Node:
        if isinstance(other, Node):
            return self.tape.record(self.value * other.value, ((self.index, other.value), (other.index, self.value)))
        return self.tape.record(self.value * other, ((self.index, other),))

    def __truediv__(self, other: Value) -> Node:
        if isinstance(other, Node):
            value = self.value / other.value
            return self.tape.record(value, ((self.index, 1.0 / other.value), (other.index, -value / other.value)))
        return self.tape.record(self.value / other, ((self.index, 1.0 / other),))

    def __rtruediv__(self, other: Value) -> Node:
        value = other / self.value
        return self.tape.record(value, ((self.index, -value / self.value),))

    def __neg__(self) -> Node:
        return self.tape.record(-self.value, ((self.index, -1.0),))

    __radd__ = __add__
    __rmul__ = __mul__


class Symbol:
    """A value as text: what is done with it is written down as lines of Python, each with a name of its own."""

    __slots__ = ("lines", "text")
    __array_ufunc__ = None

    def __init__(self, lines: list[str], text: str) -> None:
        self.lines, self.text = lines, text

    def stored(self) -> Symbol:
        """The same value under a name."""
        self.lines.append(f"t{len(self.lines)} = {self.text}")
        return Symbol(self.lines, f"t{len(self.lines) - 1}")

    def call(self, function: str, *arguments: Value) -> Symbol:
        return Symbol(self.lines, f"{function}({', '.join(_text(a) for a in arguments)})").stored()

    def __add__(self, other: Value) -> Symbol:
        return Symbol(self.lines, f"{self.text} + {_text(other)}").stored()

    def __sub__(self, other: Value) -> Symbol:
        return Symbol(self.lines, f"{self.text} - {_text(other)}").stored()

    def __rsub__(self, other: Value) -> Symbol:
        return Symbol(self.lines, f"{_text(other)} - {self.text}").stored()

    def __mul__(self, other: Value) -> Symbol:
        return Symbol(self.lines, f"{self.text} * {_text(other)}").stored()

    def __truediv__(self, other: Value) -> Symbol:
        return Symbol(self.lines, f"{self.text} / {_text(other)}").stored()

    def __rtruediv__(self, other: Value) -> Symbol:
        return Symbol(self.lines, f"{_text(other)} / {self.text}").stored()

    def __neg__(self) -> Symbol:
        return Symbol(self.lines, f"-{self.text}").stored()

    __radd__ = __add__
    __rmul__ = __mul__


def _text(value: Value) -> str:
    """A number in full, in brackets if it is negative; infinity as Python writes it."""
    if isinstance(value, Symbol):
        return value.text
    number = float(value)
    text = repr(number) if np.isfinite(number) else f"float('{number}')"
    return f"({text})" if number < 0 else text


Value = Node | Symbol | Array | float


def unary(x: Value, function: Callable[[Array], tuple[Array, Array]], name: str = "") -> Value:
    """Apply a function that returns (value, derivative) elementwise; `name` is what it is called in Python."""
    if isinstance(x, Symbol):
        if not name:
            raise TypeError("a function without a name")
        return x.call(name, x)
    if isinstance(x, Node):
        value, derivative = function(x.value)
        return x.tape.record(value, ((x.index, derivative),))
    return function(x)[0]


def _softplus_and_slope(x: Array) -> tuple[Array, Array]:
    tail = np.exp(-np.abs(x))
    value = np.maximum(x, 0.0) + np.log1p(tail)
    return value, np.where(x >= 0, 1.0, tail) / (1.0 + tail)


def exp(x: Value) -> Value:
    def f(v: Array) -> tuple[Array, Array]:
        value = np.exp(v)
        return value, value

    return unary(x, f, "math.exp")


def log(x: Value) -> Value:
    return unary(x, lambda v: (np.log(v), 1.0 / v), "math.log")


def tanh(x: Value) -> Value:
    def f(v: Array) -> tuple[Array, Array]:
        value = np.tanh(v)
        return value, 1.0 - value * value

    return unary(x, f, "math.tanh")


def sqrt(x: Value) -> Value:
    def f(v: Array) -> tuple[Array, Array]:
        value = np.sqrt(v)
        return value, 0.5 / value

    return unary(x, f, "math.sqrt")


def softplus(x: Value) -> Value:
    """log(1 + exp(x)) without overflow."""
    return unary(x, _softplus_and_slope, "softplus")


def sigmoid(x: Value) -> Value:
    def f(v: Array) -> tuple[Array, Array]:
        value = _softplus_and_slope(v)[1]
        return value, value * (1.0 - value)

    return unary(x, f, "sigmoid")


def minimum(x: Value, y: Value) -> Value:
    """The smaller of two, at most one of which is on a tape."""
    if isinstance(y, (Node, Symbol)) and not isinstance(x, (Node, Symbol)):
        x, y = y, x
    if isinstance(x, Symbol):
        return x.call("min", x, y)
    return unary(x, lambda v: (np.minimum(v, y), np.where(v < y, 1.0, 0.0)))


def maximum(x: Value, y: Value) -> Value:
    """The larger of two; the mirror image of `minimum`."""
    if isinstance(x, Symbol) or isinstance(y, Symbol):
        return (x if isinstance(x, Symbol) else y).call("max", x, y)
    return -minimum(-x, -y)


def expm1(x: Value) -> Value:
    """exp(x) - 1 without loss of digits near 0."""

    def f(v: Array) -> tuple[Array, Array]:
        value = np.expm1(v)
        return value, value + 1.0

    return unary(x, f, "math.expm1")


def log_sum(terms: Sequence[Value]) -> Value:
    """log(sum(exp(term))): a sum of positive quantities, given by their logarithms."""
    if len(terms) == 1:
        return terms[0]
    symbol = next((t for t in terms if isinstance(t, Symbol)), None)
    if symbol is not None:
        return symbol.call("log_sum", *terms)
    values = [t.value if isinstance(t, Node) else np.asarray(t) for t in terms]
    top = values[0]
    for v in values[1:]:
        top = np.maximum(top, v)
    parts = [np.exp(v - top) for v in values]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    out = top + np.log(total)
    nodes = [(t, part) for t, part in zip(terms, parts, strict=True) if isinstance(t, Node)]
    if not nodes:
        return out
    return nodes[0][0].tape.record(out, tuple((t.index, part / total) for t, part in nodes))


def log_reciprocal_sum(terms: Sequence[Value]) -> Value:
    """log(1 / sum(1 / exp(term))): the smallest of several limits, joined smoothly."""
    return terms[0] if len(terms) == 1 else -log_sum([-t for t in terms])


def log_difference(larger: Value, smaller: Value) -> Value:
    """log(exp(larger) - exp(smaller)); the first is the larger everywhere."""
    return larger + log(1.0 - exp(smaller - larger))


def linear(slopes: Sequence[Value], columns: Sequence[Array]) -> Value:
    """sum_j slopes[j] * columns[j]."""
    total = None
    parents = []
    tape = None
    for slope, column in zip(slopes, columns, strict=True):
        if isinstance(slope, Node):
            tape = slope.tape
            parents.append((slope.index, column))
            part = slope.value * column
        else:
            part = slope * column
        total = part if total is None else total + part
    if total is None:
        return np.zeros(())
    return total if tape is None else tape.record(total, tuple(parents))
