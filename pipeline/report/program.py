"""A fit as a program that a page can run: any law's formula, recorded while the law itself computes it.

A law is written with NumPy's functions (see `fitting.tape`). Handed columns that write down what is done to them, it
yields its own list of instructions, whatever its form and whoever wrote it, so there is no second formula to keep
equal to the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from fitting import Fit, tape
from pipeline.report.facts import Program

OPERATIONS = (
    "add", "subtract", "multiply", "divide", "negative", "exp", "log", "log1p", "expm1", "absolute", "maximum",
    "minimum", "tanh", "sqrt", "power", "less", "greater_equal", "where",
)  # fmt: skip
"""By number in a program's code; `page.js` has the same list. Names are NumPy's."""
SWAPPED = {"greater": "less", "less_equal": "greater_equal"}
MOST_INSTRUCTIONS = 60_000
"""Beyond it a page would be slow to move a slider: a tenth of a second for a curve."""


class Untranslatable(TypeError):
    """A law computes with something that no page can."""


class _Recorder:
    """The instructions so far; equal ones are written once."""

    def __init__(self, columns: int):
        self.columns = columns
        self.code: list[tuple[int, ...]] = []
        self.constants: list[float] = []
        self._known: dict[Any, int] = {}

    def operand(self, value: Any) -> int:
        if isinstance(value, _Traced):
            return value.register
        number = np.asarray(value, float)
        if number.size != 1:
            raise Untranslatable(f"an array of shape {number.shape} is no constant")
        key = ("constant", float(number.reshape(())))
        if key not in self._known:
            self.constants.append(key[1])
            self._known[key] = -len(self.constants)
        return self._known[key]

    def write(self, name: str, *values: Any) -> _Traced:
        if name in SWAPPED:
            name, values = SWAPPED[name], values[::-1]
        if name not in OPERATIONS:
            raise Untranslatable(f"{name} is no operation of a page")
        key = (OPERATIONS.index(name), *(self.operand(value) for value in values))
        if key not in self._known:
            self._known[key] = self.columns + len(self.code)
            self.code.append(key)
        return _Traced(self, self._known[key])


class _Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """A column that is not known yet: NumPy's functions write themselves down instead of computing."""

    def __init__(self, recorder: _Recorder, register: int):
        self.recorder, self.register = recorder, register

    def __array_ufunc__(self, ufunc: Any, method: str, *values: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            raise Untranslatable(f"{ufunc.__name__}.{method} is no operation of a page")
        if any(isinstance(value, tape.Node) for value in values):
            return NotImplemented
        return self.recorder.write(ufunc.__name__, *values)

    def __array_function__(self, function: Any, kinds: Any, values: Any, options: Any) -> Any:
        return self.recorder.write(function.__name__, *values, **options)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise Untranslatable("a column that is not known yet has no numbers")

    def any(self) -> bool:
        """Whether it holds anywhere, which nobody knows: a loop that asks goes on to its end."""
        return True

    def astype(self, _: Any) -> _Traced:
        return self


class _Tape(tape.Tape):
    """Keeps values and no derivatives."""

    def __init__(self) -> None:
        super().__init__(np.zeros((1, 0)))

    def record(self, value: Any, parents: Any) -> tape.Node:
        return tape.Node(self, 0, value)


def translate(fit: Fit) -> Program | None:
    """The prediction of a fit, ln of the loss; None for a law that computes with what no page has."""
    if not fit.predictors:
        return None
    # Some laws hand a column as it is to functions of the tape, which take nodes; some to NumPy, which does not.
    for wrapped in (False, True):
        with contextlib.suppress(Exception):  # whatever a law of anybody makes of columns without numbers
            return _recorded(fit, wrapped=wrapped)
    return None


def _recorded(fit: Fit, *, wrapped: bool) -> Program | None:
    names = fit.columns
    recorder, kept = _Recorder(len(names)), _Tape()
    total: Any = 0.0
    for member, share in zip(fit.predictors, fit.shares, strict=True):
        form = member.form
        p = {name: tape.Node(kept, 0, float(raw)) for name, raw in zip(form.parameters, member.raw, strict=True)}
        z = {name: _Traced(recorder, k) - form.frame.centre[name] for k, name in enumerate(names)}
        out = form.log_y(p, {name: tape.Node(kept, 0, one) if wrapped else one for name, one in z.items()})
        total = total + (out.value if isinstance(out, tape.Node) else out) * share
    return _needed(recorder, names, total.register) if isinstance(total, _Traced) else None


def _needed(recorder: _Recorder, names: Sequence[str], answer: int) -> Program | None:
    """Without the instructions that the answer does not depend on: those of derivatives."""
    first = len(names)
    wanted = {answer}
    for register in range(answer, first - 1, -1):
        if register in wanted:
            wanted.update(operand for operand in recorder.code[register - first][1:] if operand >= 0)
    places = {register: register for register in range(first)}
    constants: dict[int, int] = {}
    code = []
    for register in sorted(one for one in wanted if one >= first):
        operation, *operands = recorder.code[register - first]
        for operand in operands:
            if operand < 0:
                constants.setdefault(operand, -len(constants) - 1)
        places[register] = first + len(code)
        code.append((operation, *(places[one] if one >= 0 else constants[one] for one in operands)))
    if len(code) > MOST_INSTRUCTIONS:
        return None
    return Program(
        columns=tuple(names), constants=tuple(recorder.constants[-1 - one] for one in constants), code=tuple(code)
    )


def run(program: Program, columns: dict[str, np.ndarray]) -> np.ndarray:
    """What `page.js` does: the predicted loss at columns."""
    registers = [np.log(np.asarray(columns[name], float)) for name in program.columns]
    for operation, *operands in program.code:
        values = [registers[one] if one >= 0 else program.constants[-1 - one] for one in operands]
        registers.append(getattr(np, OPERATIONS[operation])(*values))
    return np.exp(registers[-1])
