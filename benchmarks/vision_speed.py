"""How fast pictures are learned: ours beside the loop that a user would write, and cohorts beside one at a time.

    python benchmarks/vision_speed.py [--device cuda]

The usual loop is a tutorial's: transformers' ViTForImageClassification, a data set that turns a stored PNG into a
tensor, a DataLoader that shuffles, torch's AdamW, clipping and a schedule. A second rival has its pictures decoded in
memory already. All train the same architecture on the same frames. On a GPU a ViT-S/16 is trained as well, for the
share of the peak.

The cohort: 8 models of one shape as one program (torch.func.vmap over the same functions) beside one at a time. The
trainer trains one at a time: `vision_one_at_a_time` says how much faster that is over the shapes of the study.

On a CPU everything runs on one thread and is timed in CPU seconds, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image
from support.clock import PEAK_FLOPS, Clock
from torch.nn.functional import cross_entropy

from trainers.vision import VISION, VisionConfig, VisionModel, initial_weights, logits

GOAL, MFU_GOAL = 1.0, 0.4
CALLS = 8
COHORT = 8


class StoredPictures(torch.utils.data.Dataset):
    """Pictures as a data set of files holds them, turned into tensors one by one."""

    def __init__(self, run: VisionModel, count: int, *, decoded: bool):
        pictures, labels = run.pictures.training.take(np.arange(count))
        self.labels = labels.cpu()
        self.stored = list(pictures.cpu().numpy()) if decoded else [_png(picture) for picture in pictures.cpu().numpy()]

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: int):
        stored = self.stored[index]
        pixels = stored if isinstance(stored, np.ndarray) else np.array(Image.open(io.BytesIO(stored)).convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1, self.labels[index]


def _png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def usual_loop(config: VisionConfig, run: VisionModel, device: str, *, decoded: bool) -> Callable[[], None]:
    from transformers import ViTConfig, ViTForImageClassification

    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.width // config.head_size,
            intermediate_size=4 * config.width,
            image_size=config.resolution,
            patch_size=config.patch_size,
            num_labels=config.classes,
        )
    ).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    data = StoredPictures(run, min(config.dataset_size, 16 * config.batch_size), decoded=decoded)
    workers = 8 if device.startswith("cuda") else 0
    loader = torch.utils.data.DataLoader(
        data, batch_size=config.batch_size, shuffle=True, drop_last=True, num_workers=workers, pin_memory=workers > 0
    )
    batches = _endless(loader)

    def step() -> None:
        pictures, labels = (part.to(device, non_blocking=True) for part in next(batches))
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device.startswith("cuda")):
            loss = model(pixel_values=pictures, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        scheduler.step()
        optimiser.zero_grad()

    return step


def _endless(loader) -> Iterator:
    while True:
        yield from loader


def speed(config: VisionConfig, device: str, clock: Clock) -> None:
    counts = VISION.count(config)
    run = VisionModel(VISION, [config], [0], device)

    def ours() -> None:
        run.update()
        run.step += 1

    seconds = {
        "ours": clock.per_call(ours, CALLS),
        "usual loop": clock.per_call(usual_loop(config, run, device, decoded=False), CALLS),
        "usual loop, decoded": clock.per_call(usual_loop(config, run, device, decoded=True), CALLS),
    }
    print(
        f"ViT of width {config.width} and depth {config.depth}, {counts.parameters:,} parameters, {config.resolution} "
        f"pixels in patches of {config.patch_size}, batches of {config.batch_size}, on {device}"
    )
    peak = next((flops for name, flops in PEAK_FLOPS.items() if clock.cuda and name in torch.cuda.get_device_name()), 0)
    for name, each in seconds.items():
        rate = counts.flops_per_step / each
        share = f"{rate / peak:.1%} of the peak" if peak else f"{rate / 1e9:.1f} GFLOP/s"
        print(f"  {name:22} {config.batch_size / each:10,.0f} images/s   {share}")
    if peak:
        print(f"vision_mfu: {counts.flops_per_step / seconds['ours'] / peak:.3f} (goal {MFU_GOAL})")
    print(f"vision_speed: {seconds['usual loop'] / seconds['ours']:.2f} (goal {GOAL})")
    print(f"vision_speed_decoded: {seconds['usual loop, decoded'] / seconds['ours']:.2f} (goal {GOAL})")


def cohort(device: str, clock: Clock) -> None:
    """Forward, backward and update of several models: as one program, and one at a time."""
    print(f"{COHORT} models of one shape as one program, beside one at a time, on {device}")
    of_study = {"alone": 0.0, "together": 0.0}
    for architecture, width, batch in (
        *(("vit", width, batch) for width in (16, 32, 64, 128) for batch in (16, 64)),
        ("mixer", 16, 16),
        ("mixer", 64, 64),
        ("resnet", 8, 16),
    ):
        config = VisionConfig(
            architecture=architecture,
            width=width,
            depth=4 if architecture == "resnet" else 2,
            head_size=16,
            patch_size=2 if architecture == "resnet" else 8,
            batch_size=batch,
        )
        alone, together = (clock.per_call(_stacked(config, device, vectorised), CALLS) for vectorised in (False, True))
        if architecture == "vit" and batch == 64:
            of_study = {"alone": of_study["alone"] + alone, "together": of_study["together"] + together}
        print(f"  {architecture:7} width {width:4} batch {batch:3}   x{alone / together:.2f}")
    print(f"vision_one_at_a_time: {of_study['together'] / of_study['alone']:.2f} (goal {GOAL})")


def _stacked(config: VisionConfig, device: str, vectorised: bool) -> Callable[[], None]:
    pictures = torch.rand(COHORT, config.batch_size, config.resolution, config.resolution, 3, device=device)
    labels = torch.randint(0, config.classes, (COHORT, config.batch_size), device=device)
    one = {name: torch.from_numpy(weight).to(device) for name, weight in initial_weights(config).items()}

    def loss(weights, some, right):
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device.startswith("cuda")):
            return cross_entropy(logits(config, weights, some), right)

    if vectorised:
        stacked = {name: weight.expand(COHORT, *weight.shape).clone().requires_grad_() for name, weight in one.items()}
        optimiser = torch.optim.AdamW(stacked.values(), fused=True)

        def step() -> None:
            torch.func.vmap(loss)(stacked, pictures, labels).sum().backward()
            optimiser.step()
            optimiser.zero_grad()

        return step
    models = [{name: weight.clone().requires_grad_() for name, weight in one.items()} for _ in range(COHORT)]
    optimisers = [torch.optim.AdamW(weights.values(), fused=True) for weights in models]

    def steps() -> None:
        for weights, optimiser, some, right in zip(models, optimisers, pictures, labels, strict=True):
            loss(weights, some, right).backward()
            optimiser.step()
            optimiser.zero_grad()

    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    device = parser.parse_args().device
    clock = Clock(device)
    torch.set_num_threads(1)
    cohort(device, clock)
    speed(VisionConfig(dataset_size=1_024, few_shot_classes=0, test_size=64), device, clock)
    if clock.cuda:
        vit_small = VisionConfig(
            width=384, depth=12, head_size=64, patch_size=16, resolution=224, batch_size=1_024, dataset_size=8_192,
            few_shot_classes=0, test_size=64, steps=20_000,
        )  # fmt: skip
        speed(vit_small, device, clock)


if __name__ == "__main__":
    main()
