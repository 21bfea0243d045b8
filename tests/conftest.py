"""Fixtures for every test."""

from __future__ import annotations

import pytest

from pipeline.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    """An empty store for the study that `rehearsal.make_study` makes."""
    return Store(str(tmp_path / "runs"), "rehearsal")
