"""The list of what W&B has received: in the store, for whoever comes next, and never worth an error."""

from __future__ import annotations

import uuid

import pytest
from tracked import STUDY

from pipeline.store import Folder, Store
from pipeline.tracking import sent as module
from pipeline.tracking.sent import Sent
from pipeline.tracking.wandb_runs import WandbRuns


@pytest.fixture(params=["a disk", "an object store"])
def place(request, tmp_path) -> Folder:
    return Folder(str(tmp_path / "list") if request.param == "a disk" else f"memory://{uuid.uuid4().hex}/list")


def add(sent: Sent, run: str, points: int = 2) -> None:
    sent.add(run, points=points, status="done", row=4)


def test_a_list_is_there_for_the_next_driver(place):
    first = Sent(place, "server")
    add(first, "a")
    add(first, "b")
    first.write()
    second = Sent(place, "server")
    assert second.has("a", points=2, status="done") and second.has("b", points=2, status="done")
    assert not second.has("a", points=3, status="done") and not second.has("c", points=2, status="done")
    assert not Sent(place, "elsewhere").has("a", points=2, status="done")


def test_an_object_store_gets_a_file_now_and_then(monkeypatch):
    place = Folder(f"memory://{uuid.uuid4().hex}/list")
    sent = Sent(place, "server")
    for number in range(100):
        add(sent, str(number))
    assert place.names() == []
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.0)
    add(sent, "last")
    assert len(place.names()) == 1
    assert Sent(place, "server").has("7", points=2, status="done")


def test_files_that_have_become_many_are_made_one(monkeypatch):
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.0)
    place = Folder(f"memory://{uuid.uuid4().hex}/list")
    sent = Sent(place, "server")
    for number in range(module.MOST_FILES + 1):
        add(sent, str(number))
    merged = Sent(place, "server")
    assert len(place.names()) == 1
    for one in (merged, Sent(place, "server")):
        assert all(one.has(str(number), points=2, status="done") for number in range(module.MOST_FILES + 1))


def test_a_list_that_cannot_be_written_is_no_error(place, monkeypatch):
    sent = Sent(place, "server")

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    real = module._write
    monkeypatch.setattr(module, "_write", refused)
    add(sent, "a")
    sent.write()
    monkeypatch.setattr(module, "_write", real)
    sent.write()
    assert Sent(place, "server").has("a", points=2, status="done")


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path):
    place = Folder(str(tmp_path))
    add(Sent(place, "server"), "a")
    with open(tmp_path / "sent.jsonl", "a") as file:
        file.write('\n{"run": "cut sho')
    add(Sent(place, "server"), "b")
    assert all(Sent(place, "server").has(run, points=2, status="done") for run in "ab")


def test_what_an_earlier_version_knew_on_the_drivers_disk_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    store = Store(str(tmp_path / "runs"), STUDY.name)
    before = WandbRuns(STUDY, str(tmp_path / "here"), online=True)
    (tmp_path / "here" / "wandb").mkdir(parents=True)
    add(before.sent, "a")
    today = WandbRuns(STUDY, str(tmp_path / "here"), online=True, store=store)
    assert today.sent.has("a", points=2, status="done")
    add(today.sent, "b")
    assert store.folder.names("tracking") == ["sent.jsonl"]
    offline = WandbRuns(STUDY, str(tmp_path / "here"), online=False, store=store)
    assert not offline.sent.has("b", points=2, status="done")
