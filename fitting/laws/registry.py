"""Laws by name, by module and by path. A new law of ours is one new file and one line here."""

from __future__ import annotations

from ..errors import FittingError
from ..law import Law
from .averaged import SUFFIX, Averaged
from .blend import Blend
from .bnsl import Bnsl
from .chinchilla import Additive
from .data_constrained import DataConstrained
from .hilton import HILTON
from .kaplan import KAPLAN_ND, KAPLAN_NS
from .learning_curves import M1, M2, M3, M4
from .loading import is_address, load_law
from .unsl import Ablation, Unsl

_LAWS: dict[str, Law] = {
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
        M2,
        M3,
        M4,
    )
}
BLEND = Blend(lead=_LAWS["unsl"], laws=tuple(_LAWS[name] for name in ("unsl", "a1", "a2", "a3", "cf")))
LAWS: dict[str, Law] = {**_LAWS, BLEND.name: BLEND}


def find_law(law: str | Law) -> Law:
    """The law of that name (`cf`) or address (`my_law.py:LAW`), either followed by `-mean` for the mean of its
    candidates; a law passes through. Raises FittingError.
    """
    if not isinstance(law, str):
        return law
    if law.endswith(SUFFIX):
        alone = find_law(law.removesuffix(SUFFIX))
        if isinstance(alone, Blend):
            raise FittingError(f"{alone.name} is a mean already; write {alone.name!r} for {law!r}")
        return Averaged(law=alone)
    if is_address(law):
        return load_law(law)
    if law not in LAWS:
        raise FittingError(
            f"unknown law {law!r}; the laws are: {', '.join(LAWS)}. A law of your own is named by its address, "
            "as in my_law.py:LAW"
        )
    return LAWS[law]
