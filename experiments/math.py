"""How do size, examples and training time together decide whether a transformer learns to add?

Claim     The loss of a small transformer that adds with a scratchpad stays on a plateau, where it has learned to copy
          digits but not to carry, and then falls to nothing; a law fitted to the small runs says when the larger ones
          do.
Tiers     cpu    3 digits, 5 to 100 thousand parameters: 32 models, about four minutes on two idle cores.
          gpu    5 digits, up to 3 million parameters, several seeds: 144 models, annealed to 17 lengths each: an hour
                 and a half on one GPU (reckoned, not measured).
          paper  the same for 3, 5 and 7 digits without a scratchpad too: a cluster.
Expect    Losses start at ln 12 = 2.5 nats a token, pause near 0.45, and end below 0.02 for models of width 32 and 64
          that see two thousand sums or more: they add with 0.1 to 4 errors in a hundred, and with none on a cosine
          schedule. With 500 sums they memorise. The unified law has the lowest held-out error, yet a transition this
          sharp, over two orders of magnitude, is a hard forecast for every law.
Run       unsl run math && unsl report math            (or: unsl run math --tier gpu)
"""

from dataclasses import replace

from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="math",
    trainer="addition",
    fixed={"digits": 3, "depth": 2, "steps": 1_024, "batch_size": 64},
    axes=[
        Axis("width", (8, 16, 32, 64)),
        Axis("dataset_size", (500, 2_000, 8_000, 32_000)),
        Axis("learning_rate", (1e-3, 3e-3)),
    ],
    seeds=(0,),
    inputs=("parameters", "dataset_size", "step"),
    hyperparameters=("learning_rate",),
    metric=Metric(name="loss"),
    split=Split(held_out="parameters > 5e4 or dataset_size > 1e4 or step > 512"),
    laws=("m2", "cf", "bnsl", "unsl"),
    cohort_size=4,
)

_GPU = replace(
    STUDY,
    name="math-gpu",
    device="gpu",
    fixed={"digits": 5, "depth": 4, "heads": 8, "steps": 8_192, "batch_size": 256, "schedule": "anneal"},
    axes=[
        Axis("width", (32, 64, 128, 256)),
        Axis("dataset_size", (2_000, 16_000, 128_000, 1_024_000)),
        Axis("learning_rate", (3e-4, 1e-3, 3e-3)),
    ],
    seeds=(0, 1, 2),
    split=Split(held_out="parameters > 1e6 or dataset_size > 5e5 or step > 4096"),
    cohort_size=16,
)

_PAPER = replace(
    _GPU,
    name="math-paper",
    fixed={"depth": 6, "heads": 8, "steps": 65_536, "batch_size": 512, "schedule": "anneal"},
    axes=[
        Axis("digits", (3, 5, 7)),
        Axis("scratchpad", (True, False)),
        Axis("width", (64, 128, 256, 512, 1024)),
        Axis("dataset_size", (8_000, 64_000, 512_000)),
        Axis("learning_rate", (3e-4, 1e-3, 3e-3)),
    ],
    split=Split(held_out="parameters > 1e7 or step > 32768"),
)

TIERS = {"cpu": STUDY, "gpu": _GPU, "paper": _PAPER}
