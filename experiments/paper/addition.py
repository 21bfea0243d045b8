"""When does a transformer learn to add, with a scratchpad and without?

Paper     One law, fitted to each arithmetic task by itself, extrapolates the sharp transitions of transformers.
Ours      Sums of two digits with a scratchpad and without, over model size, unique sums and steps: two tasks, one fit
          each. Fitted: up to 7 thousand parameters, 2,000 sums and 512 steps.
Tiers     cpu    24 models: five minutes on a core.
          gpu    3 and 5 digits, both ways, 288 models of 17 lengths each: 3.4 H100-hours.
          paper  3, 5 and 7 digits, up to 75 million parameters, 1,080 models: 265 H100-hours.
Expect    With a scratchpad losses pause near 0.43, where carries are not understood yet, and fall below 0.01. Without
          one they fall later, and with 500 sums they climb to twice what they began at: the table is memorised.
Run       unsl reproduce addition
"""

from dataclasses import replace

from pipeline import Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS

_CPU = Study(
    name="paper-addition",
    trainer="addition",
    fixed={"digits": 2, "depth": 2, "steps": 1_024, "batch_size": 64, "test_size": 256, "learning_rate": 3e-3},
    axes=[
        Axis("scratchpad", (True, False)),
        Axis("width", (8, 12, 16, 32)),
        Axis("dataset_size", (500, 2_000, 8_000)),
    ],
    inputs=("parameters", "dataset_size", "step"),
    tasks=("scratchpad",),
    metric=Metric(name="loss"),
    split=Split(held_out="parameters > 1e4 or dataset_size > 4000 or step > 512", excluded={"warm-up": "step < 32"}),
    laws=PAPER_LAWS,
    cohort_size=4,
)

_TINY = replace(
    _CPU,
    name="paper-addition-tiny",
    fixed={**_CPU.fixed, "digits": 1, "depth": 1, "steps": 64, "batch_size": 16, "test_size": 20},
    axes=[Axis("scratchpad", (True, False)), Axis("width", (8,)), Axis("dataset_size", (20, 30, 50, 70))],
    split=Split(held_out="step > 46"),
    laws=("m2", "cf"),
)

_GPU = replace(
    _CPU,
    name="paper-addition-gpu",
    device="gpu",
    fixed={"depth": 4, "heads": 8, "steps": 8_192, "batch_size": 256, "schedule": "anneal"},
    axes=[
        Axis("digits", (3, 5)),
        Axis("scratchpad", (True, False)),
        Axis("width", (32, 64, 128, 256)),
        Axis("dataset_size", (2_000, 16_000, 128_000)),
        Axis("learning_rate", (1e-3, 3e-3)),
    ],
    seeds=(0, 1, 2),
    hyperparameters=("learning_rate",),
    tasks=("digits", "scratchpad"),
    split=Split(held_out="parameters > 1e6 or dataset_size > 1e5 or step > 4096"),
    cohort_size=16,
)

_PAPER = replace(
    _GPU,
    name="paper-addition-paper",
    fixed={"depth": 6, "heads": 8, "steps": 65_536, "batch_size": 512, "schedule": "anneal"},
    axes=[
        Axis("digits", (3, 5, 7)),
        Axis("scratchpad", (True, False)),
        Axis("width", (64, 128, 256, 512, 1_024)),
        Axis("dataset_size", (8_000, 64_000, 512_000)),
        Axis("learning_rate", (3e-4, 1e-3, 3e-3)),
    ],
    seeds=(0, 1, 2, 3),
    split=Split(held_out="parameters > 1e7 or dataset_size > 1e5 or step > 32768"),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(tiers=TIERS)
