"""The store in an object store: a real S3 protocol, spoken by a server on loopback."""

from __future__ import annotations

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from rehearsal import Told, make_study, run_study, sorted_points

from pipeline import PipelineError
from pipeline.store import Folder, Store, Writer

BUCKET = "studies"


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def remote(endpoint, monkeypatch) -> Store:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.config.conf.clear()
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    if filesystem.exists(BUCKET):
        filesystem.rm(BUCKET, recursive=True)
    filesystem.mkdir(BUCKET)
    return Store(f"s3://{BUCKET}/runs", "rehearsal")


def test_files_are_whole_or_absent(remote):
    folder = Folder(f"s3://{BUCKET}/files")
    assert folder.names() == []
    folder.write("a/b", b"one")
    folder.write("a/b", b"two")
    assert folder.names("a") == ["b"]
    assert folder.read("a/b") == b"two"
    assert folder.create("lease", b"mine")
    assert not folder.create("lease", b"yours")
    assert folder.read("lease") == b"mine"
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
            Writer.open(remote).__enter__()
        assert remote.holder()
    assert remote.holder() is None


def test_pandas_reads_it_without_us(remote):
    import pandas

    run_study(make_study(), remote)
    assert len(pandas.read_parquet(f"s3://{BUCKET}/runs/rehearsal/points")) == 48
