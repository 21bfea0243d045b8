"""Checkpoints: few, sound, never in each other's way, and never given up without a word."""

from __future__ import annotations

import numpy as np
import pytest
from cells import measured
from rehearsal import make_study, run_study, sorted_points

from pipeline.run import Job, run_job
from pipeline.run import checkpoints as module
from pipeline.run.checkpoints import Checkpoints, CheckpointsUnreachable
from pipeline.store import Failed, Failure, Folder, Store, Writer
from trainers import Checkpoint

POINTS = [measured("c", step).point for step in (1, 2)]
FIRST, SECOND = "e00000001-000000", "e00000001-000001"


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(str(tmp_path))


def save(folder: Folder, step: int, series: str = FIRST) -> None:
    arrays = {"weights": np.full(3, step, np.float32)}
    Checkpoints(folder, series).save(Checkpoint(step=step, seconds=1.5, arrays=arrays), POINTS)


def loaded_step(folder: Folder, series: str = SECOND) -> int | None:
    loaded = Checkpoints(folder, series).load()
    return loaded and loaded[0].step


def test_they_are_bounded_and_a_damaged_one_falls_back(folder):
    for step in (1, 2, 3):
        save(folder, step)
    names = folder.names()
    assert len(names) == 2
    newest, points = Checkpoints(folder, SECOND).load()
    assert (newest.step, newest.seconds, points) == (3, 1.5, POINTS)
    assert (newest.arrays["weights"] == 3).all()
    for damage in (b"", folder.read(names[1])[:40]):
        folder.write(names[1], damage)
        assert loaded_step(folder) == 2
    folder.remove(names[0])
    assert loaded_step(folder) is None


def test_one_is_never_unpickled(folder):
    np.savez(folder.path("000000000001.npz"), allow_pickle=True, weights=np.array([object()], dtype=object))
    assert loaded_step(folder) is None


def test_new_ones_stay_although_damaged_ones_lie_further_on(folder, capsys):
    for name in (f"{FIRST}-000000000800.npz", f"{FIRST}-000000000900.npz"):
        folder.write(name, b"damaged")
    checkpoints = Checkpoints(folder, SECOND)
    assert checkpoints.load() is None
    assert capsys.readouterr().err.count("is damaged and is not used") == 2
    for step in (16, 32):
        checkpoints.save(Checkpoint(step=step, seconds=0.0, arrays={}), POINTS)
        assert loaded_step(folder, "e00000002-000000") == step
    assert len(folder.names()) == 2, "what is damaged goes"


def test_the_one_that_was_resumed_from_stays_until_there_are_two_newer(folder):
    save(folder, 800)
    checkpoints = Checkpoints(folder, SECOND)
    assert checkpoints.load()[0].step == 800
    for step, kept in ((810, [800, 810]), (820, [810, 820])):
        checkpoints.save(Checkpoint(step=step, seconds=0.0, arrays={}), POINTS)
        assert [int(name[-16:-4]) for name in folder.names()] == kept


def test_a_damaged_one_is_not_kept_in_place_of_a_sound_one(folder):
    save(folder, 700)
    folder.write(f"{FIRST}-000000000900.npz", b"damaged")
    checkpoints = Checkpoints(folder, SECOND)
    assert checkpoints.load()[0].step == 700
    checkpoints.save(Checkpoint(step=710, seconds=0.0, arrays={}), POINTS)
    assert [int(name[-16:-4]) for name in folder.names()] == [700, 710]


def test_a_job_that_was_given_up_removes_nothing_of_its_successors(folder):
    save(folder, 500, FIRST)
    save(folder, 100, SECOND)
    save(folder, 200, SECOND)
    for step in (600, 700, 800):
        save(folder, step, FIRST)
    assert loaded_step(folder, "e00000002-000000") == 200


def test_those_of_earlier_versions_are_resumed_from(folder):
    save(folder, 5)
    [name] = folder.names()
    folder.write("000000000007.npz", folder.read(name))
    folder.remove(name)
    assert loaded_step(folder) == 5
    save(folder, 6)
    save(folder, 8)
    assert [name[:2] for name in folder.names()] == ["e0", "e0"]


def test_a_disk_that_fails_once_costs_nothing(folder, monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    save(folder, 3)
    real, failures = Folder.read, []

    def failing(self, name):
        if not failures:
            failures.append(name)
            raise OSError(5, "Input/output error")
        return real(self, name)

    monkeypatch.setattr(Folder, "read", failing)
    assert loaded_step(folder) == 3
    assert failures


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), PermissionError(13, "Permission denied")])
def test_a_disk_that_fails_is_no_reason_to_begin_anew(folder, monkeypatch, error):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    save(folder, 3)

    def failing(self, name):
        raise error

    monkeypatch.setattr(Folder, "read", failing)
    with pytest.raises(CheckpointsUnreachable, match=error.strerror):
        loaded_step(folder)


def test_a_job_never_raises(tmp_path, monkeypatch):
    """Whatever is wrong with its checkpoints is told of its cells, and tried again elsewhere."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)

    def refused(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Folder, "sizes", refused)
    cell = make_study().cells[0]
    job = Job(
        number=1,
        trainer="oracle",
        cells=(cell.id,),
        configs=(cell.config,),
        device="cpu",
        checkpoints=str(tmp_path),
        checkpoint_seconds=1.0,
        begun=frozenset({cell.id}),
    )
    [event] = run_job(job, lambda: False)
    assert isinstance(event, Failed) and event.failure is Failure.PREEMPTED
    assert "Permission denied" in event.message


def test_a_study_whose_checkpoints_were_damaged_ends_with_the_same_points(store):
    """Its driver is gone, both checkpoints of a cell are damaged: it is run anew, saved on the way, and done."""
    study = make_study(seeds=(0,))
    whole = Store(store.folder.path() + "-whole", "rehearsal")
    run_study(study, whole)
    cell = study.cells[0]
    with Writer.open(store) as writer:
        writer.begin([cell], device="cpu")
        writer.append([])
    for step in (256, 512):
        store.folder.write(f"checkpoints/{cell.id}/{FIRST}-{step:012d}.npz", b"damaged")
    run_study(study, store, checkpoint_seconds=0.0)
    assert sorted_points(store).equals(sorted_points(whole))
    assert not store.folder.names_below("checkpoints")
