"""The ledger on an object store that fails, dawdles, and shows late what was written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from ledgers import keep_no_fit, make_entry
from rehearsal import make_study, run_study
from s3_server import BUCKET, Faults

from pipeline.errors import OutsideError
from pipeline.forecasts import Ledger
from pipeline.store import Folder, Store

ROOT = f"s3://{BUCKET}/runs"


def test_writers_at_once_share_one_chain(s3):
    folder = f"{ROOT}/study"
    keep_no_fit(Folder(folder))
    s3.faults = Faults(failing=0.05, late_seconds=0.2, slow_seconds=0.02)

    def write(writer: int) -> None:
        for number in range(4):
            Ledger(Folder(folder)).append(make_entry(fingerprint=f"{writer}-{number}"))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    s3.faults = Faults()
    ledger = Ledger(Folder(folder))
    assert sorted(one.fingerprint for one in ledger.entries()) == sorted(f"{w}-{n}" for w in range(3) for n in range(4))
    assert ledger.verify() == []


def test_a_study_is_forecast_before_it_is_run(s3):
    study, store = make_study(), Store(ROOT, "rehearsal")
    run_study(study, store, forecast=True)
    ledger = Ledger(store.folder)
    (entry,) = ledger.entries()
    assert len(entry) == 24 and all(entry.blind)
    assert ledger.verify(store.records()) == []
    store.folder.remove("ledger/00000001.json")
    assert ledger.verify(store.records())


def test_a_store_that_answers_nothing_is_one_clear_error(s3):
    s3.faults = Faults(failing=1.0)
    with pytest.raises(OutsideError, match="cannot be read"):
        Ledger(Folder(f"{ROOT}/study")).append(make_entry())
