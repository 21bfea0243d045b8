"""How do an agent's size, its training levels and its experience together decide how well it plays levels it never saw?

Claim     Few training levels cap what experience can teach (Cobbe et al., arXiv 1912.01588); a unified law fitted to
          small agents and short runs forecasts the shortfall of larger, longer ones.
Tiers     cpu    CoinRun in easy mode, 9 small agents, 65,536 environment steps: a few minutes on two idle cores.
          gpu    StarPilot in easy mode, IMPALA networks, 25 million steps: an agent takes a GPU for hours.
          paper  all 16 games in hard mode, 200 million steps, as Cobbe et al.; the law is that of the mean over games.
Expect    Shortfalls of CoinRun fall from about 1.5, where random play stands, towards 0.8 within the cpu tier. It is
          noisy: a point is the mean of 32 episodes whose return is 0 or 10.
Run       unsl run procgen && unsl report procgen            (or: unsl run procgen --tier gpu)
"""

from dataclasses import replace

from pipeline import Axis, Metric, Split, Study
from trainers.procgen import SCORES

STUDY = Study(
    name="procgen",
    trainer="procgen",
    fixed={
        "game": "coinrun",
        "mode": "easy",
        "network": "nature",
        "steps": 32,
        # A short run wants many small iterations: 64 thousand steps are only four of the published size.
        "batch_size": 2048,
        "environments": 32,
        "learning_rate": 1e-3,
        "discount": 0.99,
        "test_episodes": 32,
    },
    axes=[Axis("width", (0.0625, 0.125, 0.25)), Axis("dataset_size", (10, 100, 1000))],
    seeds=(0,),
    inputs=("parameters", "dataset_size", "examples"),
    metric=Metric(name="shortfall"),
    split=Split(held_out="examples > 40000"),
    laws=("m2", "cf", "bnsl", "unsl"),
    cohort_size=1,
)

_GPU = replace(
    STUDY,
    name="procgen-gpu",
    device="gpu",
    fixed={"game": "starpilot", "mode": "easy", "network": "impala", "steps": 1_526},
    axes=[
        Axis("width", (0.25, 0.5, 1.0, 2.0)),
        Axis("dataset_size", (50, 200, 1_000, 10_000)),
        Axis("learning_rate", (2.5e-4, 5e-4, 1e-3)),
    ],
    seeds=(0, 1, 2),
    hyperparameters=("learning_rate",),
    split=Split(held_out="parameters > 1e6 or examples > 8e6", excluded={"start": "examples < 2e5"}),
)

_PAPER = replace(
    STUDY,
    name="procgen-paper",
    fixed={"mode": "hard", "network": "impala", "steps": 12_208, "test_episodes": 256},
    axes=[
        Axis("game", tuple(SCORES)),
        Axis("width", (0.25, 0.5, 1.0, 2.0, 4.0)),
        Axis("dataset_size", (100, 500, 2_500, 100_000)),
    ],
    seeds=(0, 1, 2),
    split=Split(held_out="parameters > 1e6 or examples > 5e7", excluded={"start": "examples < 2e6"}),
)

TIERS = {"cpu": STUDY, "gpu": _GPU, "paper": _PAPER}
