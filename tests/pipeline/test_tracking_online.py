"""Online tracking against a server on loopback: every point, in order, once, also when the server fails."""

from __future__ import annotations

import threading

from rehearsal import make_study, run_study
from wandb_stub import WandbStub

from pipeline import Axis
from pipeline.store import Store
from pipeline.tracking import make_tracker, sync


def assert_complete(server: WandbStub, store: Store) -> None:
    """The server has each point of the store once, in order."""
    expected = store.table()
    by_cell = {name.rsplit("-", 1)[-1]: run for name, run in server.runs.items()}
    assert by_cell.keys() == set(expected["cell"])
    for cell, points in expected.sort_values("step").groupby("cell"):
        rows = by_cell[cell].rows()
        assert [row["step"] for row in rows] == points["step"].tolist()
        assert [row["loss"] for row in rows] == points["loss"].tolist()


def track(study, store, folder, **how):
    tracker = make_tracker("online", study=study, folder=str(folder))
    run_study(study, store, listeners=[tracker], **how)
    return tracker.close(120)


def test_every_point_arrives_once(server, store, tmp_path):
    outcome = track(make_study(), store, tmp_path / "wandb")
    assert (outcome.runs, outcome.runs_left, outcome.message) == (8, 0, "")
    assert_complete(server, store)
    assert {run.exit_code for run in server.runs.values()} == {0}
    assert {run.created for run in server.runs.values()} == {1}


def test_a_server_that_fails_a_third_of_the_time_gets_everything_in_the_end(server, store, tmp_path):
    server.failing = 1 / 3
    study = make_study(seeds=(0,), axes=[Axis("parameters", (1_000, 4_000))])
    folder = tmp_path / "wandb"
    outcome = track(study, store, folder)
    server.failing = 0.0
    if outcome.runs_left:
        outcome = sync("online", study=study, store=store, folder=str(folder))
        assert outcome.runs_left == 0
    assert server.answers[500] + server.answers[429] + server.answers[503] > 0
    assert_complete(server, store)


def test_an_outage_delays_points_and_training_does_not_wait(server, store, tmp_path):
    study = make_study(seeds=(0,), fixed={"steps": 512, "step_seconds": 2e-3})
    server.failing = 1.0
    threading.Timer(2.0, lambda: setattr(server, "failing", 0.0)).start()
    folder = tmp_path / "wandb"
    outcome = track(study, store, folder)
    if outcome.runs_left:
        sync("online", study=study, store=store, folder=str(folder))
    assert_complete(server, store)


def test_what_a_server_never_saw_is_sent_by_sync(server, store, tmp_path):
    study = make_study(seeds=(0,))
    run_study(study, store)
    outcome = sync("online", study=study, store=store, folder=str(tmp_path / "wandb"))
    assert (outcome.runs, outcome.runs_left) == (4, 0)
    assert_complete(server, store)
    again = sync("online", study=study, store=store, folder=str(tmp_path / "wandb"))
    assert again.runs_left == 0
    assert_complete(server, store)
