"""Two power laws joined with a power, y = (t1^(1/q) + t2^(1/q))^q: the shape of the laws of Kaplan and of Hilton.

Which columns are the two inputs: see `roles`. There is no floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import priors, tape
from ..law import Form, Frame
from ..tape import Value
from . import roles


@dataclass(frozen=True, kw_only=True)
class Coupled(Form):
    """Two power laws t = exp(log_t - a z), joined by a power q; `letters` name them in the coefficients."""

    columns: tuple[str, str]
    letters: tuple[str, str]

    @property
    def structure(self) -> str:
        return " and ".join(self.columns)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(f"{what}_{letter}" for letter in self.letters for what in ("c", "alpha"))

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        return {f"alpha_{letter}": priors.EXPONENT_BOUNDS for letter in self.letters}

    def _power(self, p: Mapping[str, Value], second: Value) -> Value:
        """q, from the raw parameters and the exponent of the second input."""
        raise NotImplementedError

    def _published(self, first: float, second: float, q: float) -> dict[str, float]:
        """The exponents as the source names them, from those of y in each input alone."""
        return {f"alpha_{letter}": a for letter, a in zip(self.letters, (first, second), strict=True)}

    def _terms(self, p: Mapping[str, Value]) -> tuple[tuple[Value, Value], ...]:
        """(ln amplitude at the centre, exponent) of either limit."""
        return tuple(
            (priors.amplitude(p[f"c_{letter}"], self.frame.middle), priors.falling(p[f"alpha_{letter}"]))
            for letter in self.letters
        )

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        terms = self._terms(p)
        q = self._power(p, terms[1][1])
        limits = [log_t - a * z[column] for (log_t, a), column in zip(terms, self.columns, strict=True)]
        return q * tape.log_sum([limit / q for limit in limits])

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        terms = self._terms(p)
        out = {}
        for letter, column, (log_t, a) in zip(self.letters, self.columns, terms, strict=True):
            # The x at which this limit alone gives y = 1; out of the range of floats if it hardly depends on x.
            out[f"{letter}c"] = np.exp(np.clip(log_t / max(a, 1e-12) + self.frame.centre[column], -700.0, 700.0))
        first, second = terms[0][1], terms[1][1]
        return out | self._published(first, second, self._power(p, second))


@dataclass(frozen=True, kw_only=True)
class TwoInputs:
    """parts: the quantities of `roles` that the two inputs are."""

    form: type[Coupled]
    name: str
    parts: tuple[str, str]
    letters: tuple[str, str]

    def forms(self, frame: Frame) -> tuple[Form, ...]:
        cast = roles.cast(frame, self.parts, law=self.name)
        return (self.form(frame=frame, columns=(cast[self.parts[0]], cast[self.parts[1]]), letters=self.letters),)


def log_coupled(
    x: tuple[np.ndarray, np.ndarray], scales: tuple[float, float], exponents: tuple[float, float], power: float
) -> np.ndarray:
    """ln [(scale1/x1)^(exponent1/power) + (scale2/x2)^(exponent2/power)]^power: the published formulas, for
    references.
    """
    inside = [e / power * (np.log(s) - np.log(v)) for v, s, e in zip(x, scales, exponents, strict=True)]
    return power * np.logaddexp(*inside)
