"""How far does the law carry if size, data and training time all grow tenfold at once?

Paper     The unified law extrapolates by an order of magnitude in several inputs at the same time.
Ours      Parity of 2 of 32 bits with a tenth of the labels flipped. Fitted: perceptrons of width 4 to 12, 750 to 3,000
          examples, up to 362 steps. Held out: width, data and steps of all of them tenfold and more.
Tiers     cpu    52 models: a minute on a core.
          gpu    a decade up, parity of 3 of 48 bits, 132 models: 4 H100-hours.
          paper  two decades between fitted and held out, 132 models: 27 H100-hours.
Expect    Fitted losses fall from 0.69 to 0.35, and rise again on the fewest examples. What is held out is near the
          floor of 0.325 nats, as whoever expects no more change than was seen is right to say: the best law of one
          input errs by 8%, the unified law, which carries its trends on, by a factor of 1.8.
Run       unsl reproduce decades
"""

from dataclasses import replace

from pipeline import Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS


def _near_and_far(*, width: int, data: int, steps: tuple[int, int], far: int) -> dict:
    """What of a study says: small runs up to these, and large ones beyond `far` times these in every input."""
    near = f"width <= {width} and dataset_size <= {data} and steps == {steps[0]}"
    beyond = f"width >= {far * width} and dataset_size >= {far * data} and steps == {steps[1]}"
    return {
        "only": f"({near}) or ({beyond})",
        "split": Split(
            held_out=f"steps == {steps[1]}",
            excluded={
                "warm-up": f"step < {steps[0] // 8}",
                "not far": f"steps == {steps[1]} and step < {far * steps[0]}",
            },
        ),
    }


_CPU = Study(
    name="paper-decades",
    trainer="parity",
    fixed={"bits": 32, "parity_bits": 2, "label_noise": 0.1, "weight_decay": 0.1, "learning_rate": 1e-2}
    | {"batch_size": 64, "test_size": 2_048},
    axes=[
        Axis("width", (4, 6, 8, 12, 128, 192, 256)),
        Axis("dataset_size", (750, 1_000, 1_500, 2_000, 3_000, 32_000, 64_000)),
        Axis("steps", (362, 8_192)),
    ],
    seeds=(0, 1),
    inputs=("parameters", "dataset_size", "step"),
    metric=Metric(name="loss"),
    laws=PAPER_LAWS,
    **_near_and_far(width=12, data=3_000, steps=(362, 8_192), far=10),
)

_TINY = replace(
    _CPU,
    name="paper-decades-tiny",
    fixed={**_CPU.fixed, "bits": 16, "test_size": 256},
    axes=[Axis("width", (4, 8, 32)), Axis("dataset_size", (250, 500, 2_000)), Axis("steps", (128, 512))],
    seeds=(0,),
    laws=("m2", "cf"),
    **_near_and_far(width=8, data=500, steps=(128, 512), far=4),
)

_GPU = replace(
    _CPU,
    name="paper-decades-gpu",
    device="gpu",
    fixed={**_CPU.fixed, "bits": 48, "parity_bits": 3, "learning_rate": 3e-3, "batch_size": 256, "test_size": 8_192},
    axes=[
        Axis("width", (16, 32, 64, 128, 1280, 1920, 2560)),
        Axis("dataset_size", (4_000, 8_000, 16_000, 32_000, 320_000, 640_000)),
        Axis("steps", (4_096, 65_536)),
    ],
    seeds=(0, 1, 2, 3, 4, 5),
    **_near_and_far(width=128, data=32_000, steps=(4_096, 65_536), far=10),
)

_PAPER = replace(
    _GPU,
    name="paper-decades-paper",
    axes=[
        Axis("width", (16, 32, 64, 128, 12_800, 19_200, 25_600)),
        Axis("dataset_size", (4_000, 8_000, 16_000, 32_000, 3_200_000, 6_400_000)),
        Axis("steps", (4_096, 524_288)),
    ],
    **_near_and_far(width=128, data=32_000, steps=(4_096, 524_288), far=100),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(tiers=TIERS)
