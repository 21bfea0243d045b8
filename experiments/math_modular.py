"""When does a transformer that has memorised a table of modular arithmetic begin to understand it?

Claim     The larger the part of the table and the weight decay, the sooner the error on unseen rows falls (Power et
          al., arXiv 2201.02177); a law fitted to the first half of training says where it falls in the second.
Tiers     cpu    addition modulo 31, one block of width 32: 36 models, about three minutes on two idle cores.
          gpu    four operations modulo 97, two blocks of width 128: 288 models, an hour on one GPU (reckoned, not
                 measured).
Expect    Training errors vanish within some 400 steps. At weight decay 1 the error on unseen rows then falls from 0.63
          to 0.02 where 450 of the 961 rows are known and stays near 0.8 where 300 are; at 0.1 it hardly moves. The
          unified law's held-out error is about half that of the next law.
Run       unsl run math-modular && unsl report math-modular            (or: unsl run math-modular --tier gpu)
"""

from dataclasses import replace

from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="math-modular",
    trainer="modular",
    fixed={"modulus": 31, "width": 32, "depth": 1, "steps": 4_096, "learning_rate": 3e-3, "test_size": 200},
    axes=[Axis("dataset_size", (300, 375, 450, 525, 600, 675)), Axis("weight_decay", (0.1, 0.3, 1.0))],
    seeds=(0, 1),
    inputs=("dataset_size", "step"),
    hyperparameters=("weight_decay",),
    metric=Metric(name="error"),
    split=Split(held_out="step > 2048 or dataset_size > 560"),
    laws=("m2", "cf", "bnsl", "unsl"),
    cohort_size=9,
)

_GPU = replace(
    STUDY,
    name="math-modular-gpu",
    device="gpu",
    fixed={"modulus": 97, "width": 128, "depth": 2, "steps": 32_768, "batch_size": 512, "test_size": 2_000},
    axes=[
        Axis("operation", ("add", "subtract", "multiply", "quadratic")),
        Axis("dataset_size", (2_000, 2_800, 3_600, 4_400, 5_200, 6_000)),
        Axis("weight_decay", (0.1, 0.3, 1.0, 3.0)),
    ],
    seeds=(0, 1, 2),
    split=Split(held_out="step > 16384 or dataset_size > 5000"),
    cohort_size=24,
)

TIERS = {"cpu": STUDY, "gpu": _GPU}
