"""Tracking: W&B shows what the store has, each point once and in order, and nothing it does can hurt a run."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from offline_wandb import read_offline_points, read_offline_runs
from rehearsal import make_study, run_study

from pipeline import Axis, PipelineError
from pipeline.events import Ended, Failed, Failure, Measured
from pipeline.store import Writer
from pipeline.tracking import make_tracker, mirrors, sync
from pipeline.tracking.wandb_runs import choose_mode
from trainers import Ending, Point

ROOT = Path(__file__).parents[2]
STUDY = make_study()
CELLS = STUDY.cells
LONG = 60.0
"""Seconds that no close takes, as a limit that does not cut one short."""


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """As on a machine where nobody has logged in to W&B."""
    for name in list(os.environ):
        if name.startswith("WANDB_") and name not in ("WANDB_SERVICE", "WANDB_ERROR_REPORTING"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NETRC", raising=False)


@pytest.fixture
def folder(tmp_path) -> str:
    return str(tmp_path / "tracked")


def measured(cell, step: int, budget: int = 1, **metrics: float) -> Measured:
    point = Point(
        **{"cell": 0, "step": step, "inference_steps": budget, "metrics": metrics or {"loss": 1 / (step + budget)}},
        **{"examples": 32 * step, "flops": 1e6 * step, "seconds": step / 8},
    )
    return Measured(cell=cell.id, point=point)


def ended(cell, ending: Ending = Ending.DONE) -> Ended:
    return Ended(cell=cell.id, step=4, ending=ending)


def failed(cell, message: str = "it broke") -> Failed:
    return Failed(cell=cell.id, failure=Failure.BUG, message=message, traceback="Traceback ...")


def rows(*events: Measured) -> list[dict]:
    """What W&B should hold of points, each at a step of its own."""
    return [
        {
            **event.point.metrics,
            **{name: getattr(event.point, name) for name in ("step", "examples", "flops", "seconds")},
        }
        for event in events
    ]


def run_id(cell) -> str:
    return f"{STUDY.name}-{cell.id}"


def wait_for(condition, seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_offline_files_hold_the_points_once_and_in_order(folder):
    tracker = make_tracker("auto", study=STUDY, folder=folder)
    points = {cell.id: [measured(cell, step) for step in (1, 2, 4, 8, 512)] for cell in CELLS}
    for cell in CELLS:
        tracker.begin(cell, [])
    for number in range(5):  # Cells take turns, as in a cohort.
        tracker.tell([points[cell.id][number] for cell in CELLS])
    tracker.tell([points[CELLS[0].id][2]])  # Said twice, held once.
    tracker.tell([ended(cell) for cell in CELLS])
    outcome = tracker.close(LONG)
    assert (outcome.runs, outcome.points, outcome.runs_left, outcome.failures) == (len(CELLS), 5 * len(CELLS), 0, 0)
    assert outcome.message == ""
    assert read_offline_points(folder) == {run_id(cell): rows(*points[cell.id]) for cell in CELLS}
    assert folder in tracker.note and "wandb sync" in tracker.note
    assert tracker.close(LONG) == outcome


def test_a_run_says_what_it_is(folder):
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    done, diverged, broken, stopped = CELLS[0], CELLS[1], CELLS[-1], CELLS[2]
    for cell in (done, diverged, broken, stopped):
        tracker.begin(cell, [])
        tracker.tell([measured(cell, 1), measured(cell, 2, loss=0.25)])
    tracker.tell([ended(done), ended(diverged, Ending.DIVERGED), failed(broken, "s3://key:hunter2@host is away")])
    tracker.close(LONG)
    runs = read_offline_runs(folder)
    run = runs[run_id(done)]
    assert run.name == "parameters 1000, dataset_size 2000, seed 0"
    assert (run.group, run.job_type, run.project) == (STUDY.name, "oracle", "unsl")
    assert set(run.tags) == {"rehearsal", "oracle", "fitted"} and "held out" in runs[run_id(broken)].tags
    expected = {**done.columns, "flops": done.counts.flops, "trainer_version": done.version, "cell": done.id}
    assert run.config.items() >= expected.items()
    summaries = {key: (run.summary["status"], run.exit_code, run.summary["loss"]) for key, run in runs.items()}
    assert summaries == {
        run_id(done): ("done", 0, 0.25),
        run_id(diverged): ("diverged", 0, 0.25),
        run_id(broken): ("failed", 1, 0.25),
        run_id(stopped): ("started", 255, 0.25),
    }
    assert runs[run_id(broken)].summary["failure"] == "bug"
    assert runs[run_id(broken)].summary["message"] == "s3://***@host is away"


def test_inference_budgets_share_the_row_of_their_step(folder):
    cell = CELLS[0]
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(cell, [])
    tracker.tell([measured(cell, step, budget) for step in (1, 2) for budget in (1, 8)])
    tracker.tell([measured(cell, 1, 64), measured(cell, 4), ended(cell)])  # The first comes late.
    tracker.close(LONG)
    (run,) = read_offline_runs(folder).values()
    assert [row["_step"] for row in run.rows] == [1, 2, 3, 4]
    assert [row["step"] for row in run.rows] == [1, 2, 1, 4]
    losses = [{name: value for name, value in row.items() if name.startswith("loss")} for row in run.rows]
    assert losses == [
        {"loss": 1 / 2, "loss@k8": 1 / 9},
        {"loss": 1 / 3, "loss@k8": 1 / 10},
        {"loss@k64": 1 / 65},
        {"loss": 1 / 5},
    ]


def test_a_resumed_cell_is_written_whole_and_once(folder):
    cell, points = CELLS[0], [measured(CELLS[0], step) for step in (1, 2, 4, 8)]
    first = make_tracker("offline", study=STUDY, folder=folder)
    first.begin(cell, [])
    first.tell(points[:2])
    assert first.close(LONG).runs_left == 0
    assert read_offline_points(folder) == {run_id(cell): rows(*points[:2])}
    second = make_tracker("offline", study=STUDY, folder=folder)
    second.begin(cell, points[:3])
    second.tell([points[3], ended(cell)])
    second.close(LONG)
    assert read_offline_points(folder) == {run_id(cell): rows(*points)}


@pytest.mark.parametrize("then", ["kept", "cleaned"])
def test_what_the_user_has_sent_is_not_written_again(folder, tmp_path, then):
    """`wandb sync` adds a file's rows to those it finds, so that a whole file would double them."""
    cell, points = CELLS[0], [measured(CELLS[0], step) for step in (1, 2, 4, 8)]

    def go_on(known: int, new: int) -> None:
        tracker = make_tracker("offline", study=STUDY, folder=folder)
        tracker.begin(cell, points[:known])
        tracker.tell([*points[known:new], *([ended(cell)] if new == len(points) else [])])
        assert tracker.close(LONG).failures == 0

    go_on(0, 2)
    (sent,) = Path(folder, "wandb").glob("offline-run-*")
    next(sent.glob("*.wandb")).with_suffix(".wandb.synced").touch()
    if then == "cleaned":
        sent.rename(tmp_path / "gone")
        time.sleep(1.0)  # The next folder gets another name, which has the seconds of the clock in it.
    go_on(2, 3)
    go_on(3, 4)
    (unsent,) = [path for path in Path(folder, "wandb").glob("offline-run-*") if path != sent]
    assert read_offline_points(unsent) == {run_id(cell): rows(*points[2:])}


def test_a_failed_cell_that_is_tried_again_is_one_run(folder):
    cell, points = CELLS[0], [measured(CELLS[0], step) for step in (1, 2, 4, 8)]
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(cell, [])
    tracker.tell([*points[:2], failed(cell)])
    wait_for(lambda: tracker._mirrors.complete)  # The failure is written.
    tracker.begin(cell, points[:2])
    tracker.tell([*points[2:], ended(cell)])
    tracker.close(LONG)
    assert read_offline_points(folder) == {run_id(cell): rows(*points)}
    assert read_offline_runs(folder)[run_id(cell)].summary["status"] == "done"


def in_store(store) -> dict[str, list[dict]]:
    table = store.table().sort_values(["step"])
    kept = ["loss", "step", "examples", "flops", "seconds"]
    return {f"{STUDY.name}-{cell}": part[kept].to_dict("records") for cell, part in table.groupby("cell")}


def test_a_tracked_study_matches_its_store(store, folder):
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    assert run_study(STUDY, store, listeners=[tracker]).done == len(CELLS)
    assert tracker.close(LONG).runs == len(CELLS)
    assert read_offline_points(folder) == in_store(store)


def test_what_a_killed_driver_did_not_send_is_sent_from_the_store(store, folder):
    """Also runs whose files are cut short, and a list of sent runs that is."""
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    with Writer.open(store) as writer:
        writer.begin([CELLS[0]], device="cpu")
        tracker.begin(CELLS[0], [])
        tracker.tell(writer.append([measured(CELLS[0], 1), ended(CELLS[0])]))
    tracker.close(LONG)
    (whole,) = Path(folder, "wandb").glob("offline-run-*")
    run_study(STUDY, store)
    cut = Path(folder, "wandb", f"offline-run-20260101_000000-{run_id(CELLS[1])}")
    cut.mkdir()
    (cut / f"run-{run_id(CELLS[1])}.wandb").write_bytes(next(whole.glob("*.wandb")).read_bytes()[:300])
    with open(Path(folder, "wandb", "sent.jsonl"), "a") as file:
        file.write('\n{"run": "rehea')
    before = whole.stat().st_mtime_ns
    outcome = sync("offline", study=STUDY, store=store, folder=folder, timeout_seconds=LONG)
    assert (outcome.runs, outcome.failures) == (len(CELLS) - 1, 0)
    assert read_offline_points(folder) == in_store(store)
    assert whole.stat().st_mtime_ns == before
    assert sync("offline", study=STUDY, store=store, folder=folder, timeout_seconds=LONG).runs == 0


def test_a_fit_is_a_run_of_its_own(folder, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("<p>a report</p>")
    table = [{"law": "cf", "rmsle_fit": 0.1, "rmsle_held_out": math.nan}, {"law": "unsl", "rmsle_fit": 0.05}]
    for _ in range(2):
        tracker = make_tracker("offline", study=STUDY, folder=folder)
        tracker.summarise(table, str(report))
        assert tracker.close(LONG).failures == 0
    (run,) = read_offline_runs(folder).values()
    assert (run.job_type, run.group) == ("fit", STUDY.name)
    assert run.summary["unsl/rmsle_fit"] == 0.05 and "cf/rmsle_held_out" not in run.summary
    assert run.rows[0]["laws/nrows"] == 2 and run.rows[0]["report/_type"] == "html-file"


def test_nothing_that_is_no_number_is_sent(folder):
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(CELLS[0], [measured(CELLS[0], 1, loss=math.nan, error=math.inf, accuracy=0.5)])
    tracker.close(LONG)
    (run,) = read_offline_runs(folder).values()
    assert "loss" not in run.rows[0] and "error" not in run.rows[0] and run.rows[0]["accuracy"] == 0.5


def test_neither_the_key_nor_the_machine_is_written_down(folder):
    """Run elsewhere, as wandb reads the environment once a process."""
    program = (
        "import sys; from rehearsal import make_study; from pipeline.tracking import make_tracker\n"
        f"study = make_study(); tracker = make_tracker('offline', study=study, folder={folder!r})\n"
        "tracker.begin(study.cells[0], []); print(tracker.close(60).runs)"
    )
    secret = "f00d" * 10
    changes = {"WANDB_API_KEY": secret, "USER": "somebody-here"}
    done = python(program, "an-argument", **changes)
    assert (done.stdout, done.stderr) == ("1\n", "")
    (written,) = Path(folder).rglob("*.wandb")
    content = written.read_bytes()
    hidden = (secret, "somebody-here", "an-argument")
    assert read_offline_runs(folder)[run_id(CELLS[0])].host == ""
    assert run_id(CELLS[0]).encode() in content
    assert not [word for word in hidden if word.encode() in content]
    everything = b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())
    assert secret.encode() not in everything


def python(program: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"} | changes
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment, timeout=60
    )


def test_modes(monkeypatch, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    assert choose_mode("auto") == "offline"
    with pytest.raises(PipelineError, match="wandb login"):
        choose_mode("online")
    with pytest.raises(PipelineError, match="must be auto"):
        choose_mode("sometimes")
    (home / ".netrc").write_text("machine api.wandb.ai login user password 12345\n")
    assert choose_mode("auto") == choose_mode("online") == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert choose_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "12345")
    assert choose_mode("auto") == "online"
    assert choose_mode("offline") == "offline"
    for wish, mode in (("offline", "offline"), ("disabled", "off")):
        monkeypatch.setenv("WANDB_MODE", wish)
        assert choose_mode("auto") == mode


def test_off_imports_no_wandb(folder):
    done = python(
        "import sys; from rehearsal import make_study; from pipeline.tracking import make_tracker\n"
        f"study = make_study(); tracker = make_tracker('off', study=study, folder={folder!r})\n"
        "tracker.begin(study.cells[0], []); tracker.tell([]); tracker.summarise([], None)\n"
        "print(tracker.close(1).runs, tracker.note, 'wandb' in sys.modules)"
    )
    assert done.stdout == "0  False\n", done.stderr
    assert not os.path.exists(folder)


def everything_told(tracker) -> None:
    for cell in CELLS:
        tracker.begin(cell, [])
        tracker.tell([measured(cell, 1), measured(cell, 2), ended(cell)])


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_wandb_that_raises_hurts_nobody(folder, monkeypatch, where):
    import wandb

    def fail(*_, **__):
        raise OSError("the disk is on fire")

    fine = SimpleNamespace(
        id="any", dir="/nowhere/files", log=lambda *_, **__: None, summary={}, finish=lambda **_: None
    )
    monkeypatch.setattr(wandb, "init", fail if where == "init" else lambda **_: fine)
    if where != "init":
        setattr(fine, where, fail)
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    everything_told(tracker)
    tracker.summarise([{"law": "cf"}], None)
    outcome = tracker.close(LONG)
    assert (outcome.runs, outcome.runs_left) == (0, len(CELLS))
    assert outcome.failures >= 2
    assert "the disk is on fire" in outcome.message and "unsl sync rehearsal" in outcome.message


def test_a_passing_failure_is_made_good(folder, monkeypatch):
    import wandb

    init, calls = wandb.init, []

    def fail_twice(**settings):
        calls.append(settings["id"])
        if len(calls) <= 2:
            raise TimeoutError("W&B is slow today")
        return init(**settings)

    monkeypatch.setattr(wandb, "init", fail_twice)
    monkeypatch.setattr(mirrors, "FIRST_PAUSE_SECONDS", 0.1)
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    everything_told(tracker)
    outcome = tracker.close(LONG)
    assert (outcome.runs, outcome.runs_left, outcome.failures, outcome.message) == (len(CELLS), 0, 2, "")
    assert read_offline_points(folder)[run_id(CELLS[0])] == rows(measured(CELLS[0], 1), measured(CELLS[0], 2))


def test_a_helper_that_dies_is_replaced(folder, monkeypatch):
    """wandb does its work in a process of its own."""
    monkeypatch.setattr(mirrors, "FIRST_PAUSE_SECONDS", 0.1)
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    tracker.begin(CELLS[0], [measured(CELLS[0], 1), measured(CELLS[0], 2)])
    tracker.tell([ended(CELLS[0])])
    wait_for(lambda: tracker._mirrors.complete)
    helper = sys.modules["wandb.sdk.wandb_setup"]._singleton._connection._proc._process
    helper.kill()
    helper.wait()
    everything_told(tracker)
    outcome = tracker.close(LONG)
    assert (outcome.runs, outcome.runs_left) == (len(CELLS), 0) and outcome.failures > 0
    assert len(read_offline_points(folder)) == len(CELLS)


def test_a_wandb_that_hangs_neither_blocks_nor_delays(folder, monkeypatch):
    import wandb

    release = threading.Event()
    monkeypatch.setattr(wandb, "init", lambda **_: release.wait(30))
    tracker = make_tracker("offline", study=STUDY, folder=folder)
    monkeypatch.setattr(tracker._runs, "leave", lambda: None)  # It would end the helper of the tests after this one.
    began = time.monotonic()
    everything_told(tracker)
    for step in range(10, 2_010):
        tracker.tell([measured(CELLS[0], step)])
    assert time.monotonic() - began < 1.0
    outcome = tracker.close(0.5)
    assert time.monotonic() - began < 2.0
    release.set()
    assert outcome.runs_left == len(CELLS) and "in time" in outcome.message


def test_a_server_that_never_answers_does_not_keep_the_process(folder):
    """The real wandb, online, against a listener that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = (
            "import time; from rehearsal import make_study; from pipeline.tracking import make_tracker\n"
            "from pipeline.events import Ended; from trainers import Ending\n"
            f"study = make_study(); tracker = make_tracker('online', study=study, folder={folder!r})\n"
            "cell = study.cells[0]; tracker.begin(cell, [])\n"
            "tracker.tell([Ended(cell=cell.id, step=1, ending=Ending.DONE)]); time.sleep(2)\n"
            "began = time.monotonic(); outcome = tracker.close(1.0)\n"
            "print(outcome.runs_left, time.monotonic() - began < 2, flush=True); print(time.time(), flush=True)"
        )
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = python(program, WANDB_API_KEY="f00d" * 10, WANDB_BASE_URL=address)
        ended_after = time.time() - float(done.stdout.split()[-1])
    assert done.stdout.startswith("1 True\n"), done.stderr
    assert ended_after < 3.0


class FakeRun:
    """A run at a server that remembers."""

    server: dict[str, list[tuple[int, dict]]] = {}
    live: set[str] = set()

    def __init__(self, **settings):
        self.id, self.summary = settings["id"], {}
        self.resumed = self.id in self.server
        self.rows = self.server.setdefault(self.id, [])
        self.starting_step = self.rows[-1][0] + 1 if self.rows else 0
        self.live.add(self.id)

    def log(self, row, *, step):
        if not self.rows or step > self.rows[-1][0]:
            assert step >= self.starting_step
            self.rows.append((step, {}))
        assert step == self.rows[-1][0], "steps only grow"
        self.rows[-1][1].update(row)

    def finish(self, exit_code=0):
        self.live.discard(self.id)


@pytest.fixture
def server(monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_API_KEY", "12345")
    monkeypatch.setattr(FakeRun, "server", {})
    monkeypatch.setattr(FakeRun, "live", set())
    monkeypatch.setattr(wandb, "init", lambda **settings: FakeRun(**settings))
    return FakeRun


def test_online_a_resumed_run_gets_what_it_lacks(folder, server):
    cell, points = CELLS[0], [measured(CELLS[0], step) for step in (1, 2, 4, 8)]
    for known, new in ((0, 2), (2, 3), (3, 4)):
        tracker = make_tracker("online", study=STUDY, folder=folder)
        tracker.begin(cell, points[:known])
        tracker.tell(points[known:new])
        assert tracker.close(LONG).points == new - known
    assert [row for _, row in server.server[run_id(cell)]] == rows(*points)


def test_online_cells_are_live_once_they_last_and_not_too_many(folder, server, monkeypatch):
    monkeypatch.setattr(mirrors, "OPEN_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(mirrors, "MOST_OPEN", 3)
    tracker = make_tracker("online", study=STUDY, folder=folder)
    tracker.begin(CELLS[0], [])
    tracker.tell([measured(CELLS[0], 1), ended(CELLS[0])])
    for cell in CELLS[1:]:
        tracker.begin(cell, [])
        tracker.tell([measured(cell, 1)])
    wait_for(lambda: len(server.live) == 3)
    assert next(iter(server.server)) == run_id(CELLS[0]) and run_id(CELLS[0]) not in server.live
    tracker.tell([measured(CELLS[1], 2)])
    wait_for(lambda: [step for step, _ in server.server[run_id(CELLS[1])]] == [1, 2])
    assert len(server.live) == 3
    assert tracker.close(LONG).runs == len(CELLS)
    assert not server.live
    assert all([step for step, _ in server.server[run_id(cell)]][:1] == [1] for cell in CELLS)


def test_a_long_name_is_cut(folder):
    study = make_study(axes=[Axis("parameters, dataset_size, learning_rate, run_noise, point_noise, batch_size", ROW)])
    tracker = make_tracker("offline", study=study, folder=folder)
    tracker.begin(study.cells[0], [])
    assert tracker.close(LONG).failures == 0


ROW = ((1_234_567, 7_654_321, 0.00123456, 0.0123456, 0.00654321, 12345),)
