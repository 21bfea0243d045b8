"""The store: nothing lost, nothing doubled, nothing half-written, one writer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas
import pytest
from cells import CELLS, Died, bury, die_at_change, ended, fill, measured
from rehearsal import make_study, run_study, sorted_points

from pipeline import PipelineError
from pipeline.store import Ended, Failed, Failure, Folder, Store, Writer, from_json, to_json
from trainers import Ending


def test_events_survive_json():
    failed = Failed(cell="c", failure=Failure.BUG, message="m", traceback="t")
    for event in (measured("c", 3), ended("c"), failed):
        assert from_json(json.loads(json.dumps(to_json(event)))) == event


def test_finished_cells_move_to_parquet_and_the_table_stays_the_same(store):
    with Writer.open(store) as writer:
        first, second = fill(writer)
        before = sorted_points(store, without=["status"])
        writer.commit()
        assert sorted_points(store, without=["status"]).equals(before)
        assert store.records()[first].status == "done"
        assert store.records()[second].status == "started"
    alone = pandas.read_parquet(os.path.join(store.folder.path(), "points"))
    assert set(alone["cell"]) == {first}
    assert list(alone["step"]) == [1, 2]
    assert {"parameters", "dataset_size", "seed", "loss", "flops", "status"} <= set(alone)


def test_a_point_is_kept_once(store):
    with Writer.open(store) as writer:
        cell = fill(writer)[1]
        assert writer.append([measured(cell, 2), measured(cell, 3)]) == [measured(cell, 3)]
    with Writer.open(store) as writer:
        assert writer.append([measured(cell, 1)]) == []
        writer.append([ended(cell)])
    assert sorted(store.table().query("cell == @cell")["step"]) == [1, 2, 3]


def test_a_cell_without_points_is_remembered(store):
    with Writer.open(store) as writer:
        writer.begin(CELLS[:1], device="cpu")
        writer.append([Ended(cell=CELLS[0].id, step=8, ending=Ending.DIVERGED)])
    assert store.records()[CELLS[0].id].status == "diverged"
    assert not store.folder.names("journal")


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_crash_at_any_write_loses_and_doubles_nothing(store, monkeypatch, cut):
    """The process dies at its n-th change of the disk; the next driver repeats what it was told and commits."""

    with pytest.raises(Died), Writer.open(store) as writer:
        die_at_change(monkeypatch, cut)
        fill(writer)
        writer.commit()
        writer.append([measured(CELLS[1].id, 3)])
        raise Died
    monkeypatch.undo()
    bury(store)

    with Writer.open(store) as writer:
        writer.begin(CELLS[:2], device="cpu")
        for cell in CELLS[:2]:
            writer.append([*(measured(cell.id, step) for step in (1, 2, 3, 4)), ended(cell.id)])
    table = store.table()
    first = table[table["cell"] == CELLS[0].id]["step"].tolist()
    assert first in ([1, 2], [1, 2, 3, 4])
    assert sorted(table[table["cell"] == CELLS[1].id]["step"]) == [1, 2, 3, 4]
    assert not store.folder.names("journal")


def test_a_half_written_file_is_never_read(store):
    with Writer.open(store) as writer:
        fill(writer)
    before = sorted_points(store)
    for name in ("journal/00000099.jsonl.ab.partial", "points/00000099.parquet.ab.partial"):
        path = store.folder.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write('{"event": "meas')
    assert sorted_points(store).equals(before)
    with Writer.open(store):
        pass
    assert sorted_points(store).equals(before)


def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(store, monkeypatch):
    with Writer.open(store) as writer:
        cell = fill(writer)[1]
    before = sorted_points(store)

    def full(self, name, data):
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(PipelineError, match="cannot be written.*No space left.*run the study again"),
        Writer.open(store) as writer,
    ):
        monkeypatch.setattr(Folder, "write", full)
        writer.append([measured(cell, 3)])
    monkeypatch.undo()
    assert sorted_points(store).equals(before)


def test_many_points_move_in_several_files(store, monkeypatch):
    monkeypatch.setattr("pipeline.store.writer.MOST_ROWS", 10)
    run_study(make_study(), store)
    assert len(store.folder.names("points")) > 1
    assert (len(store.table()), set(store.table()["status"])) == (48, {"done"})


def test_checkpoints_that_came_late_are_removed(store):
    study = make_study()
    run_study(study, store)
    late = study.cells[0].id
    store.folder.write(f"checkpoints/{late}/000000000016.npz", b"")
    run_study(study, store)
    assert not store.has_checkpoint(late)


def test_what_a_killed_writer_left_half_written_is_removed(store):
    run_study(make_study(), store)
    for name in ("store.json", "journal/00000009.jsonl", "points/00000010.parquet"):
        path = Path(store.folder.path(f"{name}.0badf00d.partial"))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    run_study(make_study(), store)
    assert not list(Path(store.folder.path()).rglob("*.partial"))


def test_the_store_works_behind_a_url():
    study = make_study()
    store = Store("memory://studies/test", study.name)
    outcome = run_study(study, store)
    assert outcome.done == len(study.cells)
    assert len(store.table()) == 6 * len(study.cells)
    assert run_study(study, store).done == 0


def test_an_unknown_kind_of_url_is_one_clear_error():
    with pytest.raises(PipelineError, match="cannot be reached"):
        Store("nosuch://bucket", "study").records()
