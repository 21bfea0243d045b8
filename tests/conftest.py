"""Fixtures for every test, and how the test process ends."""

from __future__ import annotations

import os
import sys

import pytest

from pipeline.store import Store

_VERDICT = pytest.StashKey[int]()
_LONGEST = (
    "test_chaos.py",
    "test_cluster.py",
    "test_contract.py",
    "test_law_contract.py",
    "test_end_to_end.py",
    "test_cli.py",
    "test_procgen.py",
    "test_vision.py",
)
"""Begun first, so that of several processes none is left alone with one of them at the end."""


@pytest.fixture
def store(tmp_path) -> Store:
    """An empty store for the study that `rehearsal.make_study` makes."""
    return Store(str(tmp_path / "runs"), "rehearsal")


def pytest_collection_modifyitems(items) -> None:
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_sessionfinish(session, exitstatus) -> None:
    session.config.stash[_VERDICT] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config) -> None:
    """End at once where Ray has run in this process, with the verdict that was printed.

    Ray's threads outlive `ray.shutdown` once a streaming generator was read, and the process has crashed while they
    and the interpreter were torn down, after every test had passed. How `unsl` itself ends is tested from outside, by
    the exit codes of real processes.
    """
    if "ray" in sys.modules and _VERDICT in config.stash:
        config.get_terminal_writer().flush()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_VERDICT])
