"""A picture as it is kept: its label and its middle square at a resolution."""

from __future__ import annotations

import numpy as np

ORDER_SEED = 0x7E57
"""Seed of the order of classes and pictures, the same for every cell."""
PARTS = ("train", "test", "few_shot")


def record(resolution: int) -> np.dtype:
    return np.dtype([("label", np.int32), ("picture", np.uint8, (resolution, resolution, 3))])


def middle_square(picture, resolution: int) -> np.ndarray:
    """The middle square of a picture at a resolution, (resolution, resolution, 3), uint8."""
    from PIL import Image

    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    square = (left, top, left + side, top + side)
    # Reduced by averaging, enlarged smoothly.
    way = Image.Resampling.BOX if resolution <= side else Image.Resampling.BICUBIC
    return np.asarray(picture.resize((resolution, resolution), way, box=square))
