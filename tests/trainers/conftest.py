"""How trainers are tested: on one thread, as they train; and pictures for those that need some."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads on a busy core wait for each other: a test of a second then takes a minute."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Twelve noisy pictures of each of four colours, as files."""
    root, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for name, colour in {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "grey": (99, 99, 99)}.items():
        (root / name).mkdir()
        for number in range(12):
            pixels = np.clip(colour + random.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02d}.png")
    return root


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
