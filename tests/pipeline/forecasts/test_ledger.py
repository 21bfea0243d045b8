"""The ledger: what is written stays as it was written, or it is found out."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace

import pytest
from ledgers import keep_no_fit, make_entry
from rehearsal import make_study, run_study

from pipeline.errors import PipelineError
from pipeline.forecasts import Entry, Ledger, forecast_held_out
from pipeline.forecasts import ledger as ledger_module
from pipeline.store import Folder


@pytest.fixture
def folder(tmp_path) -> Folder:
    made = Folder(str(tmp_path / "study"))
    keep_no_fit(made)
    return made


def written(folder: Folder, count: int = 4) -> Ledger:
    for number in range(count):
        Ledger(folder).append(make_entry(fingerprint=f"rows {number}"))
    return Ledger(folder)


def path(folder: Folder, number: int) -> str:
    return folder.path(f"ledger/{number:08d}.json")


def faults(folder: Folder) -> str:
    return "; ".join(map(str, Ledger(folder).verify()))


def rewrite(folder: Folder, number: int, **changes) -> None:
    """As someone does who knows the format, its own hash included."""
    with open(path(folder, number), "rb") as file:
        entry, _ = Entry.from_bytes(file.read())
    with open(path(folder, number), "wb") as file:
        file.write(replace(entry, **changes).to_bytes())


def test_entries_come_back_as_they_were_written_in_a_chain(folder):
    made = [Ledger(folder).append(make_entry(fingerprint=f"rows {n}")) for n in range(3)]
    assert Ledger(folder).entries() == made
    assert [one.number for one in made] == [1, 2, 3]
    assert [one.previous for one in made] == ["", made[0].hash, made[1].hash]
    assert faults(folder) == ""


def test_an_entry_is_not_written_twice(folder):
    first = Ledger(folder).append(make_entry(targets={"size": [8.0, 16.0]}, laws=()))
    for sizes in ([16.0], [8.0, 16.0]):
        assert Ledger(folder).append(make_entry(targets={"size": sizes}, laws=())) == first
    assert len(Ledger(folder).entries()) == 1
    Ledger(folder).append(make_entry(targets={"size": [32.0]}, laws=()))
    Ledger(folder).append(make_entry(targets={"size": [16.0]}, laws=(), fingerprint="other rows"))
    Ledger(folder).append(make_entry(targets={"size": [16.0]}, laws=(), failed={"cf": "a law more"}))
    assert len(Ledger(folder).entries()) == 4


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_changed_entry_is_found(folder, number):
    written(folder)
    with open(path(folder, number)) as file:
        text = file.read()
    with open(path(folder, number), "w") as file:
        file.write(text.replace('"median":[2.0]', '"median":[1.9]'))
    assert f"{number:08d}.json: was changed after it was written" in faults(folder)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_entry_that_was_replaced_with_a_hash_of_its_own_is_found(folder, number):
    written(folder)
    rewrite(folder, number, rows=11)
    assert "replaced" in faults(folder)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_missing_entry_is_found_and_named(folder, number):
    written(folder)
    os.remove(path(folder, number))
    assert f"{number:08d}.json" in faults(folder)
    assert "removed" in faults(folder)


def test_a_gap_is_not_closed_by_renaming(folder):
    written(folder)
    os.remove(path(folder, 2))
    os.rename(path(folder, 3), path(folder, 2))
    os.rename(path(folder, 4), path(folder, 3))
    assert "holds entry 3: entries were reordered" in faults(folder)


def test_reordered_entries_are_found(folder):
    written(folder)
    os.rename(path(folder, 2), path(folder, 9))
    os.rename(path(folder, 3), path(folder, 2))
    os.rename(path(folder, 9), path(folder, 3))
    assert "reordered" in faults(folder)


def test_a_back_dated_entry_is_found(folder):
    written(folder)
    before = Ledger(folder).entries()[-1]
    late = make_entry(fingerprint="late").chained(number=5, previous=before.hash)
    folder.write("ledger/00000005.json", replace(late, time="2026-01-01T00:00:00.000000Z").to_bytes())
    assert "00000005.json: is dated 2026-01-01T00:00:00.000000Z, before its predecessor" in faults(folder)


def test_a_date_to_come_is_found(folder):
    folder.write("ledger/00000001.json", make_entry(number=1, time="2999-01-01T00:00:00.000000Z").to_bytes())
    assert "yet to come" in faults(folder)


def test_a_clock_that_runs_behind_does_not_break_the_chain(folder, monkeypatch):
    """Two machines write; one's clock is behind. Its entry is dated like the one before it."""
    first = Ledger(folder).append(make_entry())
    monkeypatch.setattr(ledger_module, "now", lambda: "2026-01-01T00:00:00.000000Z")
    assert Ledger(folder).append(make_entry(fingerprint="later")).time == first.time


def test_a_file_that_is_no_entry_is_named(folder):
    written(folder, 1)
    folder.write("ledger/notes.json", b"{}")
    assert "notes.json: is no entry" in faults(folder)
    os.remove(folder.path("ledger/notes.json"))
    folder.write("ledger/00000002.json", b'{"half": ')
    assert "00000002.json: is no entry of a ledger" in faults(folder)


def test_a_broken_ledger_is_neither_read_nor_added_to(folder):
    written(folder)
    os.remove(path(folder, 2))
    for use in (lambda: Ledger(folder).entries(), lambda: Ledger(folder).append(make_entry(fingerprint="new"))):
        with pytest.raises(PipelineError, match="does not hold: 00000002.json: missing"):
            use()


def _write_many(url: str, writer: int, count: int) -> None:
    for number in range(count):
        Ledger(Folder(url)).append(make_entry(fingerprint=f"{writer}-{number}"))


def test_writers_at_once_share_one_chain(folder):
    """The number is created exclusively: no fork, no entry lost, none twice."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(folder.url, writer, 8)) for writer in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join(120)
    assert [one.exitcode for one in writers] == [0] * 3
    entries = Ledger(folder).entries()
    assert {one.fingerprint for one in entries} == {f"{w}-{n}" for w in range(3) for n in range(8)}
    assert len(entries) == 24
    assert faults(folder) == ""


def test_a_list_that_is_late_hides_no_entry(folder, monkeypatch):
    written(folder)
    names = Folder.names

    def shown(*asked, **how):
        return [one for one in names(*asked, **how) if one != "00000002.json"]

    monkeypatch.setattr(Folder, "names", shown)
    assert [one.number for one in Ledger(folder).entries()] == [1, 2, 3, 4]
    assert faults(folder) == ""


def test_a_file_of_a_huge_number_is_named_at_once(folder):
    written(folder)
    folder.write("ledger/99999999.json", b"")
    assert "00000005.json to 99999998.json: missing" in faults(folder)


def test_the_fits_are_kept_and_a_changed_or_missing_one_is_found(store):
    study = make_study()
    run_study(study, store)
    (entry,) = forecast_held_out(study, store)
    (law,) = entry.laws
    columns = {name: entry.targets[name] for name in study.inputs}
    again = Ledger(store.folder).fit(law.fit).forecast(columns)
    assert again.median.tolist() == law.median, "the kept fit gives the same numbers, to the bit"
    file = store.folder.path(f"fits/{law.fit}.json")
    with open(file) as kept:
        value = json.load(kept)
    with open(file, "w") as kept:
        json.dump({**value, "rows": 1}, kept)
    assert f"fits/{law.fit}.json, was changed" in faults(store.folder)
    os.remove(file)
    assert f"fits/{law.fit}.json, is missing" in faults(store.folder)


def test_an_entry_that_claims_to_be_blind_to_what_had_ended_is_found(store, monkeypatch):
    study = make_study()
    run_study(study, store)
    (entry,) = forecast_held_out(study, store)
    assert not any(entry.blind)
    os.remove(store.folder.path("ledger/00000001.json"))
    os.remove(store.folder.path("ledger/head.json"))
    monkeypatch.setattr(ledger_module, "CLOCK_SECONDS", 0.0)
    lie = replace(entry, blind=[True] * len(entry), number=0, previous="")
    Ledger(store.folder).append(lie)
    (fault,) = Ledger(store.folder).verify(store.records())
    assert "claims to be blind to 4 cells that had ended before it" in str(fault)
