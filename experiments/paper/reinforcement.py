"""How do training levels, experience and an agent's size decide how well it plays levels that it never saw?

Paper     Reinforcement learning: levels x steps x parameters, by an agent's shortfall on unseen levels; and the
          intrinsic performance of single agents (Hilton et al., arXiv 2301.13442), which is in experiments/hilton.py.
Ours      Agents on Procgen's CoinRun: 4 to 1,000 training levels, two sizes. Fitted: up to 400 levels and 33 thousand
          environment steps.
Tiers     cpu    8 agents, 66 thousand environment steps each: some twenty minutes on a core.
          gpu    StarPilot with IMPALA networks, 25 million steps, 48 agents: 1.5 H100-hours of learning.
          paper  all 16 games in hard mode, 200 million steps, 960 agents: 690 H100-hours.
Expect    Shortfalls begin near 1.3, where random play stands. Six of eight agents are between 0.8 and 1.0 after 66
          thousand steps; two of the smaller size learn nothing, one of them on 4 levels. A point is the mean of 64
          episodes whose return is 0 or 10, so that it jumps by a tenth from one measurement to the next: most laws
          differ by less than that.
Run       unsl reproduce reinforcement
"""

from dataclasses import replace

from pipeline import Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS
from trainers.procgen import SCORES

_CPU = Study(
    name="paper-reinforcement",
    trainer="procgen",
    # A short run wants many small iterations: 66 thousand steps are only four of the published size.
    fixed={"game": "coinrun", "network": "nature", "steps": 128, "batch_size": 512, "environments": 32}
    | {"learning_rate": 1e-3, "discount": 0.99, "test_episodes": 64},
    axes=[Axis("width", (0.0625, 0.125)), Axis("dataset_size", (4, 40, 400, 1_000))],
    inputs=("parameters", "dataset_size", "examples"),
    metric=Metric(name="shortfall"),
    split=Split(held_out="examples > 33000 or dataset_size > 500 or width > 0.2"),
    laws=PAPER_LAWS,
    cohort_size=1,
)

_TINY = replace(
    _CPU,
    name="paper-reinforcement-tiny",
    # A game of short episodes.
    fixed={"game": "bossfight", "network": "nature", "steps": 8, "batch_size": 32, "environments": 4}
    | {"minibatches": 2, "epochs": 1, "test_episodes": 2},
    axes=[Axis("width", (0.0625, 0.125)), Axis("dataset_size", (4, 10, 40, 400, 1_000))],
    split=Split(held_out="dataset_size > 500"),
    laws=("m2", "cf"),
)

_GPU = replace(
    _CPU,
    name="paper-reinforcement-gpu",
    device="gpu",
    fixed={"game": "starpilot", "network": "impala", "steps": 1_526},
    axes=[Axis("width", (0.25, 0.5, 1.0, 2.0)), Axis("dataset_size", (50, 200, 1_000, 10_000))],
    seeds=(0, 1, 2),
    split=Split(held_out="width > 1 or examples > 8e6 or dataset_size > 5000", excluded={"start": "examples < 2e5"}),
)

_PAPER = replace(
    _GPU,
    name="paper-reinforcement-paper",
    fixed={"mode": "hard", "network": "impala", "steps": 12_208, "test_episodes": 256},
    axes=[
        Axis("game", tuple(SCORES)),
        Axis("width", (0.25, 0.5, 1.0, 2.0, 4.0)),
        Axis("dataset_size", (100, 500, 2_500, 100_000)),
    ],
    tasks=("game",),
    split=Split(held_out="width > 1 or examples > 5e7", excluded={"start": "examples < 2e6"}),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(tiers=TIERS)
