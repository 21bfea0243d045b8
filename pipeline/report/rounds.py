"""What the rounds of a study that grows say, as facts."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.facts import Coefficient, Error, Round
from pipeline.store import Round as StoredRound


def round_facts(rounds: Sequence[StoredRound]) -> tuple[Round, ...]:
    """Each closed round with the score of its blind forecasts, by the law whose forecast counts, and what that law
    foretold at the last round's targets once the round was measured."""
    closed = [one for one in rounds if one.closed is not None]
    targets = closed[-1].closed["knowledge"]["targets"] if closed else []
    found = []
    for one in closed:
        law, known = one.facts["law"], one.closed["knowledge"]
        score = next((row for row in one.closed["scores"] if row["law"] == law), None)
        said = known["laws"].get(law, {}).get("said", ()) if known["targets"] == targets else ()
        found.append(
            Round(
                number=one.number,
                date=one.opened[:10],
                cells=len(one.cells),
                spent=f"{one.closed['spent']:.3g} of {one.facts['budget']}",
                fitted=one.facts["knowledge"]["rows"],
                held_out=known["rows"] - one.facts["knowledge"]["rows"],
                error=Error(value=score["rmsle"], bar=score["rmsle"] / (2 * score["forecasts"]) ** 0.5)
                if score
                else None,
                coefficients=tuple(
                    Coefficient(name=f"{law} at {text}", value=there["median"], low=there["low"], high=there["high"])
                    for text, there in zip(targets, said, strict=False)
                ),
            )
        )
    return tuple(found)
