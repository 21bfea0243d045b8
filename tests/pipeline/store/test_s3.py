"""The store in an object store: a real S3 protocol, spoken by a server on loopback that can also misbehave."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cells import CELLS, bury, ended, finish, measured
from rehearsal import Told, make_study, run_study, sorted_points
from s3_server import BUCKET, Faults

from pipeline import PipelineError
from pipeline.store import Folder, Store, Writer
from pipeline.store import lease as leases
from pipeline.store.lease import Lease

ROOT = f"s3://{BUCKET}/runs"


@pytest.fixture
def remote(s3) -> Store:
    return Store(ROOT, "rehearsal")


def fresh() -> Store:
    return Store(ROOT, "rehearsal")


def test_files_are_whole_or_absent(s3):
    folder = Folder(f"s3://{BUCKET}/files")
    assert folder.names() == []
    folder.write("a/b", b"one")
    folder.write("a/b", b"two")
    assert folder.names("a") == ["b"]
    assert folder.read("a/b") == b"two"
    assert folder.create("lease", b"mine")
    assert not folder.create("lease", b"yours")
    assert folder.read("lease") == b"mine"
    assert folder.read_all(["a/b", "nothing", "lease"]) == {"a/b": b"two", "lease": b"mine"}
    assert folder.read_ends({"a/b": 3, "nothing": 3}, 2) == {"a/b": b"wo"}
    folder.remove("lease", "nothing")
    folder.remove_below("a", "nothing")
    assert folder.names() == []
    with pytest.raises(FileNotFoundError):
        folder.read("a/b")


def test_a_study_runs_stops_and_goes_on(remote, store):
    study = make_study()
    run_study(study, store)
    drivers = []

    def stop(events):
        drivers[0].stop()

    first = run_study(study, remote, listeners=[Told(stop)], watch=drivers.append, checkpoint_seconds=0.0)
    assert first.left
    assert run_study(study, remote).done == first.left
    assert sorted_points(remote).equals(sorted_points(store))
    assert remote.folder.names("journal") == []
    assert not remote.folder.names("checkpoints")


def test_one_driver_and_readers_beside_it(remote):
    with Writer.open(remote):
        with pytest.raises(PipelineError, match="another driver"):
            Writer.open(fresh()).__enter__()
        assert remote.holder()
    assert remote.holder() is None


def test_pandas_reads_it_without_us(remote):
    import pandas

    run_study(make_study(), remote)
    assert len(pandas.read_parquet(f"{ROOT}/rehearsal/points")) == 48


def test_what_is_read_once_is_not_read_again(remote, s3):
    """Two requests where nothing is new; files are asked for together."""
    with Writer.open(remote) as writer:
        for cell in CELLS[:4]:
            finish(writer, [cell])
    reader = fresh()
    reader.records()
    s3.requests.clear()
    assert len(reader.records()) == 4
    assert set(s3.requests) == {"GET"} and s3.requests["GET"] <= 3, "of an empty folder s3fs asks twice"
    cursor = reader.changes().cursor
    s3.requests.clear()
    assert not reader.changes(cursor).records
    assert set(s3.requests) == {"GET"} and s3.requests["GET"] <= 3


def test_of_many_simultaneous_starts_one_wins(remote):
    for number in range(3):

        def start(_):
            try:
                return Lease.acquire(Folder(remote.folder.url))
            except PipelineError:
                return None

        with ThreadPoolExecutor(16) as pool:
            won = [lease for lease in pool.map(start, range(16)) if lease]
        assert len(won) == 1
        won[0].release()
        if number:
            bury(remote)


def test_an_answer_that_was_lost_is_no_lost_lease(remote, s3, monkeypatch):
    """The server has made the lease, and says 503: asked again, it says that there is one. It is ours."""
    s3.faults = Faults(failing=0.5, seed=3)
    for _ in range(6):
        assert Folder(remote.folder.url).create(f"once/{_}", f"mine {_}".encode())


def test_a_store_that_fails_and_dawdles_loses_nothing(remote, s3, store, monkeypatch):
    study = make_study()
    run_study(study, store)
    s3.faults = Faults(failing=0.1, slow_seconds=0.01, late_seconds=0.3)
    run_study(study, remote)
    run_study(study, fresh())
    s3.faults = Faults()
    with Writer.open(fresh()):
        pass
    assert sorted_points(fresh()).equals(sorted_points(store))
    held = [cell for footer in fresh().look().footers.values() for cell in footer.records]
    assert sorted(held) == sorted(cell.id for cell in study.cells)


def test_two_drivers_on_a_store_that_misbehaves(remote, s3, monkeypatch):
    """One is silent and is given up; it wakes in the middle of the other's work, and both go on as far as they can."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 1e6)
    s3.faults = Faults(failing=0.05, late_seconds=0.2)
    silent, awake = threading.Event(), threading.Event()

    def paused() -> None:
        with pytest.raises(PipelineError, match="taken this study over"), Writer.open(fresh()) as writer:
            finish(writer, CELLS[:2])
            writer.begin(CELLS[2:4], device="cpu")
            writer.append([measured(CELLS[2].id, 1), ended(CELLS[2].id)])
            bury(remote)
            silent.set()
            awake.wait(60)
            writer.commit()

    thread = threading.Thread(target=paused)
    thread.start()
    assert silent.wait(60)
    with Writer.open(fresh()) as writer:
        finish(writer, CELLS[2:5])
        awake.set()
        finish(writer, CELLS[5:])
    thread.join()
    s3.faults = Faults()
    with Writer.open(fresh()):
        pass
    assert {cell for cell, record in fresh().records().items() if record.finished} == {cell.id for cell in CELLS}
    held = [cell for footer in fresh().look().footers.values() for cell in footer.records]
    assert sorted(held) == sorted(cell.id for cell in CELLS)
    assert not fresh().folder.names("journal")


def test_a_server_that_is_gone_is_one_clear_error(remote, s3, monkeypatch):
    s3.faults = Faults(failing=1.0)
    with pytest.raises(PipelineError, match="cannot be read"):
        remote.records()
    with pytest.raises(PipelineError, match="cannot be written"):
        Writer.open(remote).__enter__()
