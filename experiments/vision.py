"""How do width, unique pictures, training time and learning rate together decide how well a network knows pictures?

Claim     A law fitted to small networks, short runs and few pictures forecasts larger ones, overfitting included.
Tiers     cpu    Vision transformers on frames of the Procgen games, no download: 48 models of 10 thousand to 0.4
                 million parameters, 32 thousand pictures each. About six minutes on two idle cores.
          gpu    45 vision transformers of 1 to 43 million parameters on frames of 64 pixels: 5e17 FLOPs, an hour on
                 one H100 at a sixth of its peak (reckoned, not measured), after the frames are made in ten minutes.
          paper  ViT, MLP-Mixer and BiT on 900 classes of ImageNet, probed on the other 100: 108 models and 1.8e21
                 FLOPs, about 1,300 H100-hours at two fifths of their peak (reckoned). Its hub asks for a login.
Expect    In the cpu tier losses start at ln 24 = 3.2 nats. Wide models end lowest where pictures are plentiful, the
          wider the lower their best learning rate, and overfit on 256 pictures. How far is not stated: the tier was not
          run to its end since seeds draw the pictures.
Run       unsl run vision && unsl report vision            (or: unsl run vision --tier gpu)
"""

from dataclasses import replace

from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="vision",
    trainer="vision",
    # A rate that does not fall makes every point of a run an honest measurement of its length.
    fixed={"depth": 2, "head_size": 16, "steps": 512, "batch_size": 64, "schedule": "constant"},
    axes=[
        Axis("width", (16, 32, 64, 128)),
        Axis("dataset_size", (256, 1_024, 4_096, 16_384)),
        Axis("learning_rate", (5e-4, 1e-3, 3e-3)),
    ],
    seeds=(0,),
    inputs=("parameters", "dataset_size", "step"),
    hyperparameters=("learning_rate",),
    metric=Metric(name="loss"),
    split=Split(held_out="parameters > 2e5 or dataset_size > 5e3 or step > 256", excluded={"warm-up": "step < 32"}),
    laws=("m2", "cf", "bnsl", "unsl"),
    cohort_size=1,
)

_GPU = replace(
    STUDY,
    name="vision-gpu",
    device="gpu",
    fixed={"depth": 6, "head_size": 64, "resolution": 64, "test_size": 8_192, "few_shot_size": 2_048}
    | {"steps": 4_096, "batch_size": 512, "schedule": "constant", "warmup_steps": 200},
    axes=[
        Axis("width", (128, 192, 320, 512, 768)),
        Axis("dataset_size", (4_096, 32_768, 262_144)),
        Axis("learning_rate", (3e-4, 1e-3, 3e-3)),
    ],
    split=Split(held_out="parameters > 1e7 or dataset_size > 5e4 or step > 2048", excluded={"warm-up": "step < 256"}),
)

_PAPER = replace(
    _GPU,
    name="vision-paper",
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
    split=Split(held_out="parameters > 6e7 or dataset_size > 5e5", excluded={"warm-up": "step < 5000"}),
)

TIERS = {"cpu": STUDY, "gpu": _GPU, "paper": _PAPER}
