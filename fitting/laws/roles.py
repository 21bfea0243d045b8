"""Which column plays which part in a law that was written for particular quantities.

Laws such as "parameters and tokens, coupled" read quantities, tables have columns of any name. A column that bears
one of a quantity's aliases (capitals, spaces, hyphens and underscores do not matter) plays that part. Parts that are
still open go to the inputs that are still free, in the order in which the table names them. So all of these work:

    unsl fit runs.csv --inputs N,D            by alias
    unsl fit runs.csv --inputs tokens,params  by alias, in either order
    unsl fit runs.csv --inputs foo,bar        by order: foo plays the law's first part, bar its second

Only inputs play parts, never hyperparameters, and only inputs that vary. Inputs beyond those that a law reads are left
unread. A quantity that cannot be guessed from order alone (unique tokens) must bear an alias.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import FittingError
from ..law import Frame

PARAMETERS, TOKENS, STEPS, UNIQUE, INTERACTIONS = "parameters", "tokens", "steps", "unique_tokens", "interactions"

ALIASES: dict[str, tuple[str, ...]] = {
    PARAMETERS: ("parameters", "params", "nparams", "numparams", "n", "modelsize", "nonembeddingparameters", "width"),
    TOKENS: ("tokens", "d", "dataset", "datasetsize", "data", "traintokens", "tokensseen", "examples", "samples"),
    STEPS: ("steps", "s", "step", "updates", "iterations", "trainingsteps"),
    # A data set's size is what is unique in it, where another column says how much was read.
    UNIQUE: ("uniquetokens", "u", "unique", "uniqueexamples", "uniquesamples", "uniquedata", "datasetsize"),
    INTERACTIONS: ("interactions", "e", "environmentsteps", "envsteps", "episodes", "frames"),
}
# Played only by a column that says so: what is left over in a table of three inputs is rarely a count of unique data.
_BY_NAME_ONLY = {UNIQUE}


def cast(frame: Frame, parts: Sequence[str], *, law: str) -> dict[str, str]:
    """Part -> column of the frame. Raises FittingError that says which part is open and what would fill it."""
    free = list(frame.inputs)
    chosen: dict[str, str] = {}
    for part in parts:
        for column in free:
            if _plain(column) in ALIASES[part]:
                chosen[part] = column
                free.remove(column)
                break
    for part in parts:
        if part not in chosen and part not in _BY_NAME_ONLY and free:
            chosen[part] = free.pop(0)
    missing = [part for part in parts if part not in chosen]
    if missing:
        raise FittingError(
            f"{law} reads {_and(parts)}, and no input that varies can be {_and(missing)}; the table has "
            f"{_and(frame.inputs)}. Add the column, and call it {missing[0]!r} or {ALIASES[missing[0]][1]!r}"
        )
    return {part: chosen[part] for part in parts}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
