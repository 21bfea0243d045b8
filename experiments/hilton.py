"""How much experience and how large a model does an agent need to play this well?

Claim     In units of intrinsic performance, the least compute with which any agent plays as well, reinforcement
          learning follows a power law in parameters and environment steps (Hilton, Tang & Schulman, arXiv 2301.13442).
Tiers     cpu    CoinRun, Nature networks of 3,274 to 156,000 parameters, 65,536 steps: some minutes on two idle cores.
          gpu    StarPilot, IMPALA networks of width 1/8 to 2, 100 million steps of unlimited levels.
Expect    Larger agents need fewer environment steps for the same return and more compute, until they are too large for
          the compute spent: the frontier between them is what a compute budget should follow.
Run       unsl run hilton && unsl report hilton
          python -m experiments.hilton runs [cpu|gpu]     # the fit of intrinsic performance to what is in the store
"""

import sys
from dataclasses import replace

import numpy as np

from fitting import Table, fit
from pipeline import Axis, Metric, Split, Study
from trainers.procgen import FIRST_TEST_LEVEL

STUDY = Study(
    name="hilton",
    trainer="procgen",
    fixed={
        "game": "coinrun",
        "dataset_size": FIRST_TEST_LEVEL,
        "steps": 32,
        "batch_size": 2048,
        "environments": 32,
        "learning_rate": 1e-3,
        "discount": 0.99,
    },
    axes=[Axis("width", (0.0625, 0.125, 0.25, 0.5))],
    seeds=(0, 1, 2),
    inputs=("parameters", "examples"),
    metric=Metric(name="shortfall"),
    split=Split(held_out="examples > 40000"),
    laws=("hilton", "cf", "unsl"),
    cohort_size=1,
)

_GPU = replace(
    STUDY,
    name="hilton-gpu",
    device="gpu",
    fixed={"game": "starpilot", "dataset_size": FIRST_TEST_LEVEL, "network": "impala", "steps": 6_104},
    axes=[Axis("width", (0.125, 0.1767767, 0.25, 0.3535534, 0.5, 0.7071068, 1.0, 1.4142136, 2.0))],
    split=Split(held_out="parameters > 6e5 or examples > 3e7", excluded={"start": "examples < 2e5"}),
)

TIERS = {"cpu": STUDY, "gpu": _GPU}


def intrinsic_performance(flops: np.ndarray, shortfall: np.ndarray) -> np.ndarray:
    """The least FLOPs with which any of these agents played at least as well as each; shape (points,)."""
    return np.array([flops[shortfall <= own].min() for own in shortfall])


def main(store: str, tier: str = "cpu") -> None:
    from pipeline.store import Store

    points = Store(store, TIERS[tier].name).table()
    mean = points.groupby(["parameters", "examples", "flops"], as_index=False)["shortfall"].mean()
    performance = intrinsic_performance(mean["flops"].to_numpy(), mean["shortfall"].to_numpy())
    table = Table(inputs={"parameters": mean["parameters"], "examples": mean["examples"]}, y=1 / performance)
    print(mean.assign(intrinsic_performance=performance).to_string(index=False))
    result = fit("hilton", table)
    print(f"\n1 / intrinsic performance: {result.status}, RMSLE {result.rmsle.value:.3f}, {result.coefficients}")


if __name__ == "__main__":
    main(*sys.argv[1:])
