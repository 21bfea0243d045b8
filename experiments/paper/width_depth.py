"""Are width and depth two inputs of one law?

Paper     The architecture's width and depth enter the law as inputs of their own, beside training time.
Ours      Perceptrons of width 8 to 128 and depth 1 to 6 on parity of 3 of 24 bits: deeper ones learn it ten times as
          soon. Fitted: up to width 64, depth 3 and 1,024 steps.
Tiers     cpu    50 models: three minutes on a core.
          gpu    parity of 4 of 48 bits, up to width 1,024 and depth 12, 105 models: 10 H100-hours.
          paper  the same up to width 4,096 and depth 24, 189 models: 18 H100-hours.
Expect    Losses stay at ln 2, fall within a factor of two in steps and end at 0.199 nats. How soon they fall depends on
          depth more than on width: a break in steps whose place the other two inputs shift.
Run       unsl reproduce width_depth
"""

from dataclasses import replace

from pipeline import Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS

_CPU = Study(
    name="paper-width-depth",
    trainer="parity",
    fixed={"bits": 24, "parity_bits": 3, "label_noise": 0.05, "learning_rate": 3e-3}
    | {"steps": 4_096, "batch_size": 64, "test_size": 2_048},
    axes=[Axis("width", (8, 16, 32, 64, 128)), Axis("depth", (1, 2, 3, 4, 6))],
    seeds=(0, 1),
    inputs=("width", "depth", "step"),
    metric=Metric(name="loss"),
    split=Split(held_out="width > 64 or depth > 3 or step > 2048", excluded={"warm-up": "step < 64"}),
    laws=PAPER_LAWS,
)

_TINY = replace(
    _CPU,
    name="paper-width-depth-tiny",
    fixed={**_CPU.fixed, "bits": 16, "parity_bits": 2, "steps": 256, "test_size": 256},
    axes=[Axis("width", (8, 16)), Axis("depth", (1, 2))],
    seeds=(0,),
    split=Split(held_out="step > 128"),
    laws=("m2", "cf"),
)

_GPU = replace(
    _CPU,
    name="paper-width-depth-gpu",
    device="gpu",
    fixed={**_CPU.fixed, "bits": 48, "parity_bits": 4, "steps": 65_536, "batch_size": 256, "test_size": 8_192}
    | {"learning_rate": 1e-3, "dataset_size": 2**24},
    axes=[Axis("width", (64, 128, 256, 512, 1_024)), Axis("depth", (1, 2, 3, 4, 6, 8, 12))],
    seeds=(0, 1, 2),
    split=Split(held_out="width > 512 or depth > 6 or step > 32768", excluded={"warm-up": "step < 256"}),
)

_PAPER = replace(
    _GPU,
    name="paper-width-depth-paper",
    axes=[Axis("width", (64, 128, 256, 512, 1_024, 2_048, 4_096)), Axis("depth", (1, 2, 3, 4, 6, 8, 12, 16, 24))],
    split=Split(held_out="width > 1024 or depth > 8 or step > 32768", excluded={"warm-up": "step < 256"}),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(tiers=TIERS)
