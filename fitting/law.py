"""What a law is.

A `Law` is a name and a list of forms; a `Form` is one exact formula with named raw parameters, written for the scale
(`Frame`) of one table. Solver, selection, averaging, uncertainty and scoring know nothing else of a law and are the
same for all of them.

How to add a law
----------------
1. In a new file, write a frozen dataclass that extends `Form`:

       @dataclass(frozen=True, kw_only=True)
       class Offset(Form):                                   # y = e + b x^-c
           column: str

           @property
           def structure(self):
               return self.column                            # what tells this form from the law's other forms
           @property
           def parameters(self):
               return ("e", "b", "c")                        # names of the raw parameters
           def _parts(self, p):                              # raw -> meaningful, by `priors`: both methods below use it
               f = self.frame
               return priors.floor(p["e"], f.low, f.middle), priors.amplitude(p["b"], f.middle), priors.falling(p["c"])
           def log_y(self, p, z):                            # z: centred logarithms of the columns; p: nodes or arrays
               log_e, log_b, c = self._parts(p)
               return tape.log_sum([log_e, log_b - c * z[self.column]])
           def natural(self, p):                             # floats in the table's own units, for people
               log_e, log_b, c = self._parts(p)
               return {"e": math.exp(log_e), "b": math.exp(log_b + c * self.frame.centre[self.column]), "c": c}

   Use only the functions of `tape` and `priors` (they carry derivatives), and keep predictions positive by working
   with logarithms.
2. Write a `Law` whose `forms(frame)` returns one form or several (which input is read, how many breaks); selection
   tries them all. A table that does not suit raises FittingError that says which column is missing. Hyperparameters
   that a law ignores are simply not read.
3. Name it by its address, `fit("my_law.py:LAW", table)`. A law of this package's own is a file in `laws` and a line in
   `laws.registry`; the contract battery in tests/fitting/test_law_contract.py then runs over it.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from .errors import FittingError
from .table import Table
from .tape import Node, Tape, Value

# A ceiling that is known counts as known only this far (in ln y) above every measurement; closer, noise has crossed
# it and it is fitted.
_CEILING_CLEARANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The scale of the rows that are fitted: what makes raw parameters free of units.

    centre, half: for each column, the middle of ln x and half of its range (the hull of the table). low, middle,
    high: the least, mean and largest ln y. log_ceiling: ln of the worst value that the metric allows; None = to be
    fitted, inf = there is none. Columns that do not vary are left out of `inputs` and `hyperparameters`: nothing can
    be learned about them.
    """

    inputs: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    centre: Mapping[str, float]
    half: Mapping[str, float]
    low: float
    middle: float
    high: float
    log_ceiling: float | None
    rows: int

    @classmethod
    def from_table(cls, table: Table) -> Frame:
        if len(table) == 0:
            raise FittingError("the table has no rows")
        centre, half = {}, {}
        for name, values in table.columns.items():
            z = np.log(values)
            if z.max() > z.min():
                centre[name] = float(z.max() + z.min()) / 2
                half[name] = float(z.max() - z.min()) / 2
        inputs = tuple(name for name in table.inputs if name in centre)
        if not inputs:
            raise FittingError(
                f"no input varies over the {len(table)} rows; add rows that differ in {', '.join(table.inputs)}"
            )
        log_y = np.log(table.y)
        high = float(log_y.max())
        log_ceiling = None if table.ceiling is None else math.log(table.ceiling)
        if log_ceiling is not None and log_ceiling < high + _CEILING_CLEARANCE:
            log_ceiling = None
        return cls(
            inputs=inputs,
            hyperparameters=tuple(name for name in table.hyperparameters if name in centre),
            centre=centre,
            half=half,
            low=float(log_y.min()),
            middle=float(log_y.mean()),
            high=high,
            log_ceiling=log_ceiling,
            rows=len(table),
        )

    def coordinates(self, columns: Mapping[str, np.ndarray], *, partly: bool = False) -> dict[str, np.ndarray]:
        """Centred logarithms of the columns that vary. Raises FittingError for a column that is absent (unless only
        part of them is asked for) or not positive.
        """
        z = {}
        for name, centre in self.centre.items():
            if partly and name not in columns:
                continue
            if name not in columns:
                raise FittingError(f"column {name!r} is missing; the fit knows {', '.join(self.centre)}")
            try:
                values = np.asarray(columns[name], float)
            except (TypeError, ValueError):
                raise FittingError(f"column {name!r} holds something that is not a number") from None
            if not (np.isfinite(values).all() and (values > 0).all()):
                raise FittingError(
                    f"column {name!r} has values that are not positive and finite; laws are defined for positive ones"
                )
            z[name] = np.log(values) - centre
        return z


@dataclass(frozen=True, kw_only=True)
class Form(abc.ABC):
    """One exact formula of a law on the scale of one table. See the module's docstring for an example."""

    frame: Frame

    @property
    @abc.abstractmethod
    def structure(self) -> str:
        """A short text that tells this form from the law's other forms."""

    @property
    @abc.abstractmethod
    def parameters(self) -> tuple[str, ...]:
        """Names of the raw parameters, in order."""

    @abc.abstractmethod
    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        """ln y at centred logarithms z, written with `tape` and `priors`."""

    @abc.abstractmethod
    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        """Coefficients in the table's own units, named."""

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Raw parameters that saturate, with the values between which they do not: a fit that pushes one beyond stands
        at a bound. See `priors` for those of its quantities.
        """
        return {}

    @property
    def equation(self) -> str:
        """The right side of y = ..., with the coefficients' names, in signs that `summary.latex` can set."""
        return f"f({', '.join(self.frame.centre)})"

    def describe(self, raw: np.ndarray) -> str:
        """The structure in words, as these raw parameters have it; by default the structure's own text."""
        return self.structure

    @property
    def exclusive(self) -> str:
        """Predictions are averaged only among forms that agree on this; a law of one input puts the input's name
        here.
        """
        return ""

    @property
    def host(self) -> tuple[Form, Mapping[str, float]]:
        """A form that contains this one, with the raw values at which what it has beyond this one drops out exactly.
        Forms of one host are fitted as one batch, which on small tables halves the time; alone it is its own.
        """
        return self, {}

    @property
    def size(self) -> int:
        return len(self.parameters)

    def evaluate(self, raw: np.ndarray, z: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(starts, parameters) -> ln y of shape (starts, rows) and its Jacobian (starts, parameters, rows)."""
        rows = _rows(z)
        record = Tape(raw)
        out = self.log_y({name: record.parameter(k) for k, name in enumerate(self.parameters)}, z)
        assert isinstance(out, Node)
        return np.broadcast_to(out.value, (raw.shape[0], rows)), record.jacobian(out, rows)

    def predict_log(self, raw: np.ndarray, z: Mapping[str, np.ndarray]) -> np.ndarray:
        """ln y alone, shape (starts, rows)."""
        out = self.log_y({name: raw[:, k : k + 1] for k, name in enumerate(self.parameters)}, z)
        return np.broadcast_to(np.asarray(out), (raw.shape[0], _rows(z)))

    def coefficients(self, raw: np.ndarray) -> dict[str, float]:
        """Named coefficients in natural units for one vector of raw parameters."""
        with np.errstate(over="ignore", under="ignore"):
            values = self.natural({name: raw[k] for k, name in enumerate(self.parameters)})
        return {name: float(value) for name, value in values.items()}


def _rows(z: Mapping[str, np.ndarray]) -> int:
    return next(iter(z.values())).size


class Law(Protocol):
    """A functional form by name."""

    @property
    def name(self) -> str: ...

    def forms(self, frame: Frame) -> Sequence[Form]:
        """The forms that selection tries on a table of this scale. Raises FittingError where the law does not suit."""
        ...


@runtime_checkable
class Cautious(Law, Protocol):
    """A law that leans on one of its own forms where its candidates disagree about what lies beyond the table."""

    def core(self, frame: Frame) -> str:
        """The structure of that form, "" where there is none for such a table."""
        ...
