"""A store of months: files stay few beside a running driver, and readers lose sight of nothing meanwhile."""

from __future__ import annotations

import threading

import pytest
from cells import CELLS, Died, bury, die_at_change, ended, failed, finish, measured
from rehearsal import make_study

from pipeline.store import Store, Writer
from pipeline.store.naming import FAN, Names, to_merge

MANY = make_study(seeds=tuple(range(30))).cells


def fresh(store: Store) -> Store:
    return Store(store.folder.url.rpartition("/")[0], "rehearsal")


def test_the_newest_files_are_merged_once_they_are_many():
    small = dict.fromkeys("bcdefgh", 1)
    assert to_merge(small, largest=1000) == []
    assert to_merge(small | {"i": 1}, largest=1000) == list("bcdefghi")
    assert to_merge({"a": 90} | small, largest=1000) == [], "nothing large is written again for a little"
    assert to_merge({"a": 90} | small | {"i": 1}, largest=1000) == list("bcdefghi")
    assert to_merge(dict.fromkeys("abcdefgh", 1001), largest=1000) == []


def test_a_name_says_whose_file_it_is_and_which_of_theirs():
    names = Names(epoch=3, token="5f3a9c1e")
    assert [names.next(".jsonl") for _ in range(2)] == [
        "e00000003-00000001-5f3a9c1e.jsonl",
        "e00000003-00000002-5f3a9c1e.jsonl",
    ]


@pytest.mark.parametrize("size", [lambda number: 10, lambda number: 1 + number % 7, lambda number: 1 + number])
def test_however_many_files_are_written_few_remain(size):
    sizes: dict[str, int] = {}
    written = 0
    for number in range(5_000):
        sizes[f"{number:06d}"] = size(number)
        while names := to_merge(sizes, largest=10**9):
            written += sum(sizes[name] for name in names)
            sizes[f"{number:06d}+"] = sum(sizes.pop(name) for name in names)
        assert len(sizes) < 3 * FAN
    assert sum(sizes.values()) == sum(map(size, range(5_000)))
    assert written < 8 * sum(sizes.values())


def test_a_long_run_leaves_few_files_and_every_point(store):
    with Writer.open(store) as writer:
        for cell in MANY[:100]:
            finish(writer, [cell])
        assert len(store.folder.names("points")) < FAN
    assert sorted(store.table()["cell"].unique()) == sorted(cell.id for cell in MANY[:100])
    assert len(store.table()) == 200
    assert store.records() == fresh(store).records()


def test_failed_cells_leave_few_files(store):
    """They stay in the journal for as long as nobody runs them again."""
    with Writer.open(store) as writer:
        for cell in MANY[:80]:
            writer.begin([cell], device="cpu")
            for step in range(1, 5):
                writer.append([measured(cell.id, step)])
            writer.append([failed(cell.id)])
            writer.commit()
    assert len(store.folder.names("journal")) < 2 * FAN
    records = fresh(store).records()
    assert {record.status for record in records.values()} == {"failed"}
    assert {record.points for record in records.values()} == {4}
    assert len(fresh(store).table()) == 320
    with Writer.open(store) as writer:
        writer.begin(MANY[:80], device="cpu")
        writer.append([ended(cell.id) for cell in MANY[:80]])
    assert not store.folder.names("journal")
    assert len(fresh(store).table()) == 320


def test_a_reader_beside_a_merging_driver_sees_every_finished_cell_once(store):
    done: list[str] = []
    wrong: list[str] = []
    over = threading.Event()

    def look() -> None:
        reader = fresh(store)
        while not over.is_set():
            for one in (reader, fresh(store)):
                before = set(done)
                table = one.table()
                if len(table) and table.duplicated(["cell", "step", "inference_steps"]).any():
                    wrong.append("a point twice")
                if before - set(table["cell"] if len(table) else ()):
                    wrong.append("a finished cell is out of sight")
                if before - {cell for cell, record in one.records().items() if record.finished}:
                    wrong.append("a finished cell is not in the records")

    threads = [threading.Thread(target=look) for _ in range(2)]
    with Writer.open(store) as writer:
        for thread in threads:
            thread.start()
        for cell in MANY[:60]:
            finish(writer, [cell])
            done.append(cell.id)
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.parametrize("cut", range(1, 7))
def test_a_crash_at_any_change_of_a_merge_loses_and_doubles_nothing(store, monkeypatch, cut):
    """Of Parquet and of the journal, whose last word on a cell must stay its last."""
    again = MANY[FAN]
    with pytest.raises(Died), Writer.open(store) as writer:
        monkeypatch.setattr(Writer, "_merge_points", lambda self: None)
        monkeypatch.setattr(Writer, "_merge_journal", lambda self: None)
        for cell in MANY[:FAN]:
            finish(writer, [cell])
        writer.begin([again], device="cpu")
        writer.append([measured(again.id, 1)])
        writer.append([measured(again.id, 2)])
        writer.append([failed(again.id)])
        for step in range(3, FAN + 1):  # It was run once more, and is under way.
            writer.append([measured(again.id, step)])
        monkeypatch.undo()
        die_at_change(monkeypatch, cut)
        writer.commit()
        raise Died
    monkeypatch.undo()
    bury(store)
    for _ in range(2):
        assert len(fresh(store).table()) == 2 * FAN + FAN
        assert not fresh(store).table().duplicated(["cell", "step", "inference_steps"]).any()
        assert fresh(store).records()[again.id].status == "started"
        assert sum(record.finished for record in fresh(store).records().values()) == FAN
        with Writer.open(store):
            pass
    assert len(store.folder.names("points")) == 1
    assert len(store.folder.names("journal")) == 2, "what began it is more than all that followed, and stays apart"


def test_changes_name_what_is_new_with_all_its_points(store):
    reader = fresh(store)
    assert not reader.changes().records
    with Writer.open(store) as writer:
        finish(writer, CELLS[:1])
        writer.begin(CELLS[1:2], device="cpu")
        writer.append([measured(CELLS[1].id, 1)])
        first = reader.changes()
        assert set(first.records) == {CELLS[0].id, CELLS[1].id}
        assert len(first.table) == 3
        nothing = reader.changes(first.cursor)
        assert not nothing.records and nothing.table.empty
        writer.append([measured(CELLS[1].id, 2)])
        second = reader.changes(nothing.cursor)
        assert set(second.records) == {CELLS[1].id}
        assert sorted(second.table["step"]) == [1, 2]
        writer.append([ended(CELLS[1].id)])
        writer.commit()
        third = reader.changes(second.cursor)
        assert {record.status for record in third.records.values()} == {"done"}
        assert set(third.table["status"]) == {"done"}


def test_what_was_merged_is_not_new(store):
    """A reader that keeps up is told of each cell when it is new, and reads no merged file's rows again."""
    reader, cursor, told, read = fresh(store), frozenset(), [], []
    with Writer.open(store) as writer:
        for cell in MANY[:40]:
            finish(writer, [cell])
            changes = reader.changes(cursor)
            told += changes.records
            read.append(len(changes.table))
            cursor = changes.cursor
    assert sorted(told) == sorted(cell.id for cell in MANY[:40])
    assert set(read) == {2}
