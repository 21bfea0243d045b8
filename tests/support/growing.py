"""A small study that grows, and what holds of its store at every moment."""

from __future__ import annotations

from rehearsal import make_study

from pipeline import Growth, Split
from pipeline.forecasts import Ledger
from pipeline.plan import Accounts, Budget
from pipeline.store import Store
from pipeline.study import NEWEST_ROUND

GROWTH = Growth(
    axes={"parameters": 2}, target="parameters=1e5, dataset_size=1e5, step=512", budget="1cpu-hours", rule="grid"
)
STUDY = make_study(split=Split(held_out=NEWEST_ROUND), growth=GROWTH)
"""Eight cells, and four more in each round."""


def check(store: Store) -> None:
    """Nothing lost, nothing twice, every forecast before its cell, the budget kept; of the store of `STUDY`."""
    study, rounds, records = store.grown(STUDY), store.rounds(), store.records()
    ledger = Ledger(store.folder)
    assert ledger.verify(records) == []
    table = store.table()
    assert not table.duplicated(["cell", "step", "inference_steps"]).any(), "no cell twice"
    said: dict[str, int] = {}
    for entry in ledger.entries():
        for cell in set(entry.targets.get("cell", ())):
            said[cell] = said.get(cell, 0) + 1
    for one in rounds:
        cells = {cell.id for cell in study.build(one.cells)}
        assert cells & records.keys() <= said.keys(), "no cell starts without its forecast"
        assert all(said.get(cell, 0) <= 1 for cell in cells), "no forecast is there twice"
        others = {cell.id for other in rounds if other is not one for cell in study.build(other.cells)}
        assert not cells & others, "no cell in two rounds"
        if one.closed is not None:
            assert one.closed["done"] == len(cells) and not one.closed["left"]
            blind = sum(row["forecasts"] for row in one.closed["scores"])
            assert blind == 6 * len(cells), "every forecast was blind, and was scored"
    held = Accounts.read(store.folder).held
    for one in rounds[-1:]:
        budget = Budget.parse(one.facts["budget"])
        assert budget.spent(held) - budget.spent(one.facts["held"]) <= budget.amount
