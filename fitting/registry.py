"""Laws by name. A new law is one new file and one line here."""

from __future__ import annotations

from .additive import Additive
from .coupled import HILTON, KAPLAN_ND, KAPLAN_NS
from .data_constrained import DataConstrained
from .errors import FittingError
from .law import Law
from .learning_curves import M1, M3, M4
from .univariate import M2, Bnsl
from .unsl import Ablation, Unsl

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Unsl(),
        Ablation(name="a1", capped=False, opposing=0),
        Ablation(name="a2", capped=True, opposing=0),
        Ablation(name="a3", capped=True, opposing=1),
        Bnsl(),
        Additive(),
        DataConstrained(),
        KAPLAN_ND,
        KAPLAN_NS,
        HILTON,
        M1,
        M2(),
        M3,
        M4,
    )
}


def find(law: str | Law) -> Law:
    """The law of that name; a law passes through."""
    if not isinstance(law, str):
        return law
    if law not in LAWS:
        raise FittingError(f"unknown law {law!r}; the laws are: {', '.join(LAWS)}")
    return LAWS[law]
