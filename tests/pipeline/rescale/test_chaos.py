"""Rounds that are killed at any change of a file and started twice at once: nothing lost, nothing twice, budget kept.

benchmarks/rescale_chaos.py does the same to whole processes, on more rounds.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from rehearsal import make_study, write_study

from pipeline import Growth, Split, cli
from pipeline.forecasts import Ledger
from pipeline.plan import Accounts, Budget
from pipeline.store import Store
from pipeline.study import NEWEST_ROUND

ROUNDS = 10
CHANGES = 120
"""Changes of files that a call makes, about: kills are drawn among them, and some calls end before theirs."""
GROWTH = Growth(
    axes={"parameters": 2}, target="parameters=1e5, dataset_size=1e5, step=512", budget="1cpu-hours", rule="grid"
)
STUDY = make_study(split=Split(held_out=NEWEST_ROUND), growth=GROWTH)


def call() -> int:
    return cli.main(["rescale", "rehearsal", "--executor", "inline", "--wandb", "off"])


def begun(kill_at: int) -> int:
    """A call in a process of its own that is killed at its n-th change of a file. Returns the process."""
    child = os.fork()
    if child:
        return child
    try:
        left = [kill_at]

        def watched(change):
            def watch(*arguments, **more):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*arguments, **more)

            return watch

        for name in ("fsync", "replace", "link", "unlink"):
            setattr(os, name, watched(getattr(os, name)))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os._exit(call())
    except BaseException:
        os._exit(99)


def check(store: Store) -> None:
    """What holds at every moment."""
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
def test_rounds_survive_being_killed_and_started_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    monkeypatch.setattr("pipeline.verbs.report.make_report", lambda study, store, path, asked: Path(path).touch())
    write_study(tmp_path, STUDY)
    draw, endings = random.Random(0), []
    assert call() == 0, "the grid"
    for number in range(1, ROUNDS + 1):
        while len(Store("runs", "rehearsal").rounds()) < number:
            children = [begun(draw.randrange(CHANGES)) for _ in range(2)]
            for child in children:
                _, status = os.waitpid(child, 0)
                endings.append("killed" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
            check(Store("runs", "rehearsal"))
        while Store("runs", "rehearsal").rounds()[number - 1].closed is None:
            assert call() == 0
        check(Store("runs", "rehearsal"))
    assert "killed" in endings and 0 in endings
    assert set(endings) <= {"killed", 0}, "whoever is not killed ends well"
    store = Store("runs", "rehearsal")
    assert {record.status for record in store.records().values()} == {"done"}
    assert len(store.records()) == 8 + 4 * len(store.rounds())
