"""What a study asked is in its store, dated, and a change is said wherever a claim is made."""

from __future__ import annotations

import json
import time

import pytest
from rehearsal import make_study, run_study

from pipeline import Metric, PipelineError, Split, cli
from pipeline.plan import make_plan
from pipeline.store import Folder, Store
from pipeline.verbs import verb as verbs

OTHER = Split(held_out="parameters > 500 and dataset_size > 4000")


@pytest.fixture
def noon(monkeypatch):
    """The question is asked at noon of a day that the test sets."""

    class Clock:
        day = 20

    monkeypatch.setattr(
        "pipeline.store.question.gmtime", lambda: time.strptime(f"2026-11-{Clock.day} 12", "%Y-%m-%d %H")
    )
    return Clock


def test_a_question_is_recorded_once_and_dated(store, noon):
    assert store.questions() == []
    assert store.ask(make_study())
    assert not store.ask(make_study(seeds=(0, 1, 2))), "a grown grid asks the same"
    [asked] = store.questions()
    assert (asked.since, asked.cells, asked.points) == ("2026-11-20T12:00:00Z", 0, 0)
    assert asked.question["split"] == "parameters > 2000"
    assert asked.question["metric"]["name"] == "loss"
    assert store.question_changes(make_study()) == []


def test_a_change_after_measuring_is_said_and_one_before_is_not(store, noon):
    store.ask(make_study(split=OTHER))
    store.ask(make_study())
    run_study(make_study(), store)
    noon.day = 22
    changed = make_study(split=OTHER, inputs=("parameters", "dataset_size"))
    [unrecorded] = store.question_changes(changed)
    assert unrecorded == "split and inputs changed since 2026-11-20, which no run has recorded yet"
    store.ask(changed)
    said = ["split and inputs changed on 2026-11-22, after 8 cells were measured"]
    assert store.question_changes(changed) == said
    assert [one.points for one in store.questions()] == [0, 0, 48]
    noon.day = 23
    store.ask(make_study())
    assert store.question_changes(make_study()) == [*said, said[0].replace("22", "23")], "back is another change"
    first, second, third, fourth = store.questions()
    assert second.digest == fourth.digest and len({one.digest for one in (first, second, third)}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"metric": Metric(name="loss", floor=0.1)},
        {"split": Split(held_out="parameters > 2000", excluded={"early": "step < 20"})},
        {"hyperparameters": ("learning_rate",)},
        {"laws": ("cf", "m2")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_question_counts(store, change):
    store.ask(make_study())
    assert store.ask(make_study(**change))


def test_plan_fit_and_report_say_it(store, noon, monkeypatch, capsys, tmp_path):
    studies = {"rehearsal": make_study()}
    monkeypatch.setattr(verbs, "load_study", lambda name, tier=None: studies[name])
    root = str(tmp_path / "runs")

    def unsl(verb, *options):
        assert cli.main([verb, "rehearsal", "--store", root, *options]) == 0
        printed = capsys.readouterr()
        return printed.out + printed.err

    unsl("run", "--executor", "inline", "--device", "cpu", "--wandb", "off")
    assert "changed" not in unsl("plan") + unsl("fit") + unsl("report", "--wandb", "off")
    noon.day = 22
    studies["rehearsal"] = make_study(split=OTHER)
    assert "split changed since 2026-11-20, which no run has recorded yet" in unsl("plan")
    said = "split changed on 2026-11-22, after 8 cells were measured"
    assert said in unsl("fit")
    assert said in unsl("plan")
    assert said in unsl("report", "--wandb", "off")
    assert said in (tmp_path / "runs" / "rehearsal" / "report.html").read_text()
    assert said in unsl("run", "--executor", "inline", "--device", "cpu", "--wandb", "off")
    assert said in json.loads(unsl("fit", "--json"))["question_changes"]


def test_two_who_ask_at_once_both_are_recorded(store, monkeypatch):
    """Neither's file takes the other's place."""
    real = Folder.create

    def late(self, name, data):
        monkeypatch.setattr(Folder, "create", real)
        Store(store.folder.url.rpartition("/")[0], "rehearsal").ask(make_study(split=OTHER))
        return real(self, name, data)

    monkeypatch.setattr(Folder, "create", late)
    store.ask(make_study())
    assert {one.question["split"] for one in store.questions()} == {"parameters > 2000", OTHER.held_out}


def test_a_store_that_one_may_only_read_is_one_clear_error(store, monkeypatch):
    def refused(self, name, data):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Folder, "create", refused)
    with pytest.raises(PipelineError, match="cannot be written.*Permission denied"):
        store.ask(make_study())
    assert make_plan(make_study(), store).question_changes == []
