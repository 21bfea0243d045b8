"""What a study asked, and since when: every claim of a forecast rests on what was fixed before it.

    STORE/STUDY/questions/0002-1f2e3d4c5b6a7f80.json

A file an asked question, written once: its number, and a digest of the question alone. It says when the question was
first asked, and how much was measured by then, so that nobody has to believe that a split came before its results.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from time import gmtime, strftime
from typing import Any

from pipeline.errors import PipelineError
from pipeline.store.files import Folder
from pipeline.study import Study

FOLDER = "questions"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with the moment from which it was asked."""

    question: Mapping[str, Any]
    """`metric`, `split`, `excluded`, `inputs`, `hyperparameters` and `laws`, as JSON holds them; `growth` where the
    study grows, `tasks` where it has any."""
    digest: str
    since: str = ""
    """UTC, as `2026-11-22T10:15:00Z`, by the asking machine's clock; empty where it is not recorded yet."""
    cells: int = 0
    """Cells that had points by then."""
    points: int = 0

    @classmethod
    def by(cls, study: Study) -> Asked:
        """What a study asks now."""
        asks = {
            "metric": dataclasses.asdict(study.metric),
            "split": study.split.held_out,
            "excluded": dict(study.split.excluded),
            "inputs": list(study.inputs),
            "hyperparameters": list(study.hyperparameters),
            "laws": list(study.laws),
        }
        # Absent where there are none, so that what was asked before studies had them is still the same.
        if study.tasks:
            asks["tasks"] = list(study.tasks)
        if study.growth:
            asks["growth"] = dataclasses.asdict(study.growth)
        question = json.loads(json.dumps(asks))
        text = json.dumps(question, sort_keys=True, separators=(",", ":"))
        return cls(question=question, digest=hashlib.sha256(text.encode()).hexdigest()[:16])


def read_questions(folder: Folder) -> list[Asked]:
    """Every question that was recorded, the first first. Asked again, a question is there again."""
    names = [f"{FOLDER}/{name}" for name in folder.names(FOLDER, ending=".json")]
    found = folder.read_all(names)
    return [_from_bytes(name, found[name]) for name in names if name in found]


def _from_bytes(name: str, data: bytes) -> Asked:
    try:
        return Asked(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise PipelineError(f"{name} is damaged ({error}): move it out of the store") from error


def record(folder: Folder, asked: Asked, *, cells: int, points: int) -> bool:
    """Keep a question unless it is the last that was asked. Anyone may, with or without the lease. Raises OSError."""
    known = read_questions(folder)
    if known and known[-1].digest == asked.digest:
        return False
    now = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
    dated = dataclasses.replace(asked, since=now, cells=cells, points=points)
    return folder.create(f"{FOLDER}/{len(known) + 1:04d}-{asked.digest}.json", json.dumps(asdict(dated)).encode())


def changes(known: Sequence[Asked], now: Asked) -> list[str]:
    """What was changed after something had been measured, in words; nothing where all was fixed before."""
    said = []
    for before, after in zip(known, known[1:], strict=False):
        if after.cells:
            what = _differing(before, after)
            said.append(f"{what} changed on {after.since[:10]}, after {after.cells:,} cells were measured")
    if known and known[-1].digest != now.digest:
        said.append(f"{_differing(known[-1], now)} changed since {known[-1].since[:10]}, which no run has recorded yet")
    return said


def _differing(before: Asked, after: Asked) -> str:
    asked = dict.fromkeys((*after.question, *before.question))
    names = [name for name in asked if before.question.get(name) != after.question.get(name)]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names) or "the question"
