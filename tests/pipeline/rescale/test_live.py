"""The forecast that tightens while its study runs, and the run that stops when it is narrow enough."""

from __future__ import annotations

import json
import threading
import time

import pytest
from rehearsal import make_study, run_study, write_study

from fitting import FitStatus
from pipeline import Axis, Split, cli
from pipeline.rescale import Live, live, read_glances, read_targets
from pipeline.store import Store
from trainers import oracle

TARGET = "parameters=1e4, dataset_size=1e4, step=512"


def wide():
    axes = [Axis("parameters", (1_000, 2_000, 4_000)), Axis("dataset_size", (2_000, 4_000, 8_000))]
    return make_study(axes=axes, split=Split(held_out="parameters > 1e5"))


def watched(store, **how):
    study = wide()
    own = Store(str(store.folder.url).rsplit("/", 1)[0], study.name)
    one = Live(study, own, read_targets(study, [TARGET]), "cf", **how)
    outcome = run_study(study, store, listeners=[one], watch=lambda driver: setattr(one, "stop", driver.stop))
    return study, one, outcome


def test_glances_tighten_and_are_kept_for_status(store):
    told = []
    _, one, outcome = watched(store, every=0.0, beside=False, told=[told.append])
    assert outcome.done == 18 and len(told) > 1 and told == one.glances
    assert [glance.rows for glance in told] == sorted(glance.rows for glance in told)
    assert told[-1].interval < told[0].interval and told[-1].low < told[-1].median < told[-1].high
    assert read_glances(store.folder) == told


def test_a_forecast_that_is_narrow_enough_ends_the_run(store):
    study, one, outcome = watched(store, every=0.0, beside=False, until=lambda interval: interval < 1e9)
    assert outcome.left > 0 and len(one.glances) == 1
    assert one.enough.startswith("cf foretells ") and one.enough.endswith("which is narrow enough")
    assert run_study(study, store).done == outcome.left, "what is left can still be run"


def test_not_before_the_period_is_over_nor_without_news(store):
    _, one, _ = watched(store, every=3600.0, beside=False)
    assert one.glances == []
    looks = []
    one.look = lambda: looks.append(1)
    one._every = 0.0
    one._news = 0
    one.tell([])
    assert looks == []


def test_a_fit_that_takes_long_holds_up_no_event(store, monkeypatch):
    free = threading.Event()
    fitted = live._fit
    monkeypatch.setattr(live, "_fit", lambda *asked: free.wait(30) and fitted(*asked))
    _, one, outcome = watched(store, every=0.0)
    assert outcome.done == 18 and one.glances == [], "the run has ended beside it"
    free.set()
    one._thread.join(30)
    assert len(one.glances) == 1


def test_too_little_to_fit_says_nothing(store):
    study = wide()
    one = Live(study, store, read_targets(study, [TARGET]), "cf", every=0.0)
    one.look()
    assert one.glances == [] and read_glances(store.folder) == []


def test_on_a_cluster_the_fit_is_a_task(store, monkeypatch):
    """One that asks for no core; where it fails, the driver's own process fits."""
    asked = []

    class Ray:
        broken = False

        def is_initialized(self):
            return True

        def remote(self, **options):
            asked.append(options)

            class Task:
                def __init__(self, function):
                    self.remote = lambda *arguments: (function, arguments)

            return Task

        def get(self, task):
            if self.broken:
                raise RuntimeError("the node has gone")
            return task[0](*task[1])

    study = wide()
    run_study(study, store)
    for broken in (False, True):
        monkeypatch.setattr(Ray, "broken", broken)
        monkeypatch.setitem(live.sys.modules, "ray", Ray())
        one = Live(study, store, read_targets(study, [TARGET]), "cf", every=0.0)
        one.look()
        assert len(one.glances) == 1 and asked[-1]["num_cpus"] == 0


def test_without_a_cluster_nothing_is_started(store, monkeypatch):
    """Ray may be imported and idle: it would start a cluster of its own if it were asked."""

    class Ray:
        def is_initialized(self):
            return False

    study = wide()
    run_study(study, store)
    monkeypatch.setitem(live.sys.modules, "ray", Ray())
    one = Live(study, store, read_targets(study, [TARGET]), "cf", every=0.0)
    one.look()
    assert len(one.glances) == 1


def test_a_fit_that_failed_says_nothing(store, monkeypatch):
    study = wide()
    run_study(study, store)

    class Failed:
        status = FitStatus.FAILED

    monkeypatch.setattr(live, "_fit", lambda *asked: Failed())
    one = Live(study, store, read_targets(study, [TARGET]), "cf", every=0.0)
    one.look()
    assert one.glances == []


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    write_study(tmp_path, wide())
    return ("run", "rehearsal", "--executor", "inline", "--wandb", "off", "--target", TARGET)


def test_the_command_line_shows_it_and_status_tells_it_later(here, capsys):
    assert cli.main([*here, "--refit", "1h"]) == 0
    capsys.readouterr()
    assert cli.main(["status", "rehearsal"]) == 0
    assert "forecast, 0 minutes ago: cf foretells " in capsys.readouterr().out
    assert cli.main(["status", "rehearsal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["forecast"]["rows"] == 18 * 6


def test_the_command_line_stops_where_it_is_enough(here, capsys, monkeypatch):
    """Cells that take their time, so that there is something left to stop."""
    draw = oracle.draw
    monkeypatch.setattr(oracle, "draw", lambda *asked: time.sleep(0.1) or draw(*asked))
    assert cli.main([*here, "--refit", "0.2s", "--until", "interval <= 100000%"]) == 0
    said = capsys.readouterr().out
    assert "stopped with" in said and "which is narrow enough" in said and "left to run" in said
