"""When does a perceptron learn a sparse parity, and from how near must one look to foretell it?

Paper     A hyperbreak can be foretold once the hull of fitted points comes near enough to it, and not before: the limit
          of predictability, on sparse parity with multilayer perceptrons.
Ours      Parity of 3 of 24 bits with 5% of the labels flipped, over width, unique examples and steps. Losses stay at
          ln 2 for a thousand steps, fall to the noise's entropy of 0.199 nats, and rise where few examples repeat.
          The same points beyond 2,048 steps are foretold from hulls that end ever earlier, and from ever fewer points.
Tiers     cpu    60 models: two minutes on a core.
          gpu    parity of 4 of 48 bits, 168 models: 15 H100-hours.
          paper  parity of 4 of 64 bits up to width 4,096, 252 models: 46 H100-hours.
Expect    From a hull that ends before the fall no law sees it coming: errors are near 1, a factor of e. With the
          fall in the hull the unified law's is 0.28, the least; with 25 or 50 points the stiff laws are ahead, with
          200 the unified one. On 1,000 examples losses first climb to 0.87 and then fall.
Run       unsl reproduce parity
"""

from dataclasses import replace

from pipeline import Ask, Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS

_CPU = Study(
    name="paper-parity",
    trainer="parity",
    fixed={"bits": 24, "parity_bits": 3, "label_noise": 0.05, "weight_decay": 0.1, "learning_rate": 3e-3}
    | {"steps": 4_096, "batch_size": 64, "test_size": 2_048},
    axes=[Axis("width", (8, 16, 32, 64, 128)), Axis("dataset_size", (1_000, 2_000, 4_000, 8_000, 16_000, 64_000))],
    seeds=(0, 1),
    inputs=("parameters", "dataset_size", "step"),
    metric=Metric(name="loss"),
    split=Split(held_out="step > 2048 or width > 64 or dataset_size > 16000", excluded={"warm-up": "step < 64"}),
    laws=PAPER_LAWS,
)

_TINY = replace(
    _CPU,
    name="paper-parity-tiny",
    fixed={**_CPU.fixed, "bits": 16, "parity_bits": 2, "steps": 512, "test_size": 256},
    axes=[Axis("width", (8, 16)), Axis("dataset_size", (500, 2_000))],
    seeds=(0,),
    split=Split(held_out="step > 256", excluded={"warm-up": "step < 64"}),
    laws=("m2", "cf"),
)

_GPU = replace(
    _CPU,
    name="paper-parity-gpu",
    device="gpu",
    fixed={**_CPU.fixed, "bits": 48, "parity_bits": 4, "steps": 65_536, "batch_size": 256, "test_size": 8_192},
    axes=[
        Axis("width", (64, 128, 256, 512, 1024, 2048)),
        Axis("dataset_size", tuple(8_192 * 4**k for k in range(7))),
    ],
    seeds=(0, 1, 2, 3),
    split=Split(held_out="step > 32768 or width > 1024 or dataset_size > 1e7", excluded={"warm-up": "step < 256"}),
)

_PAPER = replace(
    _GPU,
    name="paper-parity-paper",
    fixed={**_GPU.fixed, "bits": 64, "steps": 131_072},
    axes=[Axis("width", (128, 256, 512, 1024, 2048, 4096)), *_GPU.axes[1:]],
    seeds=(0, 1, 2, 3, 4, 5),
    split=Split(held_out="step > 65536 or width > 2048 or dataset_size > 1e7", excluded={"warm-up": "step < 256"}),
)


def _hull(last: int, held_out: int, *tiers: str) -> Ask:
    unseen = f"step > {last} and step <= {held_out}"
    return Ask(held_out=f"step > {held_out}", excluded={"beyond the hull": unseen}, tiers=tiers)


TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(
    tiers=TIERS,
    asks={f"hull up to step {last}": _hull(last, 2_048, "cpu") for last in (256, 512, 724, 1_024, 1_448, 2_048)}
    | {f"hull up to step {last:,}": _hull(last, 32_768, "gpu", "paper") for last in (1_024, 4_096, 8_192, 16_384)}
    | {f"{count} points": Ask(points=count, tiers=("cpu", "gpu", "paper")) for count in (25, 50, 100, 200)},
)
