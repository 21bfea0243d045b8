"""One driver a study: who wins, who waits, who is given up, and that nobody compares clocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from cells import CELLS, Died, bury, ended, fill, finish, measured

from pipeline import PipelineError
from pipeline.store import Folder, Store, Writer
from pipeline.store import lease as leases
from pipeline.store.lease import Holder, Lease, read_holder


@pytest.fixture
def quick(monkeypatch):
    """Leases that are renewed and expire within a moment."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(leases, "EXPIRE_SECONDS", 0.4)


def elsewhere(folder: Folder, epoch: int = 1, **changes) -> Holder:
    """A driver on another machine, whose clocks are all its own."""
    holder = replace(Holder.me(epoch), machine="elsewhere", host="elsewhere", process=1, clock=1e12, **changes)
    folder.write(f"lease/{epoch:08d}.json", holder.to_json())
    return holder


def renewing(folder: Folder, stop: threading.Event, holder: Holder) -> threading.Thread:
    def renew():
        count = 0
        while not stop.wait(0.05):
            count += 1
            folder.write(f"lease/{holder.epoch:08d}.json", replace(holder, renewals=count).to_json())

    thread = threading.Thread(target=renew)
    thread.start()
    return thread


def test_a_second_driver_is_refused(store):
    with Writer.open(store), pytest.raises(PipelineError, match=f"another driver.*process {os.getpid()}"):
        Writer.open(store).__enter__()
    with Writer.open(store):
        pass


def test_of_many_simultaneous_starts_one_wins(store):
    """Twenty rounds of fifty: the study is free, or its driver has just died."""
    for number in range(20):
        barrier, won, refused = threading.Barrier(50), [], []

        def start(barrier=barrier, won=won, refused=refused):
            barrier.wait()
            try:
                won.append(Lease.acquire(Folder(store.folder.url)))
            except PipelineError:
                refused.append(1)

        threads = [threading.Thread(target=start) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(refused)) == (1, 49)
        won[0].release()
        if number % 2:
            bury(store)
        assert store.holder() is None


def test_a_lease_is_whole_as_soon_as_it_is_there(store, monkeypatch):
    """Its maker dies over it: nobody has ever seen half of it, and the next driver is not held up."""

    def die(*_):
        raise Died

    monkeypatch.setattr(os, "link", die)
    with pytest.raises(Died):
        Lease.acquire(store.folder)
    monkeypatch.undo()
    assert read_holder(store.folder) is None
    Lease.acquire(store.folder).release()


def test_a_disk_without_links_will_do(store, monkeypatch):
    def unknown(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unknown)
    assert store.folder.create("a", b"one")
    assert not store.folder.create("a", b"two")
    assert store.folder.read("a") == b"one"
    assert store.folder.names() == ["a"]


def test_a_dead_driver_holds_nothing(store):
    program = (
        "import os, sys; from pipeline.store.lease import Lease; from pipeline.store import Folder; "
        "Lease.acquire(Folder(sys.argv[1])); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", program, store.folder.path()], check=False)
    assert not read_holder(store.folder).released
    assert store.holder() is None
    began = time.monotonic()
    with Writer.open(store):
        assert store.holder().process == os.getpid()
        assert store.holder().epoch == 2
    assert time.monotonic() - began < leases.EXPIRE_SECONDS / 4


def test_a_process_that_has_a_dead_drivers_number_is_not_that_driver(store):
    Lease.acquire(store.folder).release()
    bury(store)
    assert read_holder(store.folder).process == os.getpid()
    assert read_holder(store.folder).is_gone


def test_a_driver_that_was_killed_is_gone_before_anybody_has_waited_for_it():
    driver = subprocess.Popen(["sleep", "60"])
    holder = replace(Holder.me(1), process=driver.pid, process_started=leases._started(driver.pid))
    assert not holder.is_gone
    driver.kill()
    os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)
    assert holder.is_gone
    driver.wait()


def test_a_paused_driver_on_this_machine_is_given_up(store, quick):
    holder = replace(Holder.me(1), clock=time.monotonic() - 1)
    store.folder.write("lease/00000001.json", holder.to_json())
    with Writer.open(store):
        assert store.holder().epoch == 2


@pytest.mark.parametrize("wrong", [0.0, 1e12], ids=["long ago", "in the far future"])
def test_a_silent_driver_elsewhere_is_given_up_whatever_its_clock_says(store, quick, wrong):
    elsewhere(store.folder, started=wrong)
    said = []
    began = time.monotonic()
    with Writer.open(store, on_wait=said.append):
        assert store.holder().epoch == 2
    assert time.monotonic() - began >= leases.EXPIRE_SECONDS
    assert said == ["waiting for process 1 on elsewhere, which is silent, to be given up"]


@pytest.mark.parametrize("wrong", [0.0, 1e12], ids=["long ago", "in the far future"])
def test_a_living_driver_elsewhere_is_not_whatever_its_clock_says(store, quick, wrong):
    stop = threading.Event()
    thread = renewing(store.folder, stop, elsewhere(store.folder, started=wrong))
    try:
        with pytest.raises(PipelineError, match="process 1 on elsewhere"):
            Writer.open(store).__enter__()
    finally:
        stop.set()
        thread.join()


def test_a_start_may_wait_for_a_driver_to_end(store, quick):
    lease = Lease.acquire(store.folder)
    said = []

    def wait(message):
        said.append(message)
        threading.Timer(0.2, lease.release).start()

    with Writer.open(store, wait_seconds=30, on_wait=wait) as writer:
        assert writer.names.epoch == 2
    assert said == [f"waiting for process {os.getpid()} on {read_holder(store.folder).host}"]


def test_waiting_has_an_end(store, quick):
    with Writer.open(store):
        began = time.monotonic()
        with pytest.raises(PipelineError, match="another driver"):
            Writer.open(store, wait_seconds=0.3).__enter__()
        assert time.monotonic() - began >= 0.3


def test_an_unreadable_lease_is_somebodys(store, quick):
    store.folder.write("lease/00000004.json", b'{"epoch": ')
    began = time.monotonic()
    with Writer.open(store):
        assert store.holder().epoch == 5
    assert time.monotonic() - began >= leases.EXPIRE_SECONDS


def test_one_who_read_an_old_list_does_not_win(store, monkeypatch):
    """The number that he believes to be free is taken, or he learns that another has gone further."""
    for _ in range(3):
        Lease.acquire(store.folder).release()
    real = Folder.names

    def old(self, under="", *, ending=""):
        return real(self, under, ending=ending)[:1] if under == "lease" else real(self, under, ending=ending)

    monkeypatch.setattr(Folder, "names", old)
    lease = Lease.acquire(store.folder)
    assert lease.epoch == 4
    with pytest.raises(PipelineError, match="another driver"):
        Lease.acquire(store.folder)
    lease.release()


def test_leases_stay_few(store):
    for _ in range(leases.KEPT + 5):
        Lease.acquire(store.folder).release()
    names = store.folder.names("lease")
    assert len(names) == leases.KEPT
    assert names[-1] == f"{leases.KEPT + 5:08d}.json"


def test_a_lease_outlives_a_renewal_that_fails(store, monkeypatch, quick):
    lease = Lease.acquire(store.folder)
    write, failures = Folder.write, []

    def full(self, name, data):
        if len(failures) < 3:
            failures.append(name)
            raise OSError(28, "No space left on device")
        write(self, name, data)

    before = store.holder().renewals
    monkeypatch.setattr(Folder, "write", full)
    deadline = time.monotonic() + 20
    while read_holder(store.folder).renewals == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(failures) == 3 and not lease.is_lost()
    assert read_holder(store.folder).renewals > before
    lease.release()
    assert store.holder() is None


def test_a_released_lease_says_nothing_of_the_next(store):
    first = Lease.acquire(store.folder)
    bury(store)
    second = Lease.acquire(store.folder)
    first.release()
    assert not second.is_lost()
    assert store.holder().epoch == 2
    second.release()


def take_over(store: Store) -> Store:
    """As another driver would, once it has given the first one up; its store, seen with fresh eyes."""
    bury(store)
    return Store(store.folder.url.rpartition("/")[0], "rehearsal")


def test_a_driver_that_lost_its_lease_writes_and_removes_nothing(store):
    with pytest.raises(PipelineError, match="taken this study over"), Writer.open(store) as paused:
        fill(paused, 2)
        with Writer.open(take_over(store)) as next_one:
            finish(next_one, CELLS[2:4])
            files = sorted(store.folder.names_below(""))
            for change in (
                lambda: paused.commit(),
                lambda: paused.append([measured(CELLS[1].id, 3)]),
            ):
                with pytest.raises(PipelineError, match="taken this study over"):
                    change()
            assert sorted(store.folder.names_below("")) == files


@pytest.mark.parametrize("late", ["write", "remove", "remove_below"])
def test_a_driver_that_is_paused_over_a_change_undoes_no_other(store, monkeypatch, late):
    """It has asked for its lease, is paused, and wakes when another driver has long gone on: in the middle of a write,
    or of a removal. What both have finished is there, each cell once."""
    real, done = getattr(Folder, late), []

    def paused(self, *arguments):
        if not done and "lease" not in str(arguments[0]):
            done.append(arguments)
            monkeypatch.setattr(Folder, late, real)
            with Writer.open(take_over(store)) as next_one:
                finish(next_one, CELLS[:4], steps=(1, 2, 4))
                finish(next_one, CELLS[6:7])
        return real(self, *arguments)

    with pytest.raises(PipelineError, match="taken this study over"), Writer.open(store) as writer:
        fill(writer, 2)
        finish(writer, CELLS[4:6])
        store.folder.write(f"checkpoints/{CELLS[5].id}/000000000001.npz", b"")
        writer.begin(CELLS[7:], device="cpu")
        writer.append([measured(CELLS[7].id, 1), ended(CELLS[7].id)])
        monkeypatch.setattr(Folder, late, paused)
        writer.commit()
        writer.append([measured(CELLS[1].id, 3)])
    assert done
    fresh = take_over(store)
    with Writer.open(fresh):
        pass
    assert {cell for cell, record in fresh.records().items() if record.finished} == {cell.id for cell in CELLS}
    assert not fresh.table().duplicated(["cell", "step", "inference_steps"]).any()
    whole = sum(len(footer.records) for footer in fresh.look().footers.values())
    assert whole == len(CELLS), "no cell is in two files"
    assert not fresh.folder.names("journal")


def test_the_holder_is_plain_json(store):
    with Writer.open(store):
        assert json.loads(store.folder.read("lease/00000001.json"))["process"] == os.getpid()
