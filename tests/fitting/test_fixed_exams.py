"""Exams are fixed: what a law was scored on once is what the next one is scored on.

Results are kept and published, and compared with later ones. Whoever changes an exam on purpose gives it another name,
and puts the digest that fails here into its place.
"""

from __future__ import annotations

import hashlib

import pytest

from fitting.exams import EXAMS, Exam

DIGESTS = {
    "bnsl-4digit-addition": "94233e00",
    "cg-transfer": "471770fb",
    "chinchilla-epoch": "7c238098",
    "clip-probe": "6b0719e8",
    "datablations": "587d7c93",
    "dmsl-slimpajama": "cb2ee52d",
    "double-descent-curves": "028e392e",
    "epochwise-double-descent": "d6799bb3",
    "ffcv-imagenet": "17794914",
    "isoflops-compiled": "897718fe",
    "llama2-context": "ef563a67",
    "misfitting": "965e4c8a",
    "mixinglaws-curves": "f6a333a2",
    "multipowerlaw-schedules": "cfa89067",
    "nano-width": "ef31682e",
    "openclip-laion": "36d2aece",
    "openlm-overtrain": "cfd1f058",
    "porian-isoflop": "1a47fa5e",
    "procgen-openai-ppo": "cc952cfd",
    "procgen-ppg-hparams": "e985eb90",
    "quest-bits": "6cf4081a",
    "rectified-sft": "e251d956",
    "revisiting-nsl": "09f0dce8",
    "scalebench-extra": "cdff641f",
    "simba-scaling": "95843b30",
    "steplaw-dense": "be3745f0",
    "supercollapse-mlp": "870dfc6e",
    "teacher-student-mlp": "d4b4e3ca",
    "value-rl-utd": "af06d06a",
    "vocab-scaling": "9ed57ca5",
}
"""Of the exams of every source."""


def definition(exam: Exam) -> str:
    """What decides an exam's rows and how they are scored."""
    metric = exam.metric
    limits = [f"{value:.9g}" if value is not None else "" for value in (metric.ceiling, metric.floor, metric.best)]
    split = (exam.half, exam.file, exam.rows, exam.held_out)
    columns = (exam.column, *map(dict, (exam.inputs, exam.hyperparameters, exam.levels)))
    return repr((exam.name, exam.domain, split, columns, metric.direction, limits))


def test_every_source_is_known():
    assert {exam.source.folder for exam in EXAMS} == set(DIGESTS)


@pytest.mark.parametrize("source", DIGESTS)
def test_an_exam_stays_what_it_was(source):
    text = "\n".join(definition(exam) for exam in EXAMS if exam.source.folder == source)
    assert hashlib.sha256(text.encode()).hexdigest()[:8] == DIGESTS[source]
