"""Online, against runs at a server that is made up: which cells are live, and how fast runs are created."""

from __future__ import annotations

import pytest
from tracked import CELLS, LONG, STUDY, ended, failed, measured, rows, run_id, wait_for

from pipeline.tracking import make_tracker, mirrors

pytestmark = pytest.mark.usefixtures("no_account")


def test_online_a_resumed_run_gets_what_it_lacks(folder, made_up_server):
    cell, points = CELLS[0], [measured(CELLS[0], step) for step in (1, 2, 4, 8)]
    for known, new in ((0, 2), (2, 3), (3, 4)):
        tracker = make_tracker("online", study=STUDY, folder=folder)
        tracker.begin(cell, points[:known])
        tracker.tell(points[known:new])
        assert tracker.close(LONG).points == new - known
    assert [row for _, row in made_up_server.server[run_id(cell)]] == rows(*points)


def test_a_failed_cell_that_begins_again_has_not_ended():
    closed = []

    class Runs:
        online = False

        def wait_to_open(self):
            return 0.0

        def open_cell(self, cell):
            return object(), 0

        def log(self, run, points, row):
            return row

        def close_cell(self, run, points, *, status, **_):
            closed.append(status)

    cell, kept = CELLS[0], mirrors.Mirrors(Runs())
    kept.begin(cell, [])
    kept.tell([measured(cell, 1), failed(cell)])
    kept.advance()
    assert closed == ["failed"] and kept.left() == set()
    kept.begin(cell, [measured(cell, 1)])
    kept.advance()
    assert closed == ["failed"] and kept.left() == {cell.id}
    kept.tell([ended(cell)])
    kept.advance()
    assert closed == ["failed", "done"] and kept.left() == set()


def test_online_cells_are_live_once_they_last_and_not_too_many(folder, made_up_server, monkeypatch):
    monkeypatch.setattr(mirrors, "OPEN_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(mirrors, "MOST_OPEN", 3)
    tracker = make_tracker("online", study=STUDY, folder=folder)
    tracker.begin(CELLS[0], [])
    tracker.tell([measured(CELLS[0], 1), ended(CELLS[0])])
    for cell in CELLS[1:]:
        tracker.begin(cell, [])
        tracker.tell([measured(cell, 1)])
    wait_for(lambda: len(made_up_server.live) == 3)
    assert next(iter(made_up_server.server)) == run_id(CELLS[0]) and run_id(CELLS[0]) not in made_up_server.live
    tracker.tell([measured(CELLS[1], 2)])
    wait_for(lambda: [step for step, _ in made_up_server.server[run_id(CELLS[1])]] == [1, 2])
    assert len(made_up_server.live) == 3
    assert tracker.close(LONG).runs == len(CELLS)
    assert not made_up_server.live
    assert all([step for step, _ in made_up_server.server[run_id(cell)]][:1] == [1] for cell in CELLS)
