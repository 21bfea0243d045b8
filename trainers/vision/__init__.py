"""Vision: networks that learn to classify pictures, and are probed with a few pictures of classes they never saw.

    what is trained      a vision transformer, an MLP-Mixer, a BiT residual network or a linear map
    on what              labelled pictures; by default frames of the Procgen games, which need no download
    how it is measured   loss in nats and error on unseen pictures; the same on training pictures; few-shot error

Where to look, in the order of reading:

    trainer.py      the configuration, what a run costs, a batch, its loss and its metrics
    ../loop         the step around that loss (single_model.py) and the loop around that step (cohort.py)
    networks.py     the networks by name: size, FLOPs, initial weights, logits; each in vit.py, mixer.py, resnet.py
    pictures.py     the pictures: parts and the cache of what is prepared, from games.py or sets.py (and idx.py)
    run_pictures.py those of one run, by step
    reading.py      their way to the device, ahead of the training        augmentation.py   random crops of a batch
    few_shot.py     the probe of frozen features
"""

from __future__ import annotations

from trainers.vision.augmentation import brought_to, random_crops
from trainers.vision.few_shot import few_shot_error
from trainers.vision.networks import ARCHITECTURES, initial_weights, layout, logits, training_flops
from trainers.vision.pictures import PictureSet
from trainers.vision.records import middle_square
from trainers.vision.trainer import VISION, VisionConfig, VisionModel

__all__ = [
    "ARCHITECTURES",
    "VISION",
    "PictureSet",
    "VisionConfig",
    "VisionModel",
    "brought_to",
    "few_shot_error",
    "initial_weights",
    "layout",
    "logits",
    "middle_square",
    "random_crops",
    "training_flops",
]
