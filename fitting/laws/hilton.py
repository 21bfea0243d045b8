"""The law of Hilton et al. 2023 for reinforcement learning (arXiv 2301.13442).

    I^-b = (Nc/N)^aN + (Ec/E)^aE    I the intrinsic performance of an agent, E its interactions

Public summaries confirm a power law in N where interactions do not limit, one in E where N does not, and that the
definition of I fixes b. The formula itself is from memory. [derived] I is the least compute, in units where it is N E,
that reaches a return; minimising N E along a line of equal return gives I^(b (1/aN + 1/aE)), so 1/b = 1/aN + 1/aE. A
metric is some function of I; ours is taken to be a power of it, y = I^-kappa [ours]. Then y = [...]^(kappa/b), and
every choice of the three exponents is such a law, with 1/kappa = sum of 1/(exponent of y in that input alone). In the
terms of `coupled` q is kappa/b.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .. import priors
from ..tape import Value
from . import roles
from .coupled import Coupled, TwoInputs

# Below this a coupling is a corner between the two limits, and dividing by it would only lose digits.
_SHARPEST_COUPLING = 0.01


@dataclass(frozen=True, kw_only=True)
class _Hilton(Coupled):
    @property
    def equation(self) -> str:
        n, e = self.columns
        return f"((Nc/{n})^alpha_N + (Ec/{e})^alpha_E)^(kappa/beta)"

    @property
    def parameters(self) -> tuple[str, ...]:
        return (*super().parameters, "q")

    def _power(self, p: Mapping[str, Value], second: Value) -> Value:
        return priors.falling(p["q"]) + _SHARPEST_COUPLING

    def _published(self, first: float, second: float, q: float) -> dict[str, float]:
        kappa = 1.0 / (1.0 / max(first, 1e-12) + 1.0 / max(second, 1e-12))
        inside = super()._published(first / q, second / q, q)
        return inside | {"beta": kappa / q, "kappa": kappa}


HILTON = TwoInputs(name="hilton", form=_Hilton, parts=(roles.PARAMETERS, roles.INTERACTIONS), letters=("N", "E"))
