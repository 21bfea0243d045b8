"""Laws of two inputs without a floor: Kaplan et al. 2020 (arXiv 2001.08361) and Hilton et al. 2023 (arXiv 2301.13442).

    Kaplan N,D   y = [(Nc/N)^(aN/aD) + Dc/D]^aD        either input alone gives a power law; the exponent aD couples
    them Kaplan N,S   y = (Nc/N)^aN + (Sc/S)^aS Hilton       I^-b = (Nc/N)^aN + (Ec/E)^aE          I the intrinsic
    performance of an agent, E its interactions

All three are one shape, a sum of two power laws joined with a power: y = (t1^(1/q) + t2^(1/q))^q with q = aD, 1 and
kappa/b.

Kaplan's published constants: aN .076, aD .103, Nc 6.4e13, Dc 1.8e13; with steps aN .077, aS .76, Nc 6.5e13, Sc 2.1e3.
Hilton: public summaries confirm a power law in N where interactions do not limit, one in E where N does not, and that
the definition of I fixes b. The formula itself is from memory. [derived] I is the least compute, in units where it is
N E, that reaches a return; minimising N E along a line of equal return gives I^(b (1/aN + 1/aE)), so 1/b = 1/aN +
1/aE. A metric is some function of I; ours is taken to be a power of it, y = I^-kappa [ours]. Then y =
[...]^(kappa/b), and every choice of the three exponents is such a law, with 1/kappa = sum of 1/(exponent of y in that
input alone).

Which columns are N, D, S and E: see `roles`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import priors, roles, tape
from .law import Form, Frame
from .tape import Value

# Below this a coupling is a corner between the two limits, and dividing by it would only lose digits.
_SHARPEST_COUPLING = 0.01
_NO_DIVISION_BY_ZERO = 1e-9


@dataclass(frozen=True, kw_only=True)
class _Coupled(Form):
    """Two power laws t = exp(log_t - a z), joined by a power q; `letters` name them in the coefficients."""

    columns: tuple[str, str]
    letters: tuple[str, str]

    @property
    def structure(self) -> str:
        return " and ".join(self.columns)

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(f"{what}_{letter}" for letter in self.letters for what in ("c", "alpha"))

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
class _KaplanND(_Coupled):
    def _power(self, p: Mapping[str, Value], second: Value) -> Value:
        return second + _NO_DIVISION_BY_ZERO


@dataclass(frozen=True, kw_only=True)
class _KaplanNS(_Coupled):
    def _power(self, p: Mapping[str, Value], second: Value) -> Value:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class _Hilton(_Coupled):
    @property
    def parameters(self) -> tuple[str, ...]:
        return (*super().parameters, "q")

    def _power(self, p: Mapping[str, Value], second: Value) -> Value:
        return priors.falling(p["q"]) + _SHARPEST_COUPLING

    def _published(self, first: float, second: float, q: float) -> dict[str, float]:
        kappa = 1.0 / (1.0 / max(first, 1e-12) + 1.0 / max(second, 1e-12))
        inside = super()._published(first / q, second / q, q)
        return inside | {"beta": kappa / q, "kappa": kappa}


@dataclass(frozen=True, kw_only=True)
class _TwoInputs:
    """parts: the quantities of `roles` that the two inputs are."""

    form: type[_Coupled]
    name: str
    parts: tuple[str, str]
    letters: tuple[str, str]

    def forms(self, frame: Frame) -> tuple[Form, ...]:
        cast = roles.cast(frame, self.parts, law=self.name)
        return (self.form(frame=frame, columns=(cast[self.parts[0]], cast[self.parts[1]]), letters=self.letters),)


KAPLAN_ND = _TwoInputs(name="kaplan_nd", form=_KaplanND, parts=(roles.PARAMETERS, roles.TOKENS), letters=("N", "D"))
KAPLAN_NS = _TwoInputs(name="kaplan_ns", form=_KaplanNS, parts=(roles.PARAMETERS, roles.STEPS), letters=("N", "S"))
HILTON = _TwoInputs(name="hilton", form=_Hilton, parts=(roles.PARAMETERS, roles.INTERACTIONS), letters=("N", "E"))


def log_coupled(
    x: tuple[np.ndarray, np.ndarray], scales: tuple[float, float], exponents: tuple[float, float], power: float
) -> np.ndarray:
    """ln [(scale1/x1)^(exponent1/power) + (scale2/x2)^(exponent2/power)]^power: the published formulas, for
    references.
    """
    inside = [e / power * (np.log(s) - np.log(v)) for v, s, e in zip(x, scales, exponents, strict=True)]
    return power * np.logaddexp(*inside)
