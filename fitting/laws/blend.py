"""`blend`: the geometric mean of all laws' forecasts, each weighted by how well it foretold the frontier.

Forecasting competitions are won by combining simple methods, and so it is here: which law extrapolates best is seldom
known beforehand. It is no equation and never called one; each of its parts is. [ours]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FittingError
from ..law import Form, Frame, Law
from ..tape import Value

# An error of 0 has no inverse.
_TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class Part(Form):
    """One law's form in a blend: `frame` is the blend's, while the form has the scale of its own fit."""

    law: str
    form: Form

    @property
    def structure(self) -> str:
        return f"{self.law}: {self.form.structure}"

    @property
    def parameters(self) -> tuple[str, ...]:
        return self.form.parameters

    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        return self.form.bounds

    @property
    def equation(self) -> str:
        return self.form.equation

    def describe(self, raw: np.ndarray) -> str:
        return f"{self.law}: {self.form.describe(raw)}"

    def log_y(self, p: Mapping[str, Value], z: Mapping[str, np.ndarray]) -> Value:
        own = self.form.frame.centre
        return self.form.log_y(p, {name: values + (self.frame.centre[name] - own[name]) for name, values in z.items()})

    def natural(self, p: Mapping[str, float]) -> dict[str, float]:
        return self.form.natural(p)


@dataclass(frozen=True, kw_only=True)
class Blend:
    """lead: the law that has half of the weight whatever it foretold. laws: the others, and the lead again."""

    lead: Law
    laws: Sequence[Law]
    name: str = "blend"

    def forms(self, frame: Frame) -> tuple[Part, ...]:
        """Every form of every law that suits. Raises FittingError if none does."""
        forms: list[Part] = []
        for law in self.laws:
            try:
                forms += [Part(frame=frame, law=law.name, form=form) for form in law.forms(frame)]
            except FittingError:
                continue
        if not forms:
            raise FittingError(f"{self.name}: none of its laws suits this table")
        return tuple(forms)

    def shares(self, missed: Mapping[str, float]) -> dict[str, float]:
        """The weight of every law, of sum 1. missed: its error on the frontier when it was fitted without it; nan
        where the table has none to spare."""
        known = {name: (error + _TINY) ** -_POWER for name, error in missed.items() if np.isfinite(error)}
        known = known or dict.fromkeys(missed, 1.0)
        shares = {name: weight / sum(known.values()) for name, weight in known.items()}
        if self.lead.name in missed:
            shares = {name: (1 - _LEAD) * share for name, share in shares.items()}
            shares[self.lead.name] = shares.get(self.lead.name, 0.0) + _LEAD
        return shares


# How much of the weight the lead has beforehand, and the power of the error by which the rest is shared out.
_LEAD, _POWER = 0.5, 2.0
