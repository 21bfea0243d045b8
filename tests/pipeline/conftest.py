"""Fixtures for tests of tracking, and of what is stored on S3."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from s3_server import BUCKET, Faults, S3Server
from tracked import FakeRun
from wandb_stub import WandbStub

from pipeline.store import Folder


def forget_wandb() -> None:
    """wandb reads the environment once a process: what it read must not stay for the tests after this one."""
    if wandb := sys.modules.get("wandb"):
        wandb.teardown()


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    """As on a machine where nobody has logged in to W&B."""
    for name in list(os.environ):
        if name.startswith("WANDB_") and name not in ("WANDB_SERVICE", "WANDB_ERROR_REPORTING"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("NETRC", raising=False)
    yield
    forget_wandb()


@pytest.fixture
def folder(tmp_path) -> str:
    return str(tmp_path / "tracked")


@pytest.fixture
def made_up_server(monkeypatch):
    import wandb

    monkeypatch.setenv("WANDB_API_KEY", "12345")
    monkeypatch.setattr(FakeRun, "server", {})
    monkeypatch.setattr(FakeRun, "live", set())
    monkeypatch.setattr(wandb, "init", lambda **settings: FakeRun(**settings))
    yield FakeRun
    forget_wandb()


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The real wandb's other side, on loopback."""
    with WandbStub() as stub:
        for name, value in stub.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        yield stub
        forget_wandb()
        assert not stub.errors


@pytest.fixture(scope="module")
def s3_running() -> Iterator[S3Server]:
    with S3Server.running() as server:
        yield server


@pytest.fixture
def s3(s3_running) -> Iterator[S3Server]:
    """An S3 protocol server with an empty bucket and no faults."""
    Folder(f"s3://{BUCKET}").remove_below("")
    yield s3_running
    s3_running.faults = Faults()
