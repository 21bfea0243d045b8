"""The additive law: an irreducible limit plus one power law an input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import priors, tape
from ..law import Form, Frame
from ..tape import Value


@dataclass(frozen=True, kw_only=True)
class _Additive(Form):
    """y = E + sum_j A_j x_j^-alpha_j. Coefficients are named E, A_<input>, alpha_<input>."""

    @property
    def structure(self) -> str:
        return " + ".join(self.frame.inputs)

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("E", *(f"{what}_{name}" for name in self.frame.inputs for what in ("A", "alpha")))

    @property
    def equation(self) -> str:
        return " + ".join(["E", *(f"A_{x} * {x}^-alpha_{x}" for x in self.frame.inputs)])

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        exponents = {f"alpha_{name}": priors.EXPONENT_BOUNDS for name in self.frame.inputs}
        return {"E": priors.FLOOR_BOUNDS, **exponents}

    def _term(self, p: Mapping[str, Value], name: str) -> tuple[Value, Value]:
        return priors.amplitude(p[f"A_{name}"], self.frame.middle), priors.falling(p[f"alpha_{name}"])

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        terms = [priors.floor(p["E"], self.frame.low, self.frame.middle)]
        for name in self.frame.inputs:
            log_a, alpha = self._term(p, name)
            terms.append(log_a - alpha * z[name])
        return tape.log_sum(terms)

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        out = {"E": np.exp(priors.floor(p["E"], self.frame.low, self.frame.middle))}
        for name in self.frame.inputs:
            log_a, alpha = self._term(p, name)
            out |= {f"A_{name}": np.exp(log_a + alpha * self.frame.centre[name]), f"alpha_{name}": alpha}
        return out


@dataclass(frozen=True, kw_only=True)
class Additive:
    """The form of Hoffmann et al. 2022 (arXiv 2203.15556), for any number of inputs."""

    name: str = "cf"

    def forms(self, frame: Frame) -> tuple[Form, ...]:
        return (_Additive(frame=frame),)
