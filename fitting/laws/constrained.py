"""A law with some of its coefficients held at a value, or two held equal.

    fit("cf", table, fixed={"E": 1.69})
    fit("cf", table, tied=[("alpha_N", "alpha_D")])

A coefficient can be held if one raw parameter alone decides it, as exponents, floors and ceilings; an amplitude at
x = 1 also hangs on the exponent, and is refused. Two can be tied if their priors are the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import FittingError
from ..law import Form, Frame, Law
from ..tape import Value

# Raw parameters at which it is tried what a coefficient hangs on, and how far out the value is sought.
_TRIED = (-0.7, 0.4)
_FARTHEST = 60.0


@dataclass(frozen=True, kw_only=True)
class Constrained:
    """`law` with `fixed` coefficients (in the units of the table) and `tied` pairs of coefficients."""

    law: Law
    fixed: Mapping[str, float] = field(default_factory=dict)
    tied: Sequence[tuple[str, str]] = ()

    @property
    def name(self) -> str:
        return self.law.name

    def forms(self, frame: Frame) -> tuple[Form, ...]:
        """The law's forms that have all of these coefficients. Raises FittingError if none has."""
        forms, reasons = [], []
        for form in self.law.forms(frame):
            try:
                forms.append(self._form(form))
            except FittingError as error:
                reasons.append(str(error))
        if not forms:
            raise FittingError(f"{self.name}: {reasons[0]}")
        return tuple(forms)

    def _form(self, form: Form) -> _ConstrainedForm:
        held = {}
        for name, value in self.fixed.items():
            raw = _decides(form, name)
            held[raw] = _raw_of(form, name, raw, float(value))
        tied = {}
        for one, other in self.tied:
            first, second = _decides(form, one), _decides(form, other)
            at = [form.coefficients(np.full(form.size, v)) for v in _TRIED]
            if not all(math.isclose(c[one], c[other], rel_tol=1e-9) for c in at):
                raise FittingError(f"{one} and {other} have different priors and cannot be tied")
            tied[second] = first
        return _ConstrainedForm(frame=form.frame, form=form, held=held, tied=tied)


@dataclass(frozen=True, kw_only=True)
class _ConstrainedForm(Form):
    """held: raw parameters with their value; tied: raw parameters that are equal to another."""

    form: Form
    held: Mapping[str, float]
    tied: Mapping[str, str]

    @property
    def structure(self) -> str:
        return self.form.structure

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(name for name in self.form.parameters if name not in self.held and name not in self.tied)

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        return {name: limits for name, limits in self.form.bounds.items() if name in self.parameters}

    @property
    def exclusive(self) -> str:
        return self.form.exclusive

    @property
    def equation(self) -> str:
        return self.form.equation

    def _all(self, p: Mapping[str, Value]) -> dict[str, Value]:
        every = {**p, **self.held}
        return every | {name: every[other] for name, other in self.tied.items()}

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        return self.form.log_y(self._all(p), z)

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        return self.form.natural(self._all(p))

    def describe(self, raw: np.ndarray) -> str:
        every = self._all(dict(zip(self.parameters, raw, strict=True)))
        return self.form.describe(np.array([every[name] for name in self.form.parameters]))


def _decides(form: Form, name: str) -> str:
    """The raw parameter that alone decides a coefficient. Raises FittingError if there is none."""
    base = form.coefficients(np.full(form.size, _TRIED[0]))
    if name not in base:
        raise FittingError(f"there is no coefficient {name!r}; the coefficients are: {', '.join(base)}")
    moved = []
    for k, raw in enumerate(form.parameters):
        at = np.full(form.size, _TRIED[0])
        at[k] = _TRIED[1]
        if form.coefficients(at)[name] != base[name]:
            moved.append(raw)
    if len(moved) != 1:
        raise FittingError(f"{name} hangs on {' and '.join(moved) or 'nothing'}: only exponents and limits can be held")
    return moved[0]


def _raw_of(form: Form, name: str, raw: str, value: float) -> float:
    """The raw parameter at which the coefficient has the value, by bisection: all maps of `priors` are monotone."""
    k = form.parameters.index(raw)

    def at(x: float) -> float:
        point = np.full(form.size, _TRIED[0])
        point[k] = x
        return form.coefficients(point)[name]

    low, high = -_FARTHEST, _FARTHEST
    ends = at(low), at(high)
    if not min(ends) <= value <= max(ends):
        raise FittingError(f"{name} = {value:g} is out of reach: it lies between {min(ends):.4g} and {max(ends):.4g}")
    for _ in range(200):
        middle = (low + high) / 2
        if (at(middle) < value) == (ends[0] < ends[1]):
            low = middle
        else:
            high = middle
    return (low + high) / 2
