"""Random crops and mirror images of a batch of pictures, on whatever device they are.

What is drawn is what torchvision's RandomResizedCrop draws: a share of the area, uniform between the smallest and the
whole, a ratio of the sides from 3:4 to 4:3, uniform in its logarithm, and a place; in the first of ten attempts that
fits, or else the whole. It is drawn for all of a batch, from the seed and the step alone, and is each picture's by its
place in the batch: a resumed run draws what an uninterrupted one would have.

Crops of all sizes are brought to one resolution together: a triangle filter over the crop, widened where it is reduced,
as PIL and torchvision resize bilinearly, written as two products of matrices, one a direction. From 256 to 224 pixels
that is 0.17 GFLOPs a picture, a fortieth of what a ViT-Ti spends on it, and leaves nothing for the CPU to do but to
copy. torchvision's own would do it picture by picture; and a wheel of it fits one build of torch alone: that of PyPI
does not load beside torch's build for CPUs.
"""

from __future__ import annotations

import numpy as np

ATTEMPTS = 10
RATIOS = (3 / 4, 4 / 3)
"""Width over height of a crop, the extremes."""
AT_ONCE = 64
"""Pictures that are brought to size together: a GPU is full with these, and what they take as numbers stays small."""


def random_crops(random: np.random.Generator, count: int, *, side: int, smallest: float) -> np.ndarray:
    """Boxes within squares, in pixels: top, left, height and width of each, (count, 4), int64."""
    area = random.uniform(smallest, 1, (count, ATTEMPTS))
    root = np.exp(random.uniform(*np.log(RATIOS), (count, ATTEMPTS)) / 2)
    heights, widths = (np.rint(np.sqrt(area) * side * by).astype(np.int64) for by in (1 / root, root))
    fits = (heights >= 1) & (heights <= side) & (widths >= 1) & (widths <= side)
    first = fits.argmax(1)[:, None]
    height, width = (
        np.where(fits.any(1), np.take_along_axis(sizes, first, 1)[:, 0], side) for sizes in (heights, widths)
    )
    top, left = (np.floor(random.random(count) * (side - size + 1)).astype(np.int64) for size in (height, width))
    return np.stack([top, left, height, width], axis=1)


def whole(count: int, *, side: int) -> np.ndarray:
    """Boxes that leave nothing out."""
    return np.tile(np.array([0, 0, side, side]), (count, 1))


def brought_to(resolution: int, pictures, boxes: np.ndarray, mirrored: np.ndarray | None = None):
    """What is in boxes of pictures (n, side, side, 3), uint8, at one resolution: (n, resolution, resolution, 3), uint8.

    In half precision on a GPU: its numbers hold a byte with a tenth of its last step to spare.
    """
    import torch

    parts = []
    for start in range(0, len(pictures), AT_ONCE):
        chunk = slice(start, start + AT_ONCE)
        box = torch.from_numpy(boxes[chunk]).to(pictures.device)
        side = pictures.shape[1]
        rows = _weights(box[:, 0], box[:, 2], side, resolution)
        columns = _weights(box[:, 1], box[:, 3], side, resolution)
        if mirrored is not None:
            flags = torch.from_numpy(mirrored[chunk]).to(pictures.device)
            columns = torch.where(flags[:, None, None], columns.flip(1), columns)
        kind = torch.float16 if pictures.is_cuda else torch.float32
        numbers = pictures[chunk].permute(0, 3, 1, 2).to(kind)
        resized = rows[:, None].to(kind) @ numbers @ columns[:, None].to(kind).transpose(2, 3)
        parts.append(resized.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1))
    return torch.cat(parts).contiguous()


def working_bytes(side: int, resolution: int, pictures: int) -> int:
    """Memory that `brought_to` takes beside what it is given: pictures as numbers, reduced in one way and in both."""
    numbers = 3 * (side**2 + resolution * side + resolution**2) + 2 * 4 * side * resolution
    return min(AT_ONCE, pictures) * 4 * numbers


def _weights(start, size, side: int, resolution: int):
    """What each pixel of a line of `side` gives to each of `resolution` that the stretch of it becomes.

    `start` and `size` are (n,); the weights are (n, resolution, side), single precision, and those of a pixel sum to 1.
    """
    import torch

    scale = (size.float() / resolution)[:, None, None]
    here = torch.arange(side, device=start.device)
    centre = start[:, None, None] + (torch.arange(resolution, device=start.device)[:, None] + 0.5) * scale
    weight = (1 - (here + 0.5 - centre).abs() / scale.clamp(min=1)).clamp_(min=0)
    inside = (here >= start[:, None]) & (here < (start + size)[:, None])
    weight = weight * inside[:, None, :]
    return weight / weight.sum(2, keepdim=True)
