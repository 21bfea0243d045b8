"""A store from before drivers had numbers is read as it is, and becomes today's without losing anything."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pandas
import pytest
from cells import CELLS, Died, bury, die_at_change, ended, measured

from pipeline import PipelineError
from pipeline.store import Store, Writer

DONE, ALSO_DONE, DIVERGED, STARTED, FAILED = CELLS[:5]


@pytest.fixture
def old(tmp_path) -> Store:
    """Two files of finished cells with different columns, a cell without points, one under way and one that failed."""
    shutil.copytree(Path(__file__).parent / "format_1" / "rehearsal", tmp_path / "runs" / "rehearsal")
    return Store(str(tmp_path / "runs"), "rehearsal")


def points_of(store: Store):
    table = store.table().sort_values(["cell", "step", "inference_steps"], ignore_index=True)
    return table[sorted(table)]


def test_format_1_is_read_as_it_is(old):
    before = sorted(old.folder.names_below(""))
    records = old.records()
    assert {cell.id: records[cell.id].status for cell in CELLS[:5]} == {
        DONE.id: "done",
        ALSO_DONE.id: "done",
        DIVERGED.id: "diverged",
        STARTED.id: "started",
        FAILED.id: "failed",
    }
    assert (records[ALSO_DONE.id].bytes, records[ALSO_DONE.id].gpu) == (100, "H100")
    assert records[STARTED.id].resumed_step == 2
    assert records[FAILED.id].traceback == "Traceback"
    table = points_of(old)
    assert len(table) == 3 + 3 + 3 + 1
    assert table["loss_ema"].notna().sum() == 3
    assert sorted(table.query("cell == @STARTED.id")["step"]) == [1, 2, 4]
    assert sorted(old.folder.names_below("")) == before, "a reader changes nothing"


def test_the_first_driver_brings_it_up_to_date_and_nothing_changes(old):
    table, records = points_of(old), old.records()
    with Writer.open(old):
        pass
    fresh = Store(old.folder.url.rpartition("/")[0], "rehearsal")
    assert json.loads(fresh.folder.read("store.json")) == {"format": 2}
    assert points_of(fresh).equals(table)
    assert fresh.records() == records
    assert fresh.has_checkpoint(STARTED.id)
    finished = table[table["status"].isin(["done", "diverged"])]
    assert len(pandas.read_parquet(fresh.folder.path("points"))) == len(finished) == 6


def test_an_unfinished_cell_of_format_1_goes_on(old):
    with Writer.open(old) as writer:
        assert writer.has_begun(STARTED.id)
        writer.begin([STARTED, FAILED], device="cpu")
        for cell in (STARTED, FAILED):
            writer.append([measured(cell.id, 4), measured(cell.id, 8), ended(cell.id, 8)])
    assert not old.folder.names("journal")
    assert sorted(old.table().query("cell == @STARTED.id")["step"]) == [1, 2, 4, 8]
    assert sorted(old.table().query("cell == @FAILED.id")["step"]) == [1, 4, 8]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_crash_at_any_change_of_the_migration_loses_nothing(old, monkeypatch, cut):
    table, records = points_of(old), old.records()

    die_at_change(monkeypatch, cut)
    try:
        with Writer.open(old):
            pass
    except Died:
        pass
    monkeypatch.undo()
    fresh = Store(old.folder.url.rpartition("/")[0], "rehearsal")
    assert points_of(fresh).equals(table)
    bury(fresh)
    with Writer.open(fresh):
        pass
    assert points_of(fresh).equals(table)
    assert fresh.records() == records
    assert len(pandas.read_parquet(fresh.folder.path("points"))) == 6


def test_a_driver_of_the_earlier_version_is_not_run_over(old):
    holder = {"token": "t", "host": "elsewhere", "process": 1, "renewed": time.time()}
    old.folder.write("driver.json", json.dumps(holder).encode())
    with pytest.raises(PipelineError, match="earlier version of unsl.*process 1 on elsewhere"):
        Writer.open(old).__enter__()
    assert old.folder.names("points") == ["00000002.parquet", "00000005.parquet"]
    old.folder.write("driver.json", json.dumps({**holder, "renewed": time.time() - 100}).encode())
    with Writer.open(old):
        pass
    assert not os.path.exists(old.folder.path("driver.json"))


def test_a_driver_of_the_earlier_version_on_this_machine_is_asked_for_and_not_disturbed(old):
    driver = subprocess.Popen(["sleep", "60"])
    holder = {"token": "t", "host": socket.gethostname(), "process": driver.pid, "renewed": time.time()}
    old.folder.write("driver.json", json.dumps(holder).encode())
    with pytest.raises(PipelineError, match=f"earlier version of unsl.*process {driver.pid} on"):
        Writer.open(old).__enter__()
    with pytest.raises(subprocess.TimeoutExpired):
        driver.wait(0.3)
    driver.kill()
    driver.wait()
    with Writer.open(old):
        pass


def test_a_later_format_is_one_clear_error(store):
    store.folder.write("store.json", b'{"format": 3}')
    for use in (store.records, store.table, lambda: Writer.open(store).__enter__()):
        with pytest.raises(PipelineError, match="has format 3.*install a later one"):
            use()
