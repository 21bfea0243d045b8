"""The errors of this package, and how their messages end."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PipelineError(Exception):
    """The request cannot be carried out; the message says what to do. The command line prints it and exits with 2."""

    exit_code = 2


class OutsideError(PipelineError):
    """Something outside failed: the store, the network, the cluster. The command line exits with 3."""

    exit_code = 3


class OccupiedError(OutsideError):
    """Another driver is at work on the study, and is not waited for any longer."""


def suggest(name: str, known: Iterable[str]) -> str:
    """How an error message ends that has met an unknown name."""
    known = [str(one) for one in known]
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
