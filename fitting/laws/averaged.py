"""A law under the other condition: `unsl-mean`, `cf-mean`, any law's name followed by `-mean`.

A law predicts with one equation. Under this condition it predicts with the mean of ln y over the best tenth of its
candidates instead, which no single equation gives. Every law has both conditions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..law import Form, Frame, Law

SUFFIX = "-mean"


@dataclass(frozen=True, kw_only=True)
class Averaged:
    law: Law

    @property
    def name(self) -> str:
        return self.law.name + SUFFIX

    def forms(self, frame: Frame) -> Sequence[Form]:
        return self.law.forms(frame)
