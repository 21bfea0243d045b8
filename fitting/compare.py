"""Several laws, fitted to one table with equal care and scored on another."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .candidates import Recipe
from .errors import FittingError
from .fits import Fit, FitStatus, fit
from .law import Law
from .laws import Averaged, Blend, find_law
from .rmsle import Rmsle, rmsle
from .solver import Loss, loss_named
from .table import Table


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One law in a comparison. `fit` is None when the law does not suit the table; `reason` then says why."""

    law: str
    fit: Fit | None
    reason: str
    rmsle_fit: Rmsle | None
    rmsle_held_out: Rmsle | None
    seconds: float


class Comparisons(tuple[Comparison, ...]):
    """The laws of one comparison, in the order in which they were named."""

    def summary(self) -> str:
        """A table for people: the least held-out error first, laws without one last, each with its reason."""

        def order(row: Comparison) -> float:
            return math.inf if row.rmsle_held_out is None else row.rmsle_held_out.value

        rows = [("law", "held out", "fitted", "status", "")]
        for row in sorted(self, key=order):
            if row.fit is None or row.rmsle_fit is None:
                rows.append((row.law, "-", "-", "no fit", row.reason))
            else:
                held_out = "-" if row.rmsle_held_out is None else str(row.rmsle_held_out)
                rows.append((row.law, held_out, str(row.rmsle_fit), row.fit.status.value, row.fit.structure))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        return "\n".join(
            "  ".join([*(text.ljust(w) for text, w in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows
        )


def compare(
    laws: Sequence[str | Law],
    fitted: Table,
    held_out: Table | None = None,
    *,
    seed: int = 0,
    loss: Loss | str = Loss.MSLE,
    recipe: Recipe | None = None,
    fits: dict[str, Fit] | None = None,
) -> Comparisons:
    """Fit several laws to one table with equal care and score them on another, which none of them has seen.

    Of the held-out rows, only the columns are used before scoring: they tell selection which way is out. fits: of these
    very rows that are known already, by law; those that are made here are added.
    Never raises because one law fails; raises FittingError for an unknown name, which is a mistake in the call.
    """
    found = [find_law(law) for law in laws]
    how = {"seed": seed, "loss": loss_named(loss), "recipe": recipe}
    if held_out is not None and len(held_out):
        how["toward"] = held_out.columns
    fits = {} if fits is None else fits
    results: dict[int, Comparison] = {}
    # A blend comes last, when its laws are fitted.
    for place, law in sorted(enumerate(found), key=lambda pair: isinstance(pair[1], Blend)):
        began = time.perf_counter()
        result, reason, inside, outside = None, "", None, None
        try:
            # Both conditions of a law are one fit.
            alone = law.law if isinstance(law, Averaged) else law
            if alone.name not in fits:
                fits[alone.name] = fit(alone, fitted, parts=fits, **how)
            result = fits[alone.name]
            if isinstance(law, Averaged) and result.status is not FitStatus.FAILED:
                result = result.averaged()
            if result.status is FitStatus.FAILED:
                reason = "no start gave finite numbers"
            else:
                inside = result.rmsle
                if held_out is not None and len(held_out):
                    outside = rmsle(result.predict(held_out.columns), held_out.y)
        except FittingError as error:
            result, reason = None, str(error)
        results[place] = Comparison(
            law=law.name,
            fit=result,
            reason=reason,
            rmsle_fit=inside,
            rmsle_held_out=outside,
            seconds=time.perf_counter() - began,
        )
    return Comparisons(results[place] for place in range(len(found)))
