"""A study's finished cells travel as one file, and a store made of it is like the one they came from."""

from __future__ import annotations

import pytest
from rehearsal import make_study, run_study, sorted_points

from pipeline import PipelineError
from pipeline.plan import make_plan
from pipeline.store import Store, pack, unpack


@pytest.fixture
def other(tmp_path) -> Store:
    return Store(str(tmp_path / "elsewhere"), "rehearsal")


def test_packed_cells_are_done_elsewhere_with_the_same_points(store, other):
    run_study(make_study(seeds=(0,)), store)
    run_study(make_study(), store)  # In files of their own.
    assert unpack(other, pack(store))
    assert other.folder.names("points") == ["00000001.parquet"]
    assert sorted_points(other).equals(sorted_points(store))
    assert other.records() == store.records()
    assert make_plan(make_study(), other).to_run(retry_failed=True) == []


def test_a_store_that_has_cells_keeps_its_own(store, other):
    run_study(make_study(), store)
    run_study(make_study(seeds=(7,)), other)
    before = sorted_points(other)
    assert not unpack(other, pack(store))
    assert sorted_points(other).equals(before)


def test_a_study_that_grows_goes_on_from_packed_cells(store, other):
    run_study(make_study(), store)
    unpack(other, pack(store))
    grown = make_study(seeds=(0, 1, 2))
    assert run_study(grown, other).done == 4
    assert set(other.records()) == {cell.id for cell in grown.cells}


def test_nothing_is_packed_of_a_study_without_finished_cells(store):
    with pytest.raises(PipelineError, match="no finished cells"):
        pack(store)
