"""An equation as a Python function without any dependency.

A law is written once, in terms of `tape`. Run with its coefficients as numbers and its columns as names, it writes down
what it does: every operation becomes a line of Python that uses `math` alone.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence

import numpy as np

from .errors import FittingError
from .law import Form
from .tape import Symbol

_HELPERS = {
    "softplus": """def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))""",
    "sigmoid": """def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))""",
    "log_sum": """def log_sum(*terms):
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms))""",
    "solve_m4": """def solve_m4(right, a):
    v = right if right < 0 else right / a
    for _ in range(60):
        step = (a * softplus(v) - softplus(-v) - right) / (a * sigmoid(v) + sigmoid(-v))
        v -= step
        if abs(step) <= 1e-12 * (1.0 + abs(v)):
            break
    return v""",
}
_NEEDS = {"solve_m4": ("softplus", "sigmoid")}


def python_function(form: Form, raw: np.ndarray, *, name: str, comments: Sequence[str]) -> str:
    """Source of `name(columns...)`, which returns y. comments: lines that stand in its docstring."""
    lines: list[str] = []
    names = _arguments([c for c in form.frame.centre])
    z: Mapping[str, Symbol] = {
        column: Symbol(lines, f"math.log({argument}) - {form.frame.centre[column]!r}").stored()
        for column, argument in names.items()
    }
    parameters = {key: float(value) for key, value in zip(form.parameters, raw, strict=True)}
    try:
        out = form.log_y(parameters, z)
    except TypeError as error:
        raise FittingError(
            f"the form {form.structure!r} calculates with something else than `tape` and cannot be written as text "
            f"({error})"
        ) from None
    result = out.text if isinstance(out, Symbol) else repr(float(out))
    body = "\n    ".join([*lines, f"return math.exp({result})"])
    used = [helper for helper in _HELPERS if re.search(rf"\b{helper}\(", body)]
    used = [h for h in _HELPERS if h in used or any(h in _NEEDS.get(u, ()) for u in used)]
    parts = ["import math", *(_HELPERS[helper] for helper in used)]
    words = "\n    ".join([*comments, ""]).rstrip()
    parts.append(f'def {name}({", ".join(names.values())}):\n    """{words}\n    """\n    {body}')
    return "\n\n\n".join(parts) + "\n"


def _arguments(columns: Sequence[str]) -> dict[str, str]:
    """A distinct Python name a column."""
    out: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"\W", "_", column) or "x"
        if name[0].isdigit() or keyword.iskeyword(name) or name == "math" or name in _HELPERS:
            name = f"x_{name}"
        while name in out.values() or re.fullmatch(r"t\d+", name):
            name += "_"
        out[column] = name
    return out
