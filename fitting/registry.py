"""Laws by name. A new law is one new file and one line here."""

from __future__ import annotations

from .additive import Additive
from .errors import FittingError
from .law import Law
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
        M2(),
    )
}


def find(law: str | Law) -> Law:
    """The law of that name; a law passes through."""
    if not isinstance(law, str):
        return law
    if law not in LAWS:
        raise FittingError(f"unknown law {law!r}; the laws are: {', '.join(LAWS)}")
    return LAWS[law]
