"""How do unique pictures and training time decide how well a network knows pictures, and new classes from a few?

Paper     Training-set size x steps (x parameters) for ViT, MLP-Mixer and BiT, upstream and few-shot on other classes;
          the unified law extrapolates best on 60.87% of 23 such tasks.
Ours      The three architectures on frames of the Procgen games, upstream loss and few-shot error on classes that were
          never trained on: six tasks, one fit each. Fitted: up to 2,048 pictures and 128 steps.
Tiers     cpu    24 networks of 6 to 100 thousand parameters: six minutes on a core, no download.
          gpu    27 networks on frames of 64 pixels: half an H100-hour.
          paper  900 classes of ImageNet, probed on the other 100, 108 networks: 1,600 H100-hours.
Expect    Upstream losses start at ln 24 = 3.2 nats and fall below 1 where pictures are plentiful; on 128 pictures they
          turn and rise. Few-shot errors of 512 questions are noisy, and few of these networks get far below 0.25.
Run       unsl reproduce vision
"""

from dataclasses import replace

from pipeline import Ask, Axis, Block, Metric, Split, Study
from pipeline.study import PAPER_LAWS

_CPU = Study(
    name="paper-vision",
    trainer="vision",
    # A rate that does not fall makes every point of a run an honest measurement of its length.
    fixed={"head_size": 16, "steps": 256, "batch_size": 32, "learning_rate": 2e-3, "schedule": "constant"}
    | {"test_size": 512, "few_shot_size": 512},
    axes=[
        Axis(
            "architecture, patch_size, width, depth",
            [("vit", 8, width, 2) for width in (16, 32)]
            + [("mixer", 8, width, 2) for width in (16, 32)]
            + [("resnet", 4, width, 4) for width in (4, 8)],
        ),
        Axis("dataset_size", (128, 512, 2_048, 8_192)),
    ],
    inputs=("parameters", "dataset_size", "step"),
    tasks=("architecture",),
    metric=Metric(name="loss"),
    split=Split(held_out="dataset_size > 4096 or step > 128", excluded={"warm-up": "step < 23"}),
    laws=PAPER_LAWS,
    cohort_size=1,
)

_TINY = replace(
    _CPU,
    name="paper-vision-tiny",
    fixed={**_CPU.fixed, "steps": 32, "batch_size": 8, "test_size": 64, "few_shot_size": 32, "warmup_steps": 4},
    axes=[
        Axis("architecture, patch_size, width, depth", [("mixer", 16, 8, 1)]),
        Axis("dataset_size", (32, 64, 96, 128)),
    ],
    split=Split(held_out="step > 31"),
    laws=("m2", "cf"),
)

_GPU = replace(
    _CPU,
    name="paper-vision-gpu",
    device="gpu",
    fixed={"head_size": 64, "resolution": 64, "test_size": 8_192, "few_shot_size": 2_048}
    | {"steps": 4_096, "batch_size": 512, "schedule": "constant", "warmup_steps": 200, "learning_rate": 1e-3},
    axes=[
        Axis(
            "architecture, patch_size, width, depth",
            [("vit", 8, width, 6) for width in (128, 320, 768)]
            + [("mixer", 8, width, 6) for width in (128, 320, 768)]
            + [("resnet", 2, width, 16) for width in (8, 16, 32)],
        ),
        Axis("dataset_size", (4_096, 32_768, 262_144)),
    ],
    split=Split(held_out="dataset_size > 5e4 or step > 1024", excluded={"warm-up": "step < 256"}),
)

_PAPER = replace(
    _GPU,
    name="paper-vision-paper",
    fixed={"pictures": "hub:ILSVRC/imagenet-1k", "resolution": 224, "shift": 28, "flip": True}
    | {"classes": 900, "test_size": 20_000, "few_shot_classes": 100, "few_shot_size": 10_000}
    | {"head_size": 64, "steps": 100_000, "batch_size": 1_024, "accumulation": 16}
    | {"schedule": "anneal", "warmup_steps": 5_000},
    axes=[
        Axis(
            "architecture, patch_size, width, depth",
            [("vit", 16, width, depth) for width, depth in ((192, 12), (384, 12), (768, 12), (1024, 24))]
            + [("mixer", 16, width, depth) for width, depth in ((256, 8), (512, 8), (768, 12), (1024, 24))]
            + [("resnet", 4, width, depth) for width, depth in ((32, 16), (64, 16), (64, 33), (128, 50))],
        ),
        Axis("dataset_size", (20_000, 150_000, 1_150_000)),
        Axis("learning_rate", (3e-4, 1e-3, 3e-3)),
    ],
    hyperparameters=("learning_rate",),
    split=Split(held_out="parameters > 6e7 or dataset_size > 5e5", excluded={"warm-up": "step < 5000"}),
)

TIERS = {"tiny": _TINY, "cpu": _CPU, "gpu": _GPU, "paper": _PAPER}
STUDY = _CPU
BLOCK = Block(
    tiers=TIERS,
    asks={"few-shot": Ask(metric=Metric(name="few_shot_error"))},
    family="vision",
)
