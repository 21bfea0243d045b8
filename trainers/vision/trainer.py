"""vision: networks that learn to classify pictures, and are probed with a few pictures of classes they never saw.

A vision transformer, MLP-Mixer or BiT residual network (networks.py) learns `dataset_size` pictures of
`classes` classes (pictures.py). By default these are frames of the sixteen Procgen games, and a class is
a game in its easy or its hard mode: games are told apart soon, modes slowly and not always, so that losses keep falling
over orders of magnitude. Measured at every point:

    loss, error                      nats and share of wrong answers on unseen pictures of the same classes
    training_loss, training_error    the same on training pictures: where they part, the model has memorised
    few_shot_error                   share of wrong answers to `few_shot_classes` other classes, of a linear map of the
                                     frozen features that saw `shots` pictures a class (few_shot.py)

FLOPs are counted as networks.py says; measurements do not count. Weights are in single precision; on a GPU
products run in bfloat16 (autocast). What a run takes of its memory is counted by each network's `kept`.

With `base_width` one learning rate serves models of all widths (trainers/loop/parametrisation.py).

Version 2: runs whose rate decays are measured where it has decayed and nowhere else (trainers/loop/schedules.py), and
`constant` is the default, so that the points of a run are of one kind; and the training pictures are a sample that the
seed draws, where they had been the first ones, the same for every seed.

Cells are trained one after another. Measured on a CPU core, 8 vision transformers under torch.func.vmap with batches of
64 run at 0.95 times the speed of one by one at width 16 and at 0.7 from width 32 on: a batch of pictures is a thousand
rows, which fill a core by themselves. Only batches of 16 at width 16 gain, 1.7 times (benchmarks/vision_speed.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from trainers.contract import Context, Counts, End, Point, check_config
from trainers.loop import (
    DataIdentity,
    SingleModel,
    branch_steps,
    fitted,
    measured_steps,
    schedule_rules,
    state_bytes,
    train_cohorts,
)
from trainers.vision.few_shot import few_shot_error
from trainers.vision.networks import (
    ARCHITECTURES,
    copy_bytes,
    features,
    initial_weights,
    logits,
    parameters,
    part_bytes,
    rate_factors,
    training_flops,
)
from trainers.vision.reading import MOST_READERS
from trainers.vision.run_pictures import DRAWS, RunPictures

TINY_LOSS = 1e-9
"""Losses are kept above this, since a law is fitted to their logarithm."""
HELD_BYTES = 2**32
"""Training pictures of so many bytes and less are taken to fit on any GPU, so that no cores are asked for to read."""
FEWEST_PICTURES = 32
"""Of a part of a batch, before blocks are computed again: with fewer, products leave most of a GPU idle."""


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """One network, its pictures and its training run."""

    architecture: str = "vit"
    """`vit`, `mixer`, `resnet`, or `linear` to compare with, for which width and depth mean nothing."""
    width: int = 64
    """Width of the residual stream; of a `resnet`, channels of its stem."""
    base_width: int = field(default=0, metadata={"added": True})
    """Above 0, other widths take over learning rate and initial weights of this one, by maximal update parametrisation
    (trainers/loop/parametrisation.py); 0 is the standard parametrisation."""
    depth: int = 4
    """Blocks. A `resnet` spreads them over four stages; 16, 33 and 50 are ResNet-50, -101 and -152."""
    head_size: int = 32
    """Width of one attention head of a `vit`."""
    patch_size: int = 8
    """Side of a patch in pixels. The stem of a `resnet` shrinks pictures by this: 1, 2 or the published 4."""
    pictures: str = "procgen"
    """The set: `procgen`, `fashion-mnist`, `hub:NAME`, `hub:NAME:SUBSET`, or a folder: of one folder a class, of
    Parquet files, or of the idx files of MNIST and its like."""
    picture_column: str = "image"
    """The field of a data set's record that holds the picture."""
    label_column: str = "label"
    """The field of a data set's record that holds the class."""
    resolution: int = 32
    """Side of a picture in pixels, after cropping to the middle square."""
    classes: int = 24
    """Classes that are trained on."""
    dataset_size: int = 16_384
    """Unique training pictures, drawn from the whole set by the seed, a larger set holding the smaller; with
    `steps * batch_size` or more of them none is seen twice."""
    steps: int = 1_000
    """Optimiser steps."""
    batch_size: int = 64
    """Pictures a step."""
    accumulation: int = field(default=1, metadata={"execution": True})
    """Parts that a batch is processed in, one after another; on a GPU more where its memory asks for them."""
    checkpointing: bool = field(default=False, metadata={"execution": True, "added": True})
    """Whether blocks are computed again in the backward pass instead of kept; on a GPU also where only small parts
    of a batch would fit otherwise."""
    shift: int = 0
    """Pixels by which a training picture is moved at random, at most; what enters repeats the edge."""
    flip: bool = False
    """Whether training pictures are mirrored at random."""
    random_crop: float = field(default=0.0, metadata={"added": True})
    """Above 0, training pictures are random crops that keep at least this share of the area, at sides of 3:4 to 4:3,
    brought to the resolution; the usual share is 0.08."""
    stored_resolution: int = field(default=0, metadata={"added": True})
    """Side in pixels of the training pictures that crops are taken of; 0 is the resolution. 256 is usual for 224."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    schedule: str = "constant"
    """Learning rate after the warm-up: `constant`, measured on the way; `cosine` (to a tenth) or `wsd` (constant, then
    linear to zero), measured at the end; or `anneal`, a `wsd` run of every measured length, all from one trunk."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises to its peak."""
    decay_share: float = 0.2
    """Part of the run over which `wsd` decays, and of its length each branch of `anneal`."""
    weight_decay: float = 0.1
    """Decoupled weight decay a step, before the learning rate; norms and biases do not decay."""
    gradient_clip: float = 1.0
    """Largest norm of a step's gradient; 0 does not clip."""
    init_scale: float = 1.0
    """Factor on the initial weights. The convolutions of a `resnet` are standardised: there it only divides the
    effect of the learning rate."""
    test_size: int = 1_024
    """Unseen pictures that a measurement uses, and the most training pictures."""
    few_shot_classes: int = 8
    """Classes of the few-shot probe, none of them trained on; 0 leaves the probe out."""
    shots: int = 10
    """Pictures of each of these classes that the probe learns from."""
    few_shot_size: int = 512
    """Pictures that the probe is asked about."""
    seed: int = 0
    """Seed of the weights, the training pictures and the order in which they are seen."""

    def __post_init__(self) -> None:
        known = self.architecture in ARCHITECTURES
        fits = known and self.patch_size >= 1 and ARCHITECTURES[self.architecture].patch_sizes(self)
        heads = self.architecture != "vit" or self.width % max(1, self.head_size) == 0
        check_config(
            self,
            **schedule_rules(self),
            architecture=(known, f"one of {', '.join(ARCHITECTURES)}"),
            width=(self.width >= 1 and heads, f"a positive multiple of head_size = {self.head_size}"),
            base_width=(self.base_width >= 0, "at least 0"),
            depth=(self.depth >= (4 if self.architecture == "resnet" else 1), "at least 1, of a resnet at least 4"),
            head_size=(self.head_size >= 1, "at least 1"),
            patch_size=(fits, f"a divisor of resolution = {self.resolution}, of a resnet 1, 2 or 4"),
            resolution=(self.resolution >= 1, "at least 1"),
            classes=(self.classes >= 2, "at least 2"),
            dataset_size=(self.dataset_size >= 1, "at least 1"),
            steps=(self.steps >= 1, "at least 1"),
            batch_size=(1 <= self.batch_size <= self.dataset_size, f"from 1 to dataset_size = {self.dataset_size}"),
            accumulation=(
                self.accumulation >= 1 and self.batch_size % self.accumulation == 0,
                f"a divisor of batch_size = {self.batch_size}",
            ),
            shift=(0 <= self.shift < self.resolution, f"at least 0 and below resolution = {self.resolution}"),
            random_crop=(
                0 <= self.random_crop <= 1 and not (self.random_crop and self.shift),
                "from 0 to 1, and 0 where shift is not",
            ),
            stored_resolution=(
                self.stored_resolution == 0 or self.stored_resolution >= self.resolution and self.random_crop > 0,
                f"0, or at least resolution = {self.resolution} where random_crop is above 0",
            ),
            gradient_clip=(self.gradient_clip >= 0, "at least 0"),
            test_size=(self.test_size >= 1, "at least 1"),
            few_shot_classes=(self.few_shot_classes != 1 and self.few_shot_classes >= 0, "0 or at least 2"),
            shots=(self.shots >= 1, "at least 1"),
            few_shot_size=(self.few_shot_size >= 1, "at least 1"),
            seed=(self.seed >= 0, "at least 0"),
        )


class Vision:
    """See the module's docstring."""

    name = "vision"
    version = 2
    Config = VisionConfig
    units = {"dataset_size": "pictures", "examples": "pictures", "batch_size": "pictures"}

    def count(self, config: VisionConfig) -> Counts:
        total, without_embeddings = parameters(config)
        return Counts(
            parameters=total,
            parameters_without_embeddings=without_embeddings,
            flops_per_step=config.batch_size * training_flops(config),
            steps=config.steps,
            branch_steps=branch_steps(config, self.evaluation_steps(config)),
            bytes=state_bytes(config) * total + copy_bytes(config) + part_bytes(config),
        )

    def batch_parts(self, config: VisionConfig) -> int:
        return config.batch_size

    def fitted(self, config: VisionConfig, bytes: int) -> VisionConfig | None:
        return fitted(self, config, bytes, examples=config.batch_size, fewest=FEWEST_PICTURES)

    def threads(self, config: VisionConfig) -> int:
        """Those that read pictures which may not fit on the device, and the one that trains."""
        side = config.stored_resolution or config.resolution
        few = min(config.dataset_size, config.steps * config.batch_size) * 3 * side**2 < HELD_BYTES
        return 1 if few else 1 + MOST_READERS

    def evaluation_steps(self, config: VisionConfig) -> tuple[int, ...]:
        return measured_steps(config, first=16)

    def cohort_key(self, config: VisionConfig) -> tuple:
        # Cells of a cohort are trained one after another: see the module's docstring. They need the same pictures, so
        # that none fails for what another asks of the set.
        may_differ = ("learning_rate", "schedule", "warmup_steps", "decay_share", "weight_decay", "gradient_clip")
        may_differ += ("init_scale", "shift", "flip", "random_crop", "seed")
        return tuple(getattr(config, field.name) for field in fields(config) if field.name not in may_differ)

    def train(self, configs: Sequence[VisionConfig], context: Context) -> Iterator[Point | End]:
        return train_cohorts(VisionModel, self, configs, context, together=False)


class VisionModel(SingleModel):
    """One model and its pictures on one device."""

    def prepare(self) -> tuple[dict, DataIdentity]:
        import torch

        self.pictures = RunPictures(self.config, self.device)
        self.logits = self.compiled(logits)
        weights = {
            name: torch.from_numpy(weight).to(self.device) for name, weight in initial_weights(self.config).items()
        }
        data = DataIdentity(kind="pictures", name=self.config.pictures, digest=self.pictures.digest)
        return {name: weight.requires_grad_() for name, weight in weights.items()}, data

    def rate_factors(self) -> dict[str, float]:
        return rate_factors(self.config)

    def batch(self) -> Iterator[tuple]:
        pictures, labels = self.pictures.batch(self.step, self.group.rows(self.config.batch_size))
        part = self.config.batch_size // self.config.accumulation
        return zip(pictures.split(part), labels.split(part), strict=True)

    def loss(self, part: tuple):
        from torch.nn.functional import cross_entropy

        pictures, labels = part
        return cross_entropy(self._through(self.logits, pictures), labels)

    def _through(self, function, pictures):
        """Features or logits of pictures, uint8."""
        signed = pictures.float().mul_(2 / 255).sub_(1)
        with self.low_precision():
            return function(self.config, self.weights, signed)

    def metrics(self) -> dict[str, float]:
        import torch

        with torch.no_grad():
            loss, error = self._loss_and_error(self.pictures.test)
            training_loss, training_error = self._loss_and_error(self.pictures.training_subset)
            metrics = {"loss": loss, "error": error, "training_loss": training_loss, "training_error": training_error}
            if self.pictures.few_shot and all(math.isfinite(value) for value in metrics.values()):
                metrics["few_shot_error"] = self._few_shot_error()
        return metrics

    def _loss_and_error(self, parts: list) -> tuple[float, float]:
        """Mean loss and share of wrong answers on measured pictures."""
        from torch.nn.functional import cross_entropy

        nats = wrong = count = 0
        for pictures, labels in parts:
            scores = self._through(self.logits, pictures)
            nats += float(cross_entropy(scores, labels, reduction="sum"))
            wrong += int((scores.argmax(1) != labels).sum())
            count += len(labels)
        # A set of n pictures cannot show an error below about 1/(2n).
        return max(TINY_LOSS, nats / count) if math.isfinite(nats) else nats, max(wrong, 0.5) / count

    def _few_shot_error(self) -> float:
        """The mean over several sets of shots; the questions are the same."""
        parts = [self._through(features, pictures).float().cpu().numpy() for pictures, _ in self.pictures.few_shot]
        extracted = np.concatenate(parts)
        labels = np.concatenate([labels.cpu().numpy() for _, labels in self.pictures.few_shot])
        if not np.isfinite(extracted).all():
            return math.nan
        shots = self.config.few_shot_classes * self.config.shots
        questions = slice(DRAWS * shots, None)
        errors = [
            few_shot_error(
                shots=extracted[start : start + shots],
                labels=labels[start : start + shots],
                questions=extracted[questions],
                answers=labels[questions],
            )
            for start in range(0, DRAWS * shots, shots)
        ]
        return max(float(np.mean(errors)), 0.5 / len(extracted[questions]))


VISION = Vision()
