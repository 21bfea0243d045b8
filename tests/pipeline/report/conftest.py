"""One study, its analysis, its facts and its page, shared by the tests of the report."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pandas as pd
import pytest
from reported import analysis_of, make_study, points_of, records_of

from pipeline import Study
from pipeline.analysis import Analysis
from pipeline.report import Facts, render, study_facts
from pipeline.report.facts import (
    Coefficient,
    Error,
    Foretold,
    LawScore,
    LedgerFacts,
    NextRun,
    Reliability,
    Round,
)


@pytest.fixture(scope="session")
def study() -> Study:
    return make_study()


@pytest.fixture(scope="session")
def points(study) -> pd.DataFrame:
    return points_of(study)


@pytest.fixture(scope="session")
def analysis(study, points) -> Analysis:
    return analysis_of(study, points, laws=("m2", "cf", "a1"))


@pytest.fixture(scope="session")
def facts(study, points, analysis) -> Facts:
    records = records_of(study, missing=1, diverged=1, failed=2)
    url = "https://tracker.example/lab/unsl/runs/rehearsal-{cell}"
    return study_facts(
        analysis, records=records, points=points, date=datetime.date(2026, 2, 3), run_url=url, spend=True
    )


@pytest.fixture(scope="session")
def page(facts) -> str:
    return render(facts)


@pytest.fixture(scope="session")
def whole(facts) -> Facts:
    """Facts with every part that a report may have."""
    said = Foretold(
        entry=1,
        day="2026-02-03",
        law="cf",
        target={"parameters": 7e9},
        median=2.5,
        low=2.4,
        high=2.6,
        blind=True,
    )
    score = LawScore(law="cf", forecasts=2, error=0.1, bias=0.02, held_50=0.5, held_90=0.9, skill=0.25)
    return replace(
        facts,
        ledger=LedgerFacts(
            forecasts=3,
            scored=2,
            blind=1,
            waiting=1,
            entries=2,
            first="2026-02-03T04:05:06Z",
            last="2026-03-03T04:05:06Z",
            simplest="m2",
            not_scored={"the question changed: split": 4},
            laws=(score,),
            days=(replace(score, day="2026-02-03"), replace(score, day="2026-03-03")),
            reliability=(Reliability(law="cf", level=(0.1, 0.5, 0.9), held=(0.1, 0.4, 0.95)),),
            foretold=(said, replace(said, measured=2.55), replace(said, measured=3.0, blind=False)),
        ),
        rounds=tuple(
            Round(
                number=number,
                date="2026-02-03",
                fitted=10 * number,
                held_out=4,
                error=Error(value=0.1, bar=0.02),
                coefficients=(Coefficient(name="cf at N=1e9", value=1.7, low=1.6, high=1.8),),
            )
            for number in (1, 2)
        ),
        next=(NextRun(what="Train 1e9 parameters", buys="narrows 90% from ±8% to ±5%", command="unsl next x"),),
    )


@pytest.fixture(scope="session")
def whole_page(whole) -> str:
    return render(whole)
