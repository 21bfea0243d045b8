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
    Allocation,
    Coefficient,
    Error,
    ForecastEntry,
    Ledger,
    NextRun,
    Optimum,
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
    return study_facts(analysis, records=records, points=points, date=datetime.date(2026, 2, 3), run_url=url)


@pytest.fixture(scope="session")
def page(facts) -> str:
    return render(facts)


@pytest.fixture(scope="session")
def whole(facts) -> Facts:
    """Facts with every part that a report may have."""
    entry = ForecastEntry(
        date="2026-02-03T04:05:06Z", law="cf", target="parameters=7e9", median=2.5, low=2.4, high=2.6, blind=True
    )
    return replace(
        facts,
        ledger=Ledger(
            entries=(entry, replace(entry, measured=2.55)),
            forecasts=2,
            scored=1,
            blind=2,
            reliability=(Reliability(level=0.9, held=0.88, forecasts=40),),
        ),
        allocation=Allocation(
            law="cf",
            cost="6 * N * D",
            path=(Optimum(budget=1e21, loss=2.2, at={"N": 1e9}, low={"N": 8e8}, high={"N": 2e9}),),
        ),
        rounds=(
            Round(
                number=1,
                date="2026-02-03",
                fitted=10,
                held_out=4,
                error=Error(value=0.1, bar=0.02),
                coefficients=(Coefficient(name="E", value=1.7, low=1.6, high=1.8),),
            ),
        ),
        next=(NextRun(what="Train 1e9 parameters", buys="narrows 90% from ±8% to ±5%", command="unsl next x"),),
    )
