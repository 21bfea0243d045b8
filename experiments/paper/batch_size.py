"""What does a larger batch save in steps, and until when?

Paper     Batch size is an input of the law beside training time.
Ours      Perceptrons of width 64 on parity of 3 of 24 bits, 8 to 512 fresh examples a step. Fitted: batches of up to
          128 and 2,048 steps.
Tiers     cpu    36 models: two minutes on a core.
          gpu    parity of 4 of 48 bits, 24 models: half an H100-hour.
          paper  batches of up to 4,096 examples, 45 models: 2 H100-hours.
Expect    The break at which the parity is learned comes sooner the larger the batch, by less and less: beyond about a
          hundred examples a batch saves few steps, as McCandlish et al. (arXiv 1812.06162) say of critical batch sizes.
Run       unsl reproduce batch_size
"""

from dataclasses import replace

from pipeline import Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS

_CPU = Study(
    name="paper-batch-size",
    trainer="parity",
    fixed={"bits": 24, "parity_bits": 3, "label_noise": 0.05, "learning_rate": 3e-3, "dataset_size": 4_194_304}
    | {"width": 64, "steps": 4_096, "test_size": 2_048},
    axes=[Axis("batch_size", (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512))],
    seeds=(0, 1, 2),
    inputs=("batch_size", "step"),
    metric=Metric(name="loss"),
    split=Split(held_out="batch_size > 128 or step > 2048", excluded={"warm-up": "step < 64"}),
    laws=PAPER_LAWS,
)

_TINY = replace(
    _CPU,
    name="paper-batch-size-tiny",
    fixed={**_CPU.fixed, "bits": 16, "parity_bits": 2, "steps": 256, "test_size": 256, "dataset_size": 16_384},
    axes=[Axis("batch_size", (8, 16, 32))],
    seeds=(0,),
    split=Split(held_out="batch_size > 16 or step > 128"),
    laws=("m2", "cf"),
)

_GPU = replace(
    _CPU,
    name="paper-batch-size-gpu",
    device="gpu",
    fixed={**_CPU.fixed, "bits": 48, "parity_bits": 4, "width": 256, "learning_rate": 1e-3}
    | {"steps": 16_384, "test_size": 8_192, "dataset_size": 2**25},
    axes=[Axis("batch_size", tuple(2**k for k in range(4, 12)))],
    split=Split(held_out="batch_size > 512 or step > 8192", excluded={"warm-up": "step < 256"}),
)

_PAPER = replace(
    _GPU,
    name="paper-batch-size-paper",
    fixed={**_GPU.fixed, "width": 1_024, "steps": 32_768, "dataset_size": 2**27},
    axes=[Axis("batch_size", tuple(2**k for k in range(4, 13)))],
    seeds=(0, 1, 2, 3, 4),
    split=Split(held_out="batch_size > 1024 or step > 16384", excluded={"warm-up": "step < 256"}),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(tiers=TIERS)
