"""A report at W&B: what a server on loopback is sent, in place the second time, and what is said where it cannot be."""

from __future__ import annotations

import builtins
import json

import pytest
from reported import HOSTILE

from pipeline import PipelineError, cli
from pipeline.errors import OutsideError
from pipeline.report import Facts, publish_report
from pipeline.report.facts import Coefficient, Error, LawFacts, MetricFacts, Points, Provenance, TaskFacts
from pipeline.store import Folder

LAW = LawFacts(
    law="cf",
    status="converged",
    seconds=1.0,
    structure="N + D",
    error_fitted=Error(value=0.01, bar=0.002),
    error_held_out=Error(value=0.02, bar=0.004),
    reach=1.1,
    holds=0.9,
    coefficients=(Coefficient(name="E", value=1.69),),
    latex=r"y = E + A_{N} N^{-\\alpha_{N}}",
    predicted=(2.0,),
)


def facts(question: str = "Does it scale?", law: LawFacts = LAW) -> Facts:
    points = Points(total=1, columns={}, loss=(2.0,), held_out=(True,))
    task = TaskFacts(
        name="", fitted=1, held_out=1, excluded={}, columns=(), idle=(), points=points, laws=(law,), slices=()
    )
    source = Provenance(trainer="oracle version 1", command="unsl report rehearsal", split="N > 1")
    return Facts(
        name="rehearsal",
        kind="study",
        question=question,
        metric=MetricFacts(name="loss"),
        tasks=(task,),
        provenance=source,
    )


def test_a_report_is_written_once_and_brought_up_to_date_in_place(server, tmp_path):
    pytest.importorskip("wandb_workspaces", reason="reports at W&B: pip install -e '.[dev]'")
    folder = Folder(str(tmp_path))
    url = publish_report(facts(), ["predictions"], folder)
    assert url.endswith("/tester/unsl/reports/Does-it-scale?--report0")
    assert publish_report(facts(HOSTILE), ["predictions", "residuals"], folder).endswith("report0")
    assert list(server.reports) == ["report0"], "the same report, not another"
    sent = server.reports["report0"]
    assert sent["displayName"] == HOSTILE and sent["projectName"] == "unsl" and sent["type"] == "runs"
    text = json.dumps(json.loads(sent["spec"]))
    for told in (
        "**cf** forecasts the 1 held-out points",
        "0.0200 \\u00b1 0.0040",
        "unsl report rehearsal",
        "A_{N} N^",
    ):
        assert told in text, told
    for name in ("fit/figures/predictions", "fit/figures/residuals", "points/loss"):
        assert f'"{name}"' in text, name
    server.reports.clear()  # a user deletes it there
    assert publish_report(facts(), [], folder).endswith("report0") and len(server.reports) == 1


def test_a_server_that_refuses_is_one_clear_error(server, tmp_path):
    pytest.importorskip("wandb_workspaces", reason="reports at W&B: pip install -e '.[dev]'")
    server.refused = ("upsertView",)
    with pytest.raises(OutsideError, match="W&B did not take the report"):
        publish_report(facts(), [], Folder(str(tmp_path)))
    assert not (tmp_path / "wandb_report.json").exists()


def test_without_the_package_it_is_said_what_to_install(server, tmp_path, monkeypatch):
    imported = builtins.__import__

    def without(name, *rest):
        if name.startswith("wandb_workspaces"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(PipelineError, match=r"pip install 'unsl\[wandb-report\]'"):
        publish_report(facts(), [], Folder(str(tmp_path)))


def test_without_a_key_it_is_said_how_to_log_in(server, tmp_path, monkeypatch, capsys):
    pytest.importorskip("wandb_workspaces", reason="reports at W&B: pip install -e '.[dev]'")
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(PipelineError, match="wandb login"):
        publish_report(facts(), [], Folder(str(tmp_path)))
    # The command says so before it fits anything.
    assert cli.main(["report", "quickstart", "--store", str(tmp_path), "--wandb"]) == 2
    assert "wandb login" in capsys.readouterr().err
