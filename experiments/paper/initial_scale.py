"""How do learning rate, initial scale and training time together decide when a perceptron learns?

Paper     The law holds for learning rate x initial weight scale x steps: hyperparameters that are too small harm by one
          opposing force, too large by another, and the optimum moves with training time.
Ours      Perceptrons of width 64 on parity of 3 of 24 bits, six learning rates and six initial scales. Fitted: runs of
          512 steps. Held out: runs of 2,048, which start when their forecast is written down.
Tiers     cpu    144 models: two minutes on a core.
          gpu    parity of 4 of 48 bits, three widths, 648 models: 18 H100-hours.
          paper  the same with twice the grid, 2,700 models: 77 H100-hours.
Expect    Initial weights of three times the usual scale learn nothing within 2,048 steps unless the rate is large,
          of a tenth of it soonest. The best rate falls from 0.03 after 128 steps to 0.003 after 2,048. The unified
          law errs by 0.16, additive laws of one input by 0.6.
Run       unsl reproduce initial_scale
"""

from dataclasses import replace

from pipeline import Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS


def _longer_runs(fitted: int, held_out: int, *, warm_up: int) -> Split:
    """Short runs are fitted, long ones held out beyond their length; before that they only repeat the short ones."""
    return Split(
        held_out=f"steps == {held_out} and step > {fitted}",
        excluded={"warm-up": f"step < {warm_up}", "seen in the short run": f"steps == {held_out} and step <= {fitted}"},
    )


_CPU = Study(
    name="paper-initial-scale",
    trainer="parity",
    fixed={"bits": 24, "parity_bits": 3, "label_noise": 0.05, "width": 64} | {"batch_size": 64, "test_size": 2_048},
    axes=[
        Axis("learning_rate", (5e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)),
        Axis("init_scale", (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)),
        Axis("steps", (512, 2_048)),
    ],
    seeds=(0, 1),
    inputs=("step",),
    hyperparameters=("learning_rate", "init_scale"),
    metric=Metric(name="loss"),
    split=_longer_runs(512, 2_048, warm_up=64),
    laws=PAPER_LAWS,
)

_TINY = replace(
    _CPU,
    name="paper-initial-scale-tiny",
    fixed={**_CPU.fixed, "bits": 16, "parity_bits": 2, "width": 16, "test_size": 256},
    axes=[Axis("learning_rate", (1e-3, 1e-2)), Axis("init_scale", (0.3, 1.0)), Axis("steps", (128, 256))],
    seeds=(0,),
    split=_longer_runs(128, 256, warm_up=32),
    laws=("m2", "bnsl"),
)

_GPU = replace(
    _CPU,
    name="paper-initial-scale-gpu",
    device="gpu",
    fixed={"bits": 48, "parity_bits": 4, "label_noise": 0.05, "batch_size": 256, "test_size": 8_192}
    | {"dataset_size": 2**23},
    axes=[Axis("width", (128, 256, 512)), *_CPU.axes[:2], Axis("steps", (8_192, 32_768))],
    seeds=(0, 1, 2),
    inputs=("parameters", "step"),
    split=_longer_runs(8_192, 32_768, warm_up=256),
)

_PAPER = replace(
    _GPU,
    name="paper-initial-scale-paper",
    axes=[
        Axis("width", (128, 256, 512, 1_024, 2_048)),
        Axis("learning_rate", (3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 3e-2, 1e-1)),
        Axis("init_scale", (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.2, 1.6, 3.2)),
        Axis("steps", (8_192, 32_768)),
    ],
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(tiers=TIERS)
