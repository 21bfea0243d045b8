"""What do more answers at inference buy, beside model size and training time?

Paper     Inference steps are an input of the law like any other.
Ours      Two-digit sums without a scratchpad, up to 32 answers a question: the chance that none of k answers is right.
          Fitted: up to 8 answers, 7 thousand parameters and 512 steps.
Tiers     cpu    6 models: two minutes on a core.
          gpu    5 digits, up to 256 answers, 36 models: an H100-hour.
          paper  7 digits, up to 1,024 answers, 48 models: 5 H100-hours.
Expect    Before a model can add, answers are lottery tickets; while it learns, 32 of them turn one right in ten into
          nine in ten. A unit of k is worth more the further a model has come.
Run       unsl reproduce inference
"""

from dataclasses import replace

from pipeline import Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS

_CPU = Study(
    name="paper-inference",
    trainer="addition",
    fixed={"digits": 2, "scratchpad": False, "depth": 2, "steps": 1_024, "batch_size": 64, "learning_rate": 3e-3}
    | {"answers": 32, "sampled_questions": 128, "test_size": 256},
    axes=[Axis("width", (12, 16, 32)), Axis("dataset_size", (2_000, 8_000))],
    inputs=("parameters", "step", "inference_steps"),
    metric=Metric(name="pass_error"),
    split=Split(
        held_out="inference_steps > 8 or step > 512 or parameters > 1e4", excluded={"nothing learned": "step < 64"}
    ),
    laws=PAPER_LAWS,
    cohort_size=1,
)

_TINY = replace(
    _CPU,
    name="paper-inference-tiny",
    fixed={**_CPU.fixed, "digits": 1, "depth": 1, "steps": 128, "batch_size": 16, "answers": 4}
    | {"sampled_questions": 20, "test_size": 20},
    axes=[Axis("width", (8, 16)), Axis("dataset_size", (80,))],
    split=Split(held_out="inference_steps > 2"),
    laws=("m2", "cf"),
)

_GPU = replace(
    _CPU,
    name="paper-inference-gpu",
    device="gpu",
    fixed={"digits": 5, "scratchpad": False, "depth": 4, "heads": 8, "steps": 16_384, "batch_size": 256}
    | {"learning_rate": 1e-3, "answers": 256, "sampled_questions": 512},
    axes=[Axis("width", (64, 128, 256)), Axis("dataset_size", (16_000, 64_000, 256_000, 1_024_000))],
    seeds=(0, 1, 2),
    inputs=("parameters", "dataset_size", "step", "inference_steps"),
    split=Split(
        held_out="inference_steps > 64 or step > 8192 or parameters > 1e6 or dataset_size > 5e5",
        excluded={"nothing learned": "step < 256"},
    ),
    cohort_size=8,
)

_PAPER = replace(
    _GPU,
    name="paper-inference-paper",
    fixed={**_GPU.fixed, "digits": 7, "steps": 65_536, "answers": 1_024, "test_size": 1_024}
    | {"sampled_questions": 1_024},
    axes=[Axis("width", (64, 128, 256, 512)), *_GPU.axes[1:]],
    split=Split(
        held_out="inference_steps > 128 or step > 32768 or parameters > 4e6 or dataset_size > 5e5",
        excluded={"nothing learned": "step < 1024"},
    ),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(tiers=TIERS, along="inference_steps")
