"""When a round is due."""

from __future__ import annotations

import pytest

from pipeline import PipelineError
from pipeline.rescale import is_due, parse_period
from pipeline.rescale.schedule import unix_seconds


@pytest.mark.parametrize(
    "text, seconds", [("7d", 604_800), ("12h", 43_200), ("30m", 1_800), ("90s", 90), ("1w", 604_800)]
)
def test_periods(text, seconds):
    assert parse_period(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-1d", "7 days", "nand", "1e3d"])
def test_what_is_no_period(text):
    with pytest.raises(PipelineError, match="is no period: write 30m, 12h, 7d or 1w"):
        parse_period(text)


def test_a_clock_that_strikes_a_little_early_is_heard():
    """The last round began some seconds after its own stroke."""
    week = parse_period("7d")
    assert is_due(0.0, every=week, now=week) and is_due(0.0, every=week, now=week - 3600)
    assert is_due(0.0, every=week, now=0.985 * week), "two hundredths of a period"
    assert not is_due(0.0, every=week, now=0.975 * week)


def test_dates_are_utc():
    assert unix_seconds("1970-01-02T00:00:01Z") == 86_401
