"""The pictures of one run: its batches by step, what it is measured on, and random variation of the former."""

from __future__ import annotations

import hashlib

import numpy as np

from trainers.data import EpochOrder
from trainers.vision.augmentation import brought_to, random_crops, whole
from trainers.vision.pictures import PictureSet
from trainers.vision.reading import AHEAD, on_gpu

DRAWS = 3
"""Sets of shots that a few-shot error is the mean of, as in big_vision."""
MEASURED_ON_CPU, MEASURED_ON_GPU = 64, 1_024
"""Pictures that go through the model at once in a measurement; on a GPU no more than in a part of a batch."""


class RunPictures:
    """See the module's docstring. What a run is measured on is held in parts that fit the device."""

    def __init__(self, config, device: str):
        """`config` is a `VisionConfig`."""
        import torch

        self._config, self._device = config, torch.device(device)
        source, stored = (
            PictureSet(
                pictures=config.pictures,
                resolution=side,
                classes=config.classes,
                few_shot_classes=config.few_shot_classes,
                picture_column=config.picture_column,
                label_column=config.label_column,
            )
            for side in (config.resolution, config.stored_resolution or config.resolution)
        )
        # Pictures that the run never reaches are not prepared.
        reached = min(config.dataset_size, config.steps * config.batch_size)
        self.training, test = (
            stored.part("train", reached, device, seed=config.seed),
            source.part("test", config.test_size, device),
        )
        self._order, self._rows = EpochOrder(seed=config.seed, size=reached), dict[int, np.ndarray]()
        self.test, self.training_subset = self._measured(test), self._measured(self.training, config.test_size)
        self.few_shot, parts = [], [self.training, test]
        if config.few_shot_classes:
            asked = DRAWS * config.few_shot_classes * config.shots + config.few_shot_size
            parts.append(source.part("few_shot", asked, device))
            self.few_shot = self._measured(parts[-1])
        self.digest = hashlib.sha256(b"".join(part.digest for part in parts)).hexdigest()
        """Of everything that the run learns from and is measured on."""

    def _measured(self, part, most: int | None = None) -> list:
        rows = np.arange(min(part.count, most or part.count))
        at_once = MEASURED_ON_CPU
        if on_gpu(self._device):
            at_once = min(MEASURED_ON_GPU, self._config.batch_size // self._config.accumulation)
        parts = (part.take(rows[start : start + at_once]) for start in range(0, len(rows), at_once))
        return [(self._at_resolution(pictures), labels) for pictures, labels in parts]

    def _at_resolution(self, pictures):
        side, resolution = pictures.shape[1], self._config.resolution
        return pictures if side == resolution else brought_to(resolution, pictures, whole(len(pictures), side=side))

    def batch(self, step: int, mine: slice = slice(None)):
        """Pictures (batch, side, side, 3), uint8, and labels (batch,): a function of the seed and the step; of the
        batch's rows `mine` alone."""
        size = self._config.batch_size
        steps = range(step, step + 1 + AHEAD * self.training.is_read_ahead)
        # Each step's rows are found once: an epoch's order is dear where two of them take turns.
        self._rows = {n: self._rows[n] if n in self._rows else self._order.take(n * size, size) for n in steps}
        rows, *following = (self._rows[n][mine] for n in steps)
        pictures, labels = self.training.take(rows, following)
        if self._config.random_crop:
            pictures = self._cropped(pictures, step, mine)
        elif self._config.shift or self._config.flip:
            pictures = self._varied(pictures, step, mine)
        return pictures, labels

    def _cropped(self, pictures, step: int, mine: slice):
        """Random crops, mirrored where that is asked for, as their place in the whole batch has it."""
        config, random = self._config, np.random.default_rng((self._config.seed, 6, step))
        boxes = random_crops(random, config.batch_size, side=pictures.shape[1], smallest=config.random_crop)
        mirrored = (random.random(config.batch_size) < 0.5) & config.flip
        return brought_to(config.resolution, pictures, boxes[mine], mirrored[mine])

    def _varied(self, pictures, step: int, mine: slice):
        """Pictures moved and mirrored at random, as their place in the whole batch has it."""
        import torch

        config = self._config
        random, side = np.random.default_rng((config.seed, 4, step)), np.arange(config.resolution)
        moved = random.integers(-config.shift, config.shift + 1, (2, config.batch_size, 1))[:, mine]
        rows, columns = (side + moved).clip(0, config.resolution - 1)
        mirrored = random.random((config.batch_size, 1))[mine] < 0.5
        if config.flip:
            columns = np.where(mirrored, columns[:, ::-1], columns)
        rows, columns = (torch.from_numpy(index).to(self._device) for index in (rows, columns))
        which = torch.arange(len(pictures), device=self._device)
        return pictures[which[:, None, None], rows[:, :, None], columns[:, None, :]]
