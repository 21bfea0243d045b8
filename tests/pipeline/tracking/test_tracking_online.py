"""Online tracking against a server on loopback: every point, in order, once, also when the server fails."""

from __future__ import annotations

import json
import threading

import pytest
from rehearsal import make_study, run_study
from tracked import CELLS, STUDY, ended, measured, run_id, wait_for
from wandb_stub import WandbStub

from pipeline import Axis
from pipeline.store import Store
from pipeline.tracking import client, make_tracker, mirrors, sync


def assert_complete(server: WandbStub, store: Store) -> None:
    """The server has each point of the store once, in order."""
    expected = store.table()
    by_cell = {name.rsplit("-", 1)[-1]: run for name, run in server.runs.items()}
    assert by_cell.keys() == set(expected["cell"])
    for cell, points in expected.sort_values("step").groupby("cell"):
        rows = by_cell[cell].rows()
        assert [row["step"] for row in rows] == points["step"].tolist()
        assert [row["points/loss"] for row in rows] == points["loss"].tolist()


def track(study, store, folder, **how):
    tracker = make_tracker("online", study=study, folder=str(folder), store=store)
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


def test_a_cell_is_where_a_user_of_w_and_b_looks_for_it(server, store, tmp_path):
    """Its group, job type, tags, configuration and summary, as the server has them."""
    track(STUDY, store, tmp_path / "wandb")
    cell = CELLS[-1]
    run = server.runs[run_id(cell)]
    assert (run.about["groupName"], run.about["jobType"], run.about["project"]) == (STUDY.name, "oracle", "unsl")
    assert set(run.about["tags"]) == {STUDY.name, "oracle", "held out"}
    assert run.about["displayName"] == "parameters 4000, dataset_size 8000, seed 1"
    config = {name: one["value"] for name, one in json.loads(run.about["config"]).items() if name != "_wandb"}
    assert config.items() >= {**cell.columns, "study": STUDY.name, "cell": cell.id}.items()
    last = store.table().query("cell == @cell.id").sort_values("step").iloc[-1]
    assert (run.summary["points/loss"], run.summary["step"]) == (last["loss"], last["step"])
    assert (run.summary["status"], run.summary["points"]) == ("done", 6)


@pytest.fixture
def impatient(monkeypatch):
    """Answers of 429 in a row that are more than a run's opening waits for: wandb asks again after 2 s, then 4."""
    monkeypatch.setattr(client, "INIT_SECONDS", 5.0)
    monkeypatch.setattr(mirrors, "FIRST_PAUSE_SECONDS", 0.1)
    return 4


def test_too_many_creations_delay_runs_and_lose_none(server, store, tmp_path, impatient):
    """W&B refuses the first runs for longer than wandb's own patience. Every run is made once in the end."""
    study = make_study(seeds=(0,))
    server.too_many["UpsertBucket"] = impatient
    tracker = make_tracker("online", study=study, folder=str(tmp_path / "wandb"))
    assert run_study(study, store, listeners=[tracker]).done == 4
    assert not server.runs, "training was over before W&B let the first run in"
    outcome = tracker.close(120)
    assert (outcome.runs_left, outcome.message) == (0, "") and outcome.failures > 0
    assert server.answers[429] == impatient
    assert {run.created for run in server.runs.values()} == {1}
    assert_complete(server, store)


def test_live_runs_survive_a_refused_creation(server, folder, impatient, monkeypatch):
    """wandb's helper is replaced for the refused run's sake: the other runs go on where W&B has them."""
    monkeypatch.setattr(mirrors, "OPEN_AFTER_SECONDS", 0.0)
    live, refused = CELLS[:2]
    tracker = make_tracker("online", study=STUDY, folder=folder)
    tracker.begin(live, [])
    tracker.tell([measured(live, 1), measured(live, 2)])
    wait_for(lambda: run_id(live) in server.runs)
    server.too_many["UpsertBucket"] = impatient
    tracker.begin(refused, [])
    tracker.tell([measured(refused, 1), ended(refused)])
    wait_for(lambda: tracker._mirrors.failures, seconds=60)
    tracker.tell([measured(live, 4), ended(live)])
    outcome = tracker.close(120)
    assert (outcome.runs, outcome.runs_left) == (2, 0)
    steps = {run: [row["step"] for row in server.runs[run].rows()] for run in server.runs}
    assert steps == {run_id(live): [1, 2, 4], run_id(refused): [1]}
    assert {run.created for run in server.runs.values()} == {1}


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


def test_a_driver_on_another_machine_opens_no_run_again(server, store, tmp_path):
    """What W&B has received is known to the store, not to the disk of the driver that sent it."""
    track(make_study(), store, tmp_path / "one" / "wandb")
    opened = server.answers[200]
    outcome = sync("online", study=make_study(), store=store, folder=str(tmp_path / "two" / "wandb"))
    assert (outcome.runs, outcome.points, outcome.runs_left) == (0, 0, 0)
    assert server.answers[200] == opened
