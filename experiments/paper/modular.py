"""When does a transformer that has memorised a table of modular arithmetic begin to understand it?

Paper     Modular arithmetic, where networks generalise long after they have memorised (Power et al., arXiv 2201.02177),
          is one of the transitions that the law has to extrapolate.
Ours      Addition and multiplication modulo 31, over the rows of the table that are known and steps: two tasks, one fit
          each. Fitted: up to 500 of the 961 rows and 1,024 steps.
Tiers     cpu    14 models: five minutes on a core.
          gpu    four operations modulo 97, 72 models: 3.3 H100-hours.
          paper  four operations modulo 97, three widths, 1,080 models: 198 H100-hours.
Expect    The known rows are memorised within some hundred steps. On unseen rows losses stay above 2 and then fall a
          thousandfold: with 650 rows before 1,000 steps, with 350 after 3,000, if at all. From a hull that ends at
          1,024 steps no law foretells the fall to better than a factor of seven.
Run       unsl reproduce modular
"""

from dataclasses import replace

from pipeline import Ask, Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS

_CPU = Study(
    name="paper-modular",
    trainer="modular",
    fixed={"modulus": 31, "width": 32, "depth": 1, "steps": 4_096, "learning_rate": 3e-3, "test_size": 200},
    axes=[Axis("operation", ("add", "multiply")), Axis("dataset_size", (350, 400, 450, 500, 550, 600, 650))],
    inputs=("dataset_size", "step"),
    tasks=("operation",),
    metric=Metric(name="loss"),
    split=Split(held_out="step > 1024 or dataset_size > 520", excluded={"warm-up": "step < 64"}),
    laws=PAPER_LAWS,
    cohort_size=7,
)

_TINY = replace(
    _CPU,
    name="paper-modular-tiny",
    fixed={**_CPU.fixed, "modulus": 11, "width": 8, "steps": 64, "test_size": 20, "batch_size": 16},
    axes=[Axis("operation", ("add", "multiply")), Axis("dataset_size", (40, 50, 60, 80))],
    split=Split(held_out="step > 46"),
    laws=("m2", "cf"),
)

_GPU = replace(
    _CPU,
    name="paper-modular-gpu",
    device="gpu",
    fixed={"modulus": 97, "width": 128, "depth": 2, "steps": 32_768, "batch_size": 512, "test_size": 2_000},
    axes=[
        Axis("operation", ("add", "subtract", "multiply", "quadratic")),
        Axis("dataset_size", (2_000, 2_800, 3_600, 4_400, 5_200, 6_000)),
    ],
    seeds=(0, 1, 2),
    split=Split(held_out="step > 16384 or dataset_size > 5000", excluded={"warm-up": "step < 128"}),
    cohort_size=18,
)

_PAPER = replace(
    _GPU,
    name="paper-modular-paper",
    fixed={"modulus": 97, "depth": 2, "steps": 131_072, "batch_size": 512, "test_size": 2_000},
    axes=[*_GPU.axes, Axis("weight_decay", (0.1, 0.3, 1.0)), Axis("width", (64, 128, 256))],
    seeds=(0, 1, 2, 3, 4),
    inputs=("parameters", "dataset_size", "step"),
    hyperparameters=("weight_decay",),
    split=Split(held_out="step > 32768 or dataset_size > 5000 or width > 128", excluded={"warm-up": "step < 128"}),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(
    tiers=TIERS,
    # With the first falls in the hull: the limit of predictability once more.
    asks={"hull up to step 2,048": Ask(held_out="step > 2048 or dataset_size > 520", tiers=("cpu",))},
)
