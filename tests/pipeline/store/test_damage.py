"""What a store cannot be blamed for: damaged and foreign files, folders that one may not write, and odd places.

Each is one clear error that names the file, or nothing at all; never a traceback, and never a result that is not one.
"""

from __future__ import annotations

import os
import stat

import pytest
from cells import CELLS, fill, finish

from pipeline import PipelineError
from pipeline.store import Folder, Store, Writer


@pytest.fixture
def filled(store) -> Store:
    """A finished cell and one under way."""
    with Writer.open(store) as writer:
        fill(writer)
    return Store(store.folder.url.rpartition("/")[0], "rehearsal")


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("points/e00000001-00000099-x.parquet", b"", "points/e00000001-00000099-x.parquet was not written by unsl"),
        ("points/mine.parquet", b"PAR1 and nothing else", "points/mine.parquet was not written by unsl"),
        ("journal/e00000001-00000099-x.jsonl", b'{"event": "mea', "journal/e00000001-00000099-x.jsonl is damaged"),
        ("journal/notes.jsonl", b'{"to": "do"}\n', "journal/notes.jsonl is damaged"),
        ("store.json", b"", "store.json is damaged"),
        ("store.json", b'{"format": "two"}', "store.json is damaged"),
    ],
)
def test_a_damaged_or_foreign_file_is_named(filled, name, data, message):
    filled.folder.write(name, data)
    for use in (filled.records, filled.table, filled.changes, lambda: Writer.open(filled).__enter__()):
        with pytest.raises(PipelineError, match=message):
            use()


def test_a_damaged_question_is_named(filled):
    filled.folder.write("questions/0001-x.json", b"{")
    with pytest.raises(PipelineError, match="questions/0001-x.json is damaged"):
        filled.questions()


def test_files_that_are_none_of_ours_are_left_alone(filled):
    strange = ["points/README", "points/.hidden", "journal/old.txt", "lease/note.json", "notes/idea", "checkpoints/x/y"]
    before = filled.records()
    for name in strange:
        filled.folder.write(name, b"mine")
    with Writer.open(filled) as writer:
        finish(writer, CELLS[2:3])
    assert {*before, CELLS[2].id} == filled.records().keys()
    assert all(filled.folder.read(name) == b"mine" for name in strange)


def test_nothing_is_made_where_nothing_is_written(store):
    """Readers of a study that was never run."""
    assert store.records() == {} and store.table().empty and store.holder() is None and store.questions() == []
    assert not store.changes().records
    assert not os.path.exists(store.folder.path())


def test_an_empty_folder_is_an_empty_store(store):
    for name in ("points", "journal", "lease", "checkpoints", "questions"):
        os.makedirs(store.folder.path(name))
    assert store.records() == {} and store.table().empty and store.questions() == []
    with Writer.open(store) as writer:
        fill(writer)
    assert len(store.table()) == 4


@pytest.mark.parametrize("method", ["create", "write"])
def test_a_folder_that_one_may_only_read_is_one_clear_error(filled, monkeypatch, method):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    before = sorted(filled.folder.names_below(""))
    monkeypatch.setattr(Folder, method, refused)
    with pytest.raises(PipelineError, match="cannot be written.*Permission denied"), Writer.open(filled) as writer:
        fill(writer)
    assert len(filled.table()) == 4 and filled.records()
    left = [name for name in filled.folder.names_below("") if not name.startswith("lease/")]
    assert left == [name for name in before if not name.startswith("lease/")]


def test_a_file_in_place_of_the_folder_is_one_clear_error(tmp_path):
    (tmp_path / "runs").write_text("a file")
    store = Store(str(tmp_path / "runs"), "rehearsal")
    with pytest.raises(PipelineError, match="cannot be (read|written)"):
        Writer.open(store).__enter__()
    with pytest.raises(PipelineError, match="cannot be read"):
        store.records()


@pytest.mark.parametrize("name", ["with space", "100%", "ünï", "a#b", "a[1]", "a*b", "a?b"])
def test_a_store_may_be_anywhere(tmp_path, name):
    store = Store(str(tmp_path / name), "rehearsal")
    with Writer.open(store) as writer:
        fill(writer)
        store.folder.write(f"checkpoints/{CELLS[0].id}/1.npz", b"")
        store.folder.write(f"checkpoints/{CELLS[1].id}/1.npz", b"")
    assert len(store.table()) == 4
    assert store.has_checkpoint(CELLS[1].id) and not store.has_checkpoint(CELLS[0].id)
    assert store.holder() is None


@pytest.mark.parametrize("name", ["100%", "a#b", "a[1]", "a*b"])
def test_nor_does_it_matter_in_an_object_store(name):
    store = Store(f"memory://{name}", "rehearsal")
    with Writer.open(store) as writer:
        fill(writer)
    assert len(Store(f"memory://{name}", "rehearsal").table()) == 4


@pytest.mark.parametrize("method", ["write", "create"])
def test_a_file_is_whole_on_the_disk_before_it_has_its_name_and_then_its_name_is(tmp_path, monkeypatch, method):
    """A machine that loses its power between any two of these shows the old content or the new."""
    happened = []

    def noted(name, told):
        real = getattr(os, name)

        def call(first, *rest):
            happened.append(told(first))
            return real(first, *rest)

        monkeypatch.setattr(os, name, call)

    noted("fsync", lambda handle: "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else os.fstat(handle).st_size)
    noted("replace", lambda _: "named")
    noted("link", lambda _: "named")
    getattr(Folder(str(tmp_path)), method)("a", b"four")
    assert happened == [4, "named", "folder"]
