"""How many pictures a second a core brings to a GPU: our prepared shards beside a DataLoader that decodes files.

    python benchmarks/pictures_speed.py [--pictures 1024]

JPEG files of 500 x 375 pixels, about as large as ImageNet's, are made up, and then

    decoded          what preparing them costs once: decoding, and the middle square brought to the resolution
    shards           what a run reads at every step: batches copied from prepared shards, ready for the GPU
    shards of 256    the same where random crops to 224 and mirror images are taken of them on the GPU; and, for those
                     who have none, with the crops on the CPU
    DataLoader       torch's own, over the files: decoded by PIL at every step, brought to size, or varied likewise by
                     PIL, and by torchvision where that can be imported

All in one thread, or in as many as are named, timed in CPU seconds, which other work on the machine does not lengthen,
but slows: both kinds share caches and memory with it. Files and shards are in the system's page cache.

FFCV publishes 172,801 pictures a second from memory for raw pictures of 256 pixels, and 31,278 for JPEGs of 512 at 90%,
with random crops to 224 and mirror images, on all cores of a p3dn.24xlarge (docs.ffcv.io/benchmarks.html), which are 48
of an Intel Xeon Platinum 8175M, with two threads each: 3,600 and 652 a core.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from trainers.vision import PictureSet, VisionConfig, brought_to, middle_square, random_crops, training_flops

GOAL = 10.0
BATCH, RESOLUTION, STORED = 128, 224, 256
PEAK, MFU = 989e12, 0.4
"""Of an H100 in bfloat16, by the maker's data sheet, and the share of it that trainers are asked for."""
FFCV = {"FFCV, raw 256, published": 172_801 / 48, "FFCV, JPEG 512, published": 31_278 / 48}


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Made-up photographs: smooth colours with the noise of a sensor, in four classes."""
    random, files = np.random.default_rng(0), []
    for number in range(count):
        smooth = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
        pixels = np.asarray(smooth, np.int16) + random.integers(-24, 25, (375, 500, 3), dtype=np.int16)
        file = folder / str(number % 4) / f"{number:05d}.jpg"
        file.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=94)
        files.append(file)
    return files


class Files(torch.utils.data.Dataset):
    """The files as a tutorial reads them, from memory, varied or brought to size."""

    def __init__(self, files: list[Path], vary: Callable | None):
        self._stored, self._vary = [file.read_bytes() for file in files], vary
        self._random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: int):
        picture = Image.open(io.BytesIO(self._stored[index])).convert("RGB")
        if self._vary is not None:
            return self._vary(picture), 0
        return torch.from_numpy(middle_square(picture, RESOLUTION).copy()), 0


def varied_by_pil(picture: Image.Image) -> torch.Tensor:
    """A random crop of at least 0.08 of the area, at the resolution, mirrored half of the time."""
    random = np.random.default_rng()
    ((top, left, height, width),) = random_crops(random, 1, side=min(picture.size), smallest=0.08).tolist()
    box = (left, top, left + width, top + height)
    picture = picture.resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR, box=box)
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(picture))


def by_torchvision() -> Callable | None:
    try:
        from torchvision.transforms import v2
    except Exception:  # A wheel of PyPI beside torch's build for CPUs raises RuntimeError.
        return None
    return v2.Compose([v2.RandomResizedCrop(RESOLUTION), v2.RandomHorizontalFlip(), v2.PILToTensor()])


def spent() -> float:
    """CPU seconds of this process and of those that it has waited for."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def show(name: str, pictures: int, work: Callable[[], object]) -> float:
    """Pictures a second of CPU time: of the fastest of three passes."""
    best, wall = float("inf"), float("inf")
    for _ in range(3):
        began, started = spent(), time.perf_counter()
        work()
        best, wall = min(best, spent() - began), min(wall, time.perf_counter() - started)
    print(f"  {name:34} {pictures / best:10,.0f}   {pictures / wall:10,.0f}", flush=True)
    return pictures / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1_024)
    count = parser.parse_args().pictures
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        os.environ["UNSL_CACHE"] = str(Path(name) / "cache")
        files = write_pictures(Path(name) / "files", count)
        size = sum(file.stat().st_size for file in files) / count
        print(f"{count:,} JPEGs of 500 x 375, {size / 1e3:.0f} kB each, to {RESOLUTION} pixels, batches of {BATCH}")
        print(f"  {'pictures a second':34} {'a core':>10}   {'wall clock':>10}")
        compare(files, Path(name) / "files", count)


def compare(files: list[Path], folder: Path, count: int) -> None:
    rows = [np.random.default_rng(0).permutation(count)[start : start + BATCH] for start in range(0, count, BATCH)]

    def shards(resolution: int, threads: int):
        found = PictureSet(pictures=str(folder), resolution=resolution, classes=4, few_shot_classes=0)
        part = found.part("train", found.size("train"), "cpu")
        if threads:
            part.read_ahead(threads)
        return part, [batch % part.count for batch in rows]

    def read(resolution: int, threads: int, crops: bool) -> Callable[[], None]:
        part, batches = shards(resolution, threads)

        def one_pass() -> None:
            for number, batch in enumerate(batches):
                pictures, _ = part.take(batch, batches[number + 1 : number + 5])
                if crops:
                    random = np.random.default_rng((0, number))
                    boxes = random_crops(random, len(batch), side=resolution, smallest=0.08)
                    brought_to(RESOLUTION, pictures, boxes, random.random(len(batch)) < 0.5)

        return one_pass

    def load(vary: Callable | None, workers: int) -> Callable[[], None]:
        loader = torch.utils.data.DataLoader(Files(files, vary), BATCH, shuffle=True, num_workers=workers)
        return lambda: [None for _ in loader]

    stored = Files(files, None)
    once = show("JPEGs decoded, as shards are made", count, lambda: [stored[index] for index in range(count)])
    plain = show("shards of 224", count, read(RESOLUTION, 0, False))
    show("shards of 224, read in 2 threads", count, read(RESOLUTION, 2, False))
    ours = show("shards of 256, before the GPU crops", count, read(STORED, 0, False))
    show("shards of 256, crops on the CPU", count, read(STORED, 0, True))
    show("DataLoader of JPEGs", count, load(None, 0))
    theirs = show("DataLoader of JPEGs, crops by PIL", count, load(varied_by_pil, 0))
    show("the same, 2 workers", count, load(varied_by_pil, 2))
    if (transforms := by_torchvision()) is not None:
        theirs = max(theirs, show("DataLoader, crops by torchvision", count, load(transforms, 0)))
    else:
        print("  torchvision cannot be imported here")
    for name, rate in FFCV.items():
        print(f"  {name:34} {rate:10,.0f}   on another machine")
    tiny = VisionConfig(
        width=192, depth=12, head_size=64, patch_size=16, resolution=RESOLUTION, classes=1_000, few_shot_classes=0
    )
    wanted = MFU * PEAK / training_flops(tiny)
    print(f"a ViT-Ti/16 at {MFU:.0%} of an H100's peak learns from {wanted:,.0f} pictures a second; cores that takes:")
    for name, rate in {
        "shards of 256": ours,
        "shards of 224": plain,
        "JPEGs at every step": theirs,
        "FFCV, raw": FFCV["FFCV, raw 256, published"],
    }.items():
        print(f"  {name:34} {wanted / rate:10,.1f}")
    print(f"ImageNet's 1.28 million are decoded once, in {1.28e6 / once / 3600:.2f} hours of a core")
    print(f"pictures_speed: {ours / theirs:.1f} (goal {GOAL})")


if __name__ == "__main__":
    main()
