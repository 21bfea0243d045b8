"""Forecasts from the command line: forecast, ledger, check."""

from __future__ import annotations

import json
import os
import re
import shlex

import numpy as np
import pandas
import pytest
from rehearsal import make_study, run_study

from pipeline import Split, cli
from pipeline.forecasts import Ledger
from pipeline.store import Store
from pipeline.verbs import verb as verb_module

AT = "parameters=2e4, dataset_size=1e5, step=2048"


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A study that has run; the command line finds it, and its store."""
    made = make_study(laws=("cf", "m2"), split=Split(held_out="dataset_size > 5000"))
    monkeypatch.setattr(verb_module, "load_study", lambda name, tier=None: made)
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    run_study(made, Store(str(tmp_path / "runs"), "rehearsal"))
    return made


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A table of somebody's own, and where its ledger would be."""
    monkeypatch.setenv("UNSL_STORE", str(tmp_path / "runs"))
    path = tmp_path / "My runs.csv"
    n, d = (axis.ravel() for axis in np.meshgrid([1e6, 3e6, 1e7, 3e7], [1e8, 3e8, 1e9, 3e9]))
    noise = np.exp(0.005 * np.random.default_rng(0).standard_normal(n.size))
    pandas.DataFrame({"N": n, "D": d, "loss": (1.7 + 400 / n**0.34 + 400 / d**0.28) * noise}).to_csv(path, index=False)
    return path


def unsl(*arguments: str) -> int:
    return cli.main(arguments)


def asked(capsys, *arguments: str):
    assert unsl(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


OWN = ("--metric", "loss", "--inputs", "N,D")


def test_a_forecast_says_how_far_how_sure_and_why(study, capsys):
    facts = asked(capsys, "forecast", "rehearsal", "--at", AT, "--level", "0.5")
    (target,) = facts["targets"]
    assert target["at"] == {"parameters": 2e4, "dataset_size": 1e5, "step": 2048}
    assert target["beyond"] == {"parameters": 5.0, "dataset_size": 50.0, "step": 4.0}
    assert target["blind"] and facts["entry"] is None
    for said in target["laws"].values():
        assert said["low"] < said["median"] < said["high"]
        assert said["coefficients"] + said["structures"] + said["noise"] == pytest.approx(1)
    assert target["laws"].keys() == {"cf", "m2"}
    wide = asked(capsys, "forecast", "rehearsal", "--at", AT, "--laws", "cf")["targets"][0]["laws"]
    assert wide.keys() == {"cf"} and wide["cf"]["low"] < target["laws"]["cf"]["low"]


def test_a_warning_where_the_exams_do_not_reach_and_where_nothing_varied(study, capsys):
    facts = asked(capsys, "forecast", "rehearsal", "--at", AT)
    assert any(text.startswith("parameters lies up to 5 times outside") for text in facts["warnings"])
    assert any(text.startswith("dataset_size was 2000 in every fitted row") for text in facts["warnings"])
    near = asked(capsys, "forecast", "rehearsal", "--at", "parameters=5e3, dataset_size=2e3, step=512")
    assert near["warnings"] == []
    assert unsl("forecast", "rehearsal", "--at", AT) == 0
    out = capsys.readouterr().out
    assert "warning: parameters lies up to 5 times" in out
    first, second = [line for line in out.splitlines() if re.search(r" (cf|m2) +[\d.]+ ", line)]
    assert "50x in dataset_size" in first and "dataset_size" not in second


def test_everything_fits_what_was_held_out_too(study, capsys):
    assert asked(capsys, "forecast", "rehearsal", "--at", AT)["rows"] == 24
    assert asked(capsys, "forecast", "rehearsal", "--at", AT, "--everything")["rows"] == 48


def test_without_a_place_a_study_forecasts_what_it_holds_out(study, capsys):
    facts = asked(capsys, "forecast", "rehearsal")
    assert len(facts["targets"]) == 24 and not any(target["blind"] for target in facts["targets"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--at", "parameter=2e4, dataset_size=1e5, step=2048"), "did you mean 'parameters'"),
        (("--at", "parameters=many, dataset_size=1e5, step=2048"), "which is not a number"),
        (("--at", "parameters=-2, dataset_size=1e5, step=2048"), "positive finite numbers"),
        (("--at", "parameters=2e4"), "must say dataset_size, step too"),
        (("--at", "parameters=2e3, dataset_size=2e3, step=100"), "lies outside what was fitted"),
        (("--at", AT, "--laws", "cf,dc"), "dc says nothing here"),
        (("--at", AT, "--laws", "nosuch"), "nosuch"),
        (("--at", AT, "--level", "90"), "must be a probability between 0 and 1"),
    ],
)
def test_a_bad_question_is_one_line_and_exit_code_2(study, capsys, arguments, message):
    assert unsl("forecast", "rehearsal", *arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1


def test_inside_is_allowed_where_it_is_meant(study):
    assert unsl("forecast", "rehearsal", "--at", "parameters=2e3, dataset_size=2e3, step=100", "--inside") == 0


def test_a_table_is_forecast_written_down_and_scored(runs, capsys):
    table = str(runs)
    assert unsl("forecast", table) == 2
    assert "needs --metric" in capsys.readouterr().err
    assert unsl("forecast", table, *OWN) == 2
    assert "say what to forecast" in capsys.readouterr().err
    at = ("--at", "N=1e8,D=1e10", "--at", "N=2e8,D=2e10", "--laws", "cf,m2")
    assert unsl("check", table) == 2
    assert f"was written down yet: `unsl forecast {shlex.quote(str(runs))} --ledger`" in capsys.readouterr().err
    for said in ("written as entry 1", "already there as entry 1"):
        assert unsl("forecast", table, *OWN, *at, "--ledger") == 0
        assert said in capsys.readouterr().err
    facts = asked(capsys, "check", table)
    assert (facts["scored"], facts["waiting"]) == (0, 4)
    more = pandas.DataFrame({"N": [1e8], "D": [1e10], "loss": [1.7 + 400 / 1e8**0.34 + 400 / 1e10**0.28]})
    pandas.concat([pandas.read_csv(runs), more]).to_csv(runs, index=False)
    facts = asked(capsys, "check", table)
    assert (facts["scored"], facts["blind"], facts["waiting"]) == (2, 2, 2)
    law = next(row for row in facts["laws"] if row["law"] == "cf")
    assert law["rmsle"] < 0.1
    assert unsl("check", table) == 0
    assert "2 forecasts scored, 2 of them blind; 2 wait" in capsys.readouterr().out


def test_the_ledger_is_listed_and_verified(study, capsys, tmp_path):
    assert unsl("forecast", "rehearsal", "--at", AT, "--ledger") == 0
    assert unsl("forecast", "rehearsal", "--ledger") == 0
    capsys.readouterr()
    facts = asked(capsys, "ledger", "rehearsal", "--verify")
    assert facts["verified"] and [one["number"] for one in facts["entries"]] == [1, 2]
    assert [one["blind"] for one in facts["entries"]] == [2, 0]
    assert unsl("ledger", "rehearsal", "--verify") == 0
    assert "verified: nothing was changed" in capsys.readouterr().out
    folder = Store(str(tmp_path / "runs"), "rehearsal").folder
    os.remove(folder.path("ledger/00000001.json"))
    assert unsl("ledger", "rehearsal", "--verify") == 1
    assert "00000001.json: missing" in capsys.readouterr().out
    assert unsl("ledger", "rehearsal") == 2
    assert unsl("check", "rehearsal") == 1
    assert "the ledger does not hold" in capsys.readouterr().out


def test_an_empty_ledger_is_no_error(study, capsys):
    assert unsl("ledger", "rehearsal", "--verify") == 0
    assert "0 entries" in capsys.readouterr().out


def test_a_check_can_be_drawn(study, tmp_path, capsys):
    assert unsl("forecast", "rehearsal", "--at", "parameters=4e3, dataset_size=8e3, step=512", "--ledger") == 0
    figure = tmp_path / "figure.svg"
    assert unsl("check", "rehearsal", "--figure", str(figure)) == 2
    assert "nothing to draw" in capsys.readouterr().err


def test_what_was_published_is_witnessed(study, server, capsys, tmp_path):
    assert unsl("forecast", "rehearsal", "--at", AT, "--ledger") == 0
    assert unsl("ledger", "rehearsal", "--publish") == 0
    assert "published up to entry 1" in capsys.readouterr().out
    (artifact,) = (one for one in server.artifacts.made if one.kind == "forecasts")
    assert artifact.committed and artifact.name == "rehearsal-ledger"
    folder = Store(str(tmp_path / "runs"), "rehearsal").folder
    assert artifact.files["00000001.json"] == folder.read("ledger/00000001.json")
    receipt = Ledger(folder).receipt()
    assert receipt.number == 1 and receipt.digest
    os.remove(folder.path("ledger/00000001.json"))
    os.remove(folder.path("ledger/head.json"))
    assert unsl("ledger", "rehearsal", "--verify") == 1
    assert "was once entry 1" in capsys.readouterr().out


def test_publishing_without_a_key_says_so(study, no_account, capsys):
    assert unsl("forecast", "rehearsal", "--at", AT, "--ledger") == 0
    assert unsl("ledger", "rehearsal", "--publish") == 2
    assert "W&B has no key here" in capsys.readouterr().err


def test_publishing_nothing_says_so(study, capsys):
    assert unsl("ledger", "rehearsal", "--publish") == 2
    assert "no entry to publish" in capsys.readouterr().err


def test_tables_of_one_name_have_ledgers_of_their_own(runs, tmp_path, capsys):
    other = tmp_path / "elsewhere" / runs.name
    other.parent.mkdir()
    other.write_bytes(runs.read_bytes())
    at = ("--at", "N=1e8,D=1e10", "--laws", "cf", "--ledger")
    assert unsl("forecast", str(runs), *OWN, *at) == 0
    capsys.readouterr()
    assert len(asked(capsys, "ledger", str(runs))["entries"]) == 1
    assert asked(capsys, "ledger", str(other))["entries"] == []


def test_a_budget_is_allocated_with_its_figure(runs, tmp_path, capsys):
    figure = tmp_path / "isoflop.svg"
    cost = ("--cost", "6 * N * D", "--budget", "1e18,1e19", "--law", "cf")
    facts = asked(capsys, "allocate", str(runs), *OWN, *cost, "--figure", str(figure))
    (answer,) = facts["answers"]
    for one in answer["optima"]:
        assert 6 * one["at"]["N"] * one["at"]["D"] == pytest.approx(one["budget"])
        assert one["interval"][0] < one["metric"] < one["interval"][1]
    assert answer["exponents"]["N"][0] + answer["exponents"]["D"][0] == pytest.approx(1)
    assert "isoFLOP" not in figure.read_text() and "grows as budget^" in figure.read_text()
    assert unsl("allocate", str(runs), *OWN, *cost, "--within", "N <= 2e7") == 0
    assert "half and twice as much" in capsys.readouterr().out


def test_the_answer_under_another_counting_of_parameters(runs, capsys):
    table = pandas.read_csv(runs)
    table.assign(without=table.N * 0.8).to_csv(runs, index=False)
    cost = ("--cost", "6 * N * D", "--budget", "1e18", "--law", "cf", "--counting", "without")
    answers = asked(capsys, "allocate", str(runs), *OWN, *cost)["answers"]
    assert [one["counting"] for one in answers] == ["N", "without"]
    assert answers[0]["optima"][0]["at"]["D"] < answers[1]["optima"][0]["at"]["D"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--cost", "6 * N * M", "--budget", "1e20"), "the cost names M"),
        (("--cost", "6 * N * D", "--budget", "much"), "give numbers, such as 1e21,1e22"),
        (("--cost", "6 * N * D", "--budget", "-1"), "give positive finite numbers"),
        (("--cost", "6 * N * D", "--budget", "1e20", "--fix", "N"), "write NAME=NUMBER"),
        (("--cost", "6 * N * D", "--budget", "1e20", "--law", "nosuch"), "nosuch"),
        (("--cost", "6 * N * D", "--budget", "1e20", "--counting", "M"), "there is no such column"),
        (("--cost", "6 * N * D > 3", "--budget", "1e20"), "is not a number"),
    ],
)
def test_a_bad_allocation_is_one_line_and_exit_code_2(runs, capsys, arguments, message):
    assert unsl("allocate", str(runs), *OWN, "--law", "cf", *arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1
