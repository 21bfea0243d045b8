"""The fit at W&B: its table, its report with the figures, its summary, where a user of W&B looks for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rehearsal import make_study, run_study, write_study
from tracked import LONG, STUDY
from wandb_stub import WandbStub

from pipeline import cli
from pipeline.store import SavedFit
from pipeline.tracking import make_tracker, runs_url, sync

FIT = f"{STUDY.name}-fit"
LAWS = [
    {"law": "cf", "status": "converged", "rmsle_fit": 0.1, "rmsle_held_out": None},
    {"law": "unsl", "status": "converged", "rmsle_fit": 0.05, "rmsle_held_out": 0.25},
]
PAGE = "<!doctype html><body>the report</body>"
PANELS = {"along_step": "<!doctype html><body>a figure</body>", "residuals": "<!doctype html><body>another</body>"}


@pytest.fixture
def page(tmp_path) -> str:
    path = tmp_path / "report.html"
    path.write_text(PAGE)
    return str(path)


def file_of(server: WandbStub, panel: str) -> str:
    """What W&B shows in a panel of the fit's run."""
    run = server.runs[FIT]
    shown = run.rows()[-1][panel]
    assert shown["_type"] == "html-file"
    return run.files[shown["path"]].decode()


def send(laws, page, folder):
    tracker = make_tracker("online", study=STUDY, folder=folder)
    tracker.summarise(SavedFit.from_rows(laws, page, PANELS))
    return tracker.close(LONG)


def table_of(server: WandbStub) -> list[dict]:
    """The table of laws that W&B's page of the fit shows, as rows."""
    table = server.artifacts.table(server.runs[FIT].rows()[-1]["fit/laws"])
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def test_the_table_the_report_and_the_summary_are_at_the_server(server, page, folder):
    outcome = send(LAWS, page, folder)
    assert (outcome.failures, outcome.message) == (0, "")
    assert table_of(server) == LAWS
    (artifact,) = server.artifacts.made
    assert (artifact.kind, artifact.run, artifact.committed) == ("run_table", FIT, True)
    run = server.runs[FIT]
    assert file_of(server, "fit/report") == PAGE
    assert {"fit/unsl/rmsle_held_out": 0.25, "fit/cf/rmsle_fit": 0.1}.items() <= run.summary.items()
    assert "fit/cf/rmsle_held_out" not in run.summary
    assert (run.exit_code, run.about["jobType"], run.about["groupName"]) == (0, "fit", STUDY.name)
    assert run.about["tags"] == [STUDY.name, "fit"]
    assert run.about["program"] == "unsl", "no path of this machine"


def test_the_laws_of_several_tasks_are_kept_apart(server, page, folder):
    rows = [{"task": task, "law": "cf", "rmsle_held_out": error} for task, error in (("vit", 0.1), ("mixer", 0.2))]
    send([*rows, {"task": "all", "law": "cf", "won": 1.0}], page, folder)
    wanted = {"fit/vit/cf/rmsle_held_out": 0.1, "fit/mixer/cf/rmsle_held_out": 0.2, "fit/all/cf/won": 1.0}
    assert wanted.items() <= server.runs[FIT].summary.items()


def test_each_figure_of_the_report_is_a_panel(server, page, folder):
    send(LAWS, page, folder)
    panels = {name for name in server.runs[FIT].rows()[-1] if name.startswith("fit/figures/")}
    assert panels == {f"fit/figures/{name}" for name in PANELS}
    assert {name: file_of(server, f"fit/figures/{name}") for name in PANELS} == PANELS


def test_figures_reach_the_server_from_a_machine_without_the_report(server, store, page, folder):
    SavedFit.from_rows(LAWS, page, PANELS).save(store.folder)
    os.remove(page)
    assert sync("online", study=STUDY, store=store, folder=folder, timeout_seconds=LONG).fits == 1
    assert file_of(server, "fit/figures/residuals") == PANELS["residuals"]
    assert "fit/report" not in server.runs[FIT].rows()[-1]


def test_a_run_has_an_address_where_it_is_known(server, monkeypatch):
    monkeypatch.setenv("WANDB_ENTITY", "lab")
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    url = server.environment["WANDB_BASE_URL"]
    assert runs_url("online", study=STUDY) == f"{url}/lab/unsl/runs/{STUDY.name}-{{cell}}"
    assert runs_url("offline", study=STUDY) == "" == runs_url("off", study=STUDY)


def test_a_later_fit_is_shown_in_the_place_of_the_first(server, page, folder):
    send(LAWS, page, folder)
    better = [{**law, "rmsle_fit": law["rmsle_fit"] / 2} for law in LAWS]
    assert send(better, page, folder).message == ""
    assert list(server.runs) == [FIT]
    assert table_of(server) == better
    assert server.runs[FIT].summary["fit/cf/rmsle_fit"] == 0.05


@pytest.mark.parametrize("operation", ["CreateArtifact", "CommitArtifact"])
def test_a_table_that_is_not_taken_is_not_called_sent(server, page, folder, operation):
    server.refused = (operation,)
    outcome = send(LAWS, page, folder)
    assert outcome.failures == 1
    assert "W&B did not get the fit" in outcome.message and "did not take the table" in outcome.message
    assert not any(artifact.committed for artifact in server.artifacts.made)


def test_a_fit_that_was_missed_is_sent_by_sync(server, store, page, folder):
    server.refused = ("CommitArtifact",)
    fit = SavedFit.from_rows(LAWS, page)
    fit.save(store.folder)

    def sync_online():
        return sync("online", study=STUDY, store=store, folder=folder, timeout_seconds=LONG)

    missed = send(LAWS, page, folder)
    assert (missed.fits, missed.fits_left) == (0, 1) and "unsl sync rehearsal" in missed.message
    missed = sync_online()
    assert (missed.fits, missed.fits_left) == (0, 1) and "unsl sync rehearsal" in missed.message
    server.refused = ()
    sent = sync_online()
    assert (sent.fits, sent.fits_left, sent.message) == (1, 0, "")
    assert table_of(server) == LAWS
    assert file_of(server, "fit/report") == PAGE
    assert sync_online().fits == 0, "it is there"
    SavedFit.from_rows(LAWS[:1], page).save(store.folder)
    assert sync_online().fits == 1, "another fit is not"
    assert table_of(server) == LAWS[:1]


def test_unsl_sync_sends_what_was_fitted_without_a_server(server, store, tmp_path, capsys):
    path = str(write_study(tmp_path, STUDY))
    run_study(STUDY, store)

    def unsl(verb: str, mode: str) -> str:
        assert cli.main([verb, path, "--store", str(tmp_path / "runs"), "--wandb", mode]) == 0
        return capsys.readouterr().out

    unsl("report", "off")
    assert "8 runs with 48 points and the fit sent, 0 left" in unsl("sync", "offline")
    assert "0 runs with 0 points sent, 0 left" in unsl("sync", "offline")
    assert not server.runs, "files are no server"
    assert "8 runs with 48 points and the fit sent, 0 left" in unsl("sync", "online")
    (law,) = table_of(server)
    assert law["law"] == "cf" and law["rmsle_held_out"] > 0
    assert server.runs[FIT].about["jobType"] == "fit"
    assert "0 runs with 0 points sent, 0 left" in unsl("sync", "online")
    SavedFit(rows=LAWS, report="/elsewhere/report.html", digest="another").save(store.folder)
    assert "the fit (without its report: /elsewhere/report.html is not on this machine) sent" in unsl("sync", "online")


def test_a_report_that_is_gone_does_not_hold_the_table_back(server, store, page, folder):
    SavedFit.from_rows(LAWS, page).save(store.folder)
    os.remove(page)
    assert sync("online", study=STUDY, store=store, folder=folder, timeout_seconds=LONG).fits == 1
    assert table_of(server) == LAWS


def report_online(store: Path) -> subprocess.CompletedProcess:
    """`unsl report` in a process of its own: it must end by itself."""
    path = write_study(store.parent, make_study())
    return subprocess.run(
        [sys.executable, "-m", "unsl", "report", str(path), "--store", str(store), "--wandb", "online"],
        env={name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=150,
    )


def test_unsl_report_brings_the_fit_to_the_server(server, store, tmp_path):
    run_study(make_study(), store)
    done = report_online(tmp_path / "runs")
    assert (done.returncode, done.stderr) == (0, "")
    (law,) = table_of(server)
    assert law["law"] == "cf" and law["rmsle_held_out"] > 0
    assert file_of(server, "fit/report") == Path(done.stdout.split("report: ")[1].strip()).read_text()
    run = server.runs[FIT]
    figures = {name: file_of(server, name) for name in run.rows()[-1] if name.startswith("fit/figures/")}
    assert {"fit/figures/predictions", "fit/figures/along_parameters"} < figures.keys()
    assert all(shown.count("<svg ") == 1 and "--ink:" in shown for shown in figures.values())
    assert run.summary["fit/cf/rmsle_held_out"] == law["rmsle_held_out"]


def test_a_server_that_lacks_tables_costs_no_report_and_no_time(server, store, tmp_path):
    """W&B keeps tables in artifacts, which a server may not know. The process must end all the same."""
    server.refused = ("CreateArtifact",)
    run_study(make_study(), store)
    done = report_online(tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
    assert "W&B did not get the fit" in done.stderr
    assert FIT in server.runs
