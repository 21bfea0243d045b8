"""Networks and sets of pictures that are small enough for a test."""

from __future__ import annotations

from trainers.vision import PictureSet, VisionConfig

TINY = {"width": 8, "head_size": 4, "depth": 2, "resolution": 16, "patch_size": 4, "batch_size": 4, "steps": 8}
TINY |= {
    "classes": 2,
    "few_shot_classes": 2,
    "shots": 2,
    "test_size": 16,
    "few_shot_size": 16,
    "dataset_size": 64,
    "warmup_steps": 2,
}


def config(**settings) -> VisionConfig:
    return VisionConfig(**(TINY | settings))


def colours(folder, **settings) -> PictureSet:
    return PictureSet(**({"pictures": str(folder), "resolution": 8, "classes": 2, "few_shot_classes": 2} | settings))
