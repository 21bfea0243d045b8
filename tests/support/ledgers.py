"""Entries made up for tests of the ledger and of scores."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from fitting import Metric
from pipeline.analysis import Question
from pipeline.forecasts import Entry, LawForecast
from pipeline.forecasts.making import question_to_json
from pipeline.forecasts.scores import reach
from pipeline.store import Folder

NO_FIT = hashlib.sha256(b"").hexdigest()[:32]
"""Name of a fit of which nothing is known; `Ledger.verify` wants it kept like any other."""


def keep_no_fit(folder: Folder) -> None:
    folder.create(f"fits/{NO_FIT}.json", b"")


def law_forecast(
    law: str = "cf", median: Any = (2.0,), scale: float = 0.1, freedom: float = 8.0, coefficients: int = 1
) -> LawForecast:
    """A law whose distribution of ln(loss) has one scale everywhere."""
    median = np.asarray(median, float)
    scales = np.full(median.size, scale)
    half = {level: reach(level, scales, freedom) for level in (0.5, 0.9)}
    return LawForecast(
        law=law,
        status="converged",
        equation="a sum",
        coefficients={f"c{i}": 1.0 for i in range(coefficients)},
        fit=NO_FIT,
        median=median.tolist(),
        low_50=(median * np.exp(-half[0.5])).tolist(),
        high_50=(median * np.exp(half[0.5])).tolist(),
        low_90=(median * np.exp(-half[0.9])).tolist(),
        high_90=(median * np.exp(half[0.9])).tolist(),
        scale=scales.tolist(),
        freedom=freedom,
    )


def make_entry(**changes: Any) -> Entry:
    """One law and one target, `size` 8 beyond a fitted range of 1 to 4; more where the columns say so."""
    question = Question(about="a table", metric=Metric(name="loss"), inputs=("size",))
    settings: dict[str, Any] = {
        "time": "2026-11-22T10:00:00.000000Z",
        "about": "a study",
        "question": question_to_json(question),
        "rows": 10,
        "fingerprint": "rows",
        "ranges": {"size": [1.0, 4.0]},
        "assumed": {},
        "code": {},
        "keys": ["size"],
        "targets": {"size": [8.0]},
        "laws": (law_forecast(),),
    }
    settings |= changes
    count = len(next(iter(settings["targets"].values())))
    return Entry(**{"evaluation": [""] * count, "blind": [True] * count, **settings})
