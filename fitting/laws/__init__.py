"""The laws: one file a law, or a family of which each is a variant of the others. `registry` names them."""

from .averaged import SUFFIX, Averaged
from .blend import Blend, Part
from .bnsl import Bnsl
from .constrained import Constrained
from .data_constrained import log_data_constrained
from .loading import load_law
from .registry import LAWS, find_law

__all__ = [
    "LAWS",
    "SUFFIX",
    "Averaged",
    "Blend",
    "Bnsl",
    "Constrained",
    "Part",
    "find_law",
    "load_law",
    "log_data_constrained",
]
