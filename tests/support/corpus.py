"""A small corpus that is the same everywhere, for tests of language models; and a cache folder for the tests alone."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(tempfile.mkdtemp(prefix="unsl-corpus-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
os.environ["UNSL_CACHE"] = str(FOLDER / "cache")


def write_corpus(path: Path, *, sentences: int = 4_000, seed: int = 0) -> Path:
    """Sentences with a grammar that a small model can learn: subject, verb and object agree in their endings."""
    random = np.random.default_rng(seed)
    stems = ["kal", "mirut", "sob", "venda", "turi", "pol", "gesk", "lamo", "ixed", "norv", "fei", "zu"]
    with path.open("w", encoding="utf-8") as file:
        for _ in range(sentences):
            subject, verb, target = random.choice(stems, 3)
            ending = random.choice(["a", "os", "ine"])
            file.write(f"the {subject}{ending} {verb}{ending} near {random.integers(2, 9)} {target}{ending}.\n")
    return path


CORPUS = str(write_corpus(FOLDER / "corpus.txt"))
