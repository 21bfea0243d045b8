"""`unsl ledger`: the forecasts of a study, and the proof that none was changed."""

from __future__ import annotations

import argparse

from pipeline.verbs.about import About
from pipeline.verbs.output import say, write_json
from pipeline.verbs.verb import Verb, add_json, add_study, tracking_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    add_study(parser, or_table=True)
    add_json(parser)
    add = parser.add_argument
    add("--verify", action="store_true", help="prove that nothing was changed, removed or back-dated")
    add("--publish", action="store_true", help="put the entries into a W&B artifact, a witness outside")


def run(options: argparse.Namespace) -> int:
    from pipeline.forecasts import Ledger, entries_to_json

    about = About.of(options)
    ledger = Ledger(about.store.folder)
    faults = ledger.verify(about.store.records()) if options.verify else []
    entries = [] if faults else ledger.entries()
    if about.table and not entries:
        about.rows()  # Raises where the file is not there: a slip of the pen looks like an empty ledger.
    if options.publish and not faults:
        _publish(about, ledger)
    receipt = ledger.receipt()
    facts = {
        "about": about.name,
        "entries": entries_to_json(entries),
        "verified": options.verify and not faults,
        "faults": [str(fault) for fault in faults],
        "published": vars(receipt) if receipt else None,
    }
    if options.json:
        write_json(options.json, facts)
    if options.json != "-":
        from pipeline.verbs import show

        show.ledger(facts)
    return 1 if faults else 0


def _publish(about: About, ledger: object) -> None:
    from pipeline.forecasts import publish

    receipt = publish(ledger, about=about.name, folder=tracking_folder(about.store))
    say(f"published: {receipt.witness}, digest {receipt.digest}")


LEDGER = Verb(
    name="ledger",
    summary="list the forecasts that were written down, and prove that none was changed",
    example="unsl ledger quickstart --verify",
    add_options=add_options,
    run=run,
)
