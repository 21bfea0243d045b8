"""The store: nothing lost, nothing doubled, nothing half-written, one writer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
from rehearsal import make_study, run_study, sorted_points

from pipeline import PipelineError
from pipeline.run.checkpoints import load_checkpoint, save_checkpoint
from pipeline.store import Ended, Failed, Failure, Folder, Measured, Store, Writer, from_json, to_json
from pipeline.store.lease import EXPIRE_SECONDS, Lease, is_alive
from trainers import Checkpoint, Ending, Point

CELLS = make_study().cells


def measured(cell: str, step: int) -> Measured:
    point = Point(cell=0, step=step, metrics={"loss": 1 / step}, examples=step, flops=2.0 * step, seconds=0.1)
    return Measured(cell=cell, point=point)


def ended(cell: str) -> Ended:
    return Ended(cell=cell, step=4, ending=Ending.DONE)


def fill(writer: Writer, count: int = 2) -> list[str]:
    """The first cell ends, the second is under way."""
    cells = CELLS[:count]
    writer.begin(cells, device="cpu")
    events = [measured(cell.id, step) for cell in cells for step in (1, 2)]
    assert writer.append([*events, ended(cells[0].id)]) == [*events, ended(cells[0].id)]
    return [cell.id for cell in cells]


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

    class Died(BaseException):
        pass

    changes = 0
    real = {"write": Folder.write, "remove": Folder.remove}

    def dying(name):
        def change(self, *arguments):
            nonlocal changes
            changes += 1
            if changes == cut:
                raise Died
            return real[name](self, *arguments)

        return change

    with pytest.raises(Died), Writer.open(store) as writer:
        for name in real:
            monkeypatch.setattr(Folder, name, dying(name))
        fill(writer)
        writer.commit()
        writer.append([measured(CELLS[1].id, 3)])
        raise Died
    monkeypatch.undo()
    store.folder.remove("driver.json")

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


def test_a_second_driver_is_refused(store):
    with Writer.open(store), pytest.raises(PipelineError, match=f"another driver.*process {os.getpid()}"):
        Writer.open(store).__enter__()
    with Writer.open(store):
        pass


def test_a_dead_driver_holds_nothing(store):
    program = (
        "import os, sys; from pipeline.store.lease import Lease; from pipeline.store import Folder; "
        "Lease.acquire(Folder(sys.argv[1])); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, store.folder.path()], check=False)
    assert store.folder.names(ending="driver.json")
    assert store.holder() is None
    with Writer.open(store):
        assert store.holder()["process"] == os.getpid()


def test_a_driver_elsewhere_counts_as_dead_once_it_is_silent():
    holder = {"host": "elsewhere", "process": 1, "renewed": time.time()}
    assert is_alive(holder)
    assert not is_alive({**holder, "renewed": time.time() - EXPIRE_SECONDS - 1})


def test_a_driver_that_lost_its_lease_writes_no_more(store):
    with pytest.raises(PipelineError, match="taken this study over"), Writer.open(store) as writer:
        writer._lease.lost = True
        fill(writer)


def test_a_released_lease_of_another_stays(store):
    lease = Lease.acquire(store.folder)
    store.folder.write("driver.json", json.dumps({"token": "another"}).encode())
    lease.release()
    assert store.folder.names(ending="driver.json") == ["driver.json"]


def test_a_lease_outlives_a_renewal_that_fails(store, monkeypatch):
    monkeypatch.setattr("pipeline.store.lease.RENEW_SECONDS", 0.05)
    lease = Lease.acquire(store.folder)
    write, failures = Folder.write, []

    def full(self, name, data):
        if len(failures) < 3:
            failures.append(name)
            raise OSError(28, "No space left on device")
        write(self, name, data)

    before = store.holder()["renewed"]
    monkeypatch.setattr(Folder, "write", full)
    deadline = time.monotonic() + 20
    while store.holder()["renewed"] == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(failures) == 3 and not lease.lost
    assert store.holder()["renewed"] > before
    lease.release()
    assert store.holder() is None


def test_many_points_move_in_several_files(store, monkeypatch):
    monkeypatch.setattr("pipeline.store.store.MOST_ROWS", 10)
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
    for name in ("driver.json", "journal/00000009.jsonl", "points/00000010.parquet"):
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


def test_checkpoints_are_bounded_and_a_damaged_one_falls_back(tmp_path):
    folder = Folder(str(tmp_path))
    points = [measured("c", step).point for step in (1, 2)]
    for step in (1, 2, 3):
        arrays = {"weights": np.full(3, step, np.float32)}
        save_checkpoint(folder, Checkpoint(step=step, seconds=1.5, arrays=arrays), points)
    names = folder.names(ending=".npz")
    assert len(names) == 2
    newest, kept = load_checkpoint(folder)
    assert (newest.step, newest.seconds, kept) == (3, 1.5, points)
    assert (newest.arrays["weights"] == 3).all()
    for damage in (b"", folder.read(names[1])[:40]):
        (tmp_path / names[1]).write_bytes(damage)
        assert load_checkpoint(folder)[0].step == 2
    (tmp_path / names[0]).unlink()
    assert load_checkpoint(folder) is None


def test_a_checkpoint_is_never_unpickled(tmp_path):
    np.savez(tmp_path / "000000000001.npz", allow_pickle=True, weights=np.array([object()], dtype=object))
    assert load_checkpoint(Folder(str(tmp_path))) is None
