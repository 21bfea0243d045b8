"""The laws of Kaplan et al. 2020 (arXiv 2001.08361).

    N, D   y = [(Nc/N)^(aN/aD) + Dc/D]^aD   either input alone gives a power law; the exponent aD couples them
    N, S   y = (Nc/N)^aN + (Sc/S)^aS        S the training steps

Published constants: aN .076, aD .103, Nc 6.4e13, Dc 1.8e13; with steps aN .077, aS .76, Nc 6.5e13, Sc 2.1e3. In the
terms of `coupled` q is aD and 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..tape import Value
from . import roles
from .coupled import Coupled, TwoInputs

_NO_DIVISION_BY_ZERO = 1e-9


@dataclass(frozen=True, kw_only=True)
class _KaplanND(Coupled):
    @property
    def equation(self) -> str:
        n, d = self.columns
        return f"((Nc/{n})^(alpha_N/alpha_D) + Dc/{d})^alpha_D"

    def _power(self, p: Mapping[str, Value], second: Value) -> Value:
        return second + _NO_DIVISION_BY_ZERO


@dataclass(frozen=True, kw_only=True)
class _KaplanNS(Coupled):
    @property
    def equation(self) -> str:
        n, s = self.columns
        return f"(Nc/{n})^alpha_N + (Sc/{s})^alpha_S"

    def _power(self, p: Mapping[str, Value], second: Value) -> Value:
        return 1.0


KAPLAN_ND = TwoInputs(name="kaplan_nd", form=_KaplanND, parts=(roles.PARAMETERS, roles.TOKENS), letters=("N", "D"))
KAPLAN_NS = TwoInputs(name="kaplan_ns", form=_KaplanNS, parts=(roles.PARAMETERS, roles.STEPS), letters=("N", "S"))
