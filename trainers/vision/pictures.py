"""Labelled pictures: decoded and resized once, then mapped into memory by every run.

    procgen                     the default, and needs no download: frames of the sixteen Procgen games. A class is a
                                game in one of its two modes, a picture is a level of its own after a few random actions
    fashion-mnist               70,000 pictures of clothes, as Debian's package `dataset-fashion-mnist` installs them
    hub:NAME or hub:NAME:SUBSET a data set of the Hugging Face hub
    a path                      a folder of one folder a class, Parquet files as `datasets` writes them, or idx files

A set has three parts. Classes stand in one seeded order: the first ones are trained on (`train`) and tested on other
pictures (`test`), those that follow are for the few-shot probe alone (`few_shot`). The pictures of a part stand in one
seeded order too, so that the first n are a fair sample for every n. What a run trains on is a sample that its seed
draws from the whole of `train`, a larger one holding the smaller: of a data set, pictures from everywhere in that
order; of the games, which are endless, a stretch of pictures of each seed's own. The games' training pictures are of
levels below 2^30, the others of levels above. A data set's test pictures are its split `validation` or `test`, or else
a tenth of its training pictures.

The cache holds each part in shards, made when they are first asked for: files of NumPy, each followed by the SHA-256 of
its pictures and labels. A shard is written aside and renamed when it is whole, under a lock: it is never read
half-written and never made twice.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

from trainers.contract import TrainerError
from trainers.data import cache_folder, keeping, nested_subset
from trainers.procgen import ACTIONS, FIRST_TEST_LEVEL, MODES, SCORES, TEST_LEVELS, Games, engine_seeds
from trainers.vision.idx import idx_files, idx_splits

PREPARATION = 1
"""Raise it when the same set is prepared differently: old caches are then left alone."""
PARTS = ("train", "test", "few_shot")
ORDER_SEED = 0x7E57
"""Seed of the order of classes and pictures, the same for every cell."""
SHARD = 1_024
"""Pictures of a data set in one file."""
SHARDS_OF_A_SEED = 2**20
"""Files of game frames between the pictures of two seeds: more than any run reaches."""
LEVELS = 128
"""Levels of each class in one file of game frames."""
MOST_ACTIONS = 12
"""Random actions before a frame is taken, at most: enough that the frame is no start, few enough to be fast."""
RESERVED = 10
"""One picture in this many is for the test where a data set has no split for it."""


def on_gpu(device) -> bool:
    """Whether a device is a GPU, as torch names it."""
    return str(device).startswith("cuda")


class Pictures:
    """Some pictures of a part, on the device where they fit and mapped from disk otherwise."""

    def __init__(self, shards: dict[int, np.ndarray], places: np.ndarray, device, *, digests: list[bytes]):
        """`places` has the shard's number and the row in it of every picture, (2, pictures)."""
        import torch

        self._shards, self._places, self.device = shards, places, torch.device(device)
        self.count = places.shape[1]
        self.digest = hashlib.sha256(b"".join(digests)).digest()
        """Changes where any picture or label of its shards does."""
        self.labels = np.empty(self.count, np.int64)
        for shard, mine in self._by_shard():
            self.labels[mine] = shard["label"][places[1, mine]]
        shape = (self.count, *next(iter(shards.values()))["picture"].shape[1:])
        self._held = None
        self._ahead, self._reader = None, None
        # Half of what is free: the rest is for the model.
        if on_gpu(self.device) and 2 * np.prod(shape) < torch.cuda.mem_get_info(self.device)[0]:
            self._held = torch.empty(shape, dtype=torch.uint8, device=self.device)
            for shard, mine in self._by_shard():
                part = torch.from_numpy(shard["picture"][places[1, mine]])
                self._held[torch.from_numpy(mine).to(self.device)] = part.to(self.device)
        elif on_gpu(self.device):
            self._reader = ThreadPoolExecutor(1)

    def _by_shard(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every shard and which of the pictures are in it."""
        order = np.argsort(self._places[0], kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(self._places[0, order])) + 1):
            yield self._shards[int(self._places[0, mine[0]])], mine

    def take(self, rows: np.ndarray, following: np.ndarray | None = None):
        """Pictures (rows, side, side, 3), uint8, and labels (rows,), both on the device.

        `following` are the rows to be asked for next: where pictures stay on disk they are read in the meantime.
        """
        import torch

        labels = torch.from_numpy(self.labels[rows]).to(self.device, non_blocking=True)
        if self._held is not None:
            return self._held[torch.from_numpy(rows).to(self.device, non_blocking=True)], labels
        if self._ahead is not None and np.array_equal(self._ahead[0], rows):
            found = self._ahead[1].result()
        else:
            found = self._read(rows)
        self._ahead = None
        if self._reader is not None and following is not None:
            self._ahead = following, self._reader.submit(self._read, following)
        return found.to(self.device, non_blocking=True), labels

    def _read(self, rows: np.ndarray):
        """Pictures in the host's memory."""
        import torch

        places = self._places[:, rows].T.tolist()
        found = np.stack([self._shards[shard]["picture"][row] for shard, row in places])
        return torch.from_numpy(found).pin_memory() if on_gpu(self.device) else torch.from_numpy(found)


class PictureSet:
    """One set of pictures at one resolution, of `classes` classes and `few_shot_classes` others."""

    def __init__(
        self,
        *,
        pictures: str,
        resolution: int,
        classes: int,
        few_shot_classes: int,
        picture_column: str = "image",
        label_column: str = "label",
    ):
        kinds = (classes, few_shot_classes)
        if pictures == "procgen":
            self._source = _GameFrames(*kinds)
        else:
            self._source = _DataSet(pictures, *kinds, picture_column, label_column)
        self.name, self.resolution = pictures, resolution
        key = json.dumps([PREPARATION, self._source.identity, resolution, *kinds])
        self.folder = cache_folder() / "pictures" / hashlib.sha256(key.encode()).hexdigest()[:16]

    def size(self, part: str) -> int:
        """How many pictures there are."""
        return self._source.size(part)

    def part(self, name: str, count: int, device, *, seed: int | None = None) -> Pictures:
        """The first `count` pictures of a part, or with a seed those that it draws, from the cache or prepared now.

        Raises TrainerError where there are too few or one cannot be prepared.
        """
        if count > self.size(name):
            raise TrainerError(
                f"pictures '{self.name}' have {self.size(name)} for {name.replace('_', '-')}, {count} are asked for: "
                "lower dataset_size, test_size or few_shot_size, or take more classes"
            )
        rows = np.arange(count) if seed is None else self._source.drawn(name, count, seed)
        places = np.stack(np.divmod(rows, self._source.shard_rows(name)))
        found = {number: self._shard(name, number) for number in np.unique(places[0]).tolist()}
        shards = {number: shard for number, (shard, _) in found.items()}
        return Pictures(shards, places, device, digests=[digest for _, digest in found.values()])

    def _shard(self, part: str, number: int) -> tuple[np.ndarray, bytes]:
        """A shard and its digest, from the cache or made now."""
        path = self.folder / f"{part}-{number:06d}.npy"
        if (found := self._whole(path, part, number)) is not None:
            return found
        with keeping(f"pictures '{self.name}'", self.folder / "lock"):
            # Another process may have made it while this one waited.
            if (found := self._whole(path, part, number)) is None:
                self._write(path, self._source.shard(part, number, self.resolution))
                found = self._whole(path, part, number)
        return found

    def _whole(self, path: Path, part: str, number: int) -> tuple[np.ndarray, bytes] | None:
        """The shard if it can be read with everything that belongs in it."""
        try:
            shard = np.load(path, mmap_mode="r")
            with path.open("rb") as file:
                file.seek(shard.offset + shard.nbytes)
                digest = file.read()
        except (OSError, ValueError, EOFError):
            return None
        expected = self._source.rows_of(part, number)
        whole = shard.shape == (expected,) and shard.dtype == _record(self.resolution)
        return (shard, digest) if whole and len(digest) == hashlib.sha256().digest_size else None

    @staticmethod
    def _write(path: Path, records: np.ndarray) -> None:
        aside = path.with_suffix(".building")
        try:
            with aside.open("wb") as file:
                np.save(file, records)
                file.write(hashlib.sha256(records.view(np.uint8)).digest())
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


class _GameFrames:
    """Frames of the Procgen games: endless, and the same on every machine."""

    def __init__(self, classes: int, few_shot_classes: int):
        import importlib.metadata

        named = [(game, mode) for game in sorted(SCORES) for mode in MODES]
        # Classes of the probe mostly have a sibling that is trained on, as in a set of natural pictures: of games that
        # are wholly unknown hardly anything is learned from the others (measured).
        named = [named[place] for place in np.random.default_rng(ORDER_SEED).permutation(len(named))]
        if classes + few_shot_classes > len(named):
            raise TrainerError(
                f"classes = {classes} and few_shot_classes = {few_shot_classes} must together be at most {len(named)}: "
                "sixteen games in two modes"
            )
        self._classes = {"train": named[:classes], "few_shot": named[classes : classes + few_shot_classes]}
        self._classes["test"] = self._classes["train"]
        try:
            version = importlib.metadata.version("envpool")
        except importlib.metadata.PackageNotFoundError as error:
            raise TrainerError("pictures 'procgen' need EnvPool: pip install 'envpool>=1.2' gymnasium") from error
        self.identity = ["procgen", version]

    def shard_rows(self, part: str) -> int:
        return LEVELS * len(self._classes[part])

    def rows_of(self, part: str, number: int) -> int:
        return self.shard_rows(part)

    def size(self, part: str) -> int:
        return TEST_LEVELS if self._classes[part] else 0

    def drawn(self, part: str, count: int, seed: int) -> np.ndarray:
        """A stretch of the endless order that no other seed reaches."""
        return seed * SHARDS_OF_A_SEED * self.shard_rows(part) + np.arange(count)

    def shard(self, part: str, number: int, resolution: int) -> np.ndarray:
        """Classes take turns, so that every prefix is balanced."""
        classes = self._classes[part]
        records = np.zeros((LEVELS, len(classes)), _record(resolution))
        for label, (game, mode) in enumerate(classes):
            entropy = (ORDER_SEED, PARTS.index(part), sorted(SCORES).index(game), MODES.index(mode), number)
            frames = self._frames(game, mode, part, entropy)
            records["label"][:, label] = label
            records["picture"][:, label] = [_fitted(frame, resolution) for frame in frames]
        return records.reshape(-1)

    @staticmethod
    def _frames(game: str, mode: str, part: str, entropy: tuple[int, ...]) -> np.ndarray:
        random = np.random.default_rng(entropy)
        taken_at = random.integers(1, MOST_ACTIONS + 1, LEVELS)
        first, levels = (0, FIRST_TEST_LEVEL) if part == "train" else (FIRST_TEST_LEVEL, TEST_LEVELS)
        seeds = engine_seeds(LEVELS, *entropy)
        with Games(game=game, mode=mode, first_level=first, levels=levels, seeds=seeds, threads=1) as games:
            taken = np.zeros_like(games.frames)
            for step in range(1, MOST_ACTIONS + 1):
                games.step(random.integers(0, ACTIONS, LEVELS))
                taken[taken_at == step] = games.frames[taken_at == step]
        return taken


class _DataSet:
    """A data set of the hub or of local files, read through `datasets`."""

    def __init__(self, name: str, classes: int, few_shot_classes: int, picture_column: str, label_column: str):
        self._name, self._columns = name, (picture_column, label_column)
        splits, self.identity = _load(name, picture_column, label_column)
        self._train = splits["train"]
        testing = next((splits[split] for split in ("validation", "test") if split in splits), None)
        labels = np.asarray(self._train[label_column])
        kinds = np.unique(labels)
        kinds = kinds[np.random.default_rng(ORDER_SEED).permutation(len(kinds))]
        if classes + few_shot_classes > len(kinds):
            raise TrainerError(
                f"classes = {classes} and few_shot_classes = {few_shot_classes} must together be at most {len(kinds)}, "
                f"the classes of '{name}'"
            )
        trained, probed = kinds[:classes], kinds[classes : classes + few_shot_classes]
        rows = {"train": _chosen(labels, trained), "few_shot": _balanced(labels, probed)}
        if testing is None:
            reserved = len(rows["train"]) // RESERVED
            rows["test"], rows["train"] = rows["train"][:reserved], rows["train"][reserved:]
            self._test = self._train
        else:
            self._test = testing
            rows["test"] = _chosen(np.asarray(testing[label_column]), trained)
        self._rows = rows
        self._number = {"train": _numbers(trained), "test": _numbers(trained), "few_shot": _numbers(probed)}

    def shard_rows(self, part: str) -> int:
        return SHARD

    def rows_of(self, part: str, number: int) -> int:
        return min(SHARD, self.size(part) - number * SHARD)

    def size(self, part: str) -> int:
        return len(self._rows[part])

    def drawn(self, part: str, count: int, seed: int) -> np.ndarray:
        return nested_subset(seed=seed, size=count, population=self.size(part))

    def shard(self, part: str, number: int, resolution: int) -> np.ndarray:
        data = self._test if part == "test" else self._train
        rows = self._rows[part][number * SHARD : (number + 1) * SHARD]
        records = np.zeros(len(rows), _record(resolution))
        found, (picture, label) = data[rows], self._columns
        records["label"] = [self._number[part][kind] for kind in found[label]]
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding runs outside Python's lock
            decoded = threads.map(lambda stored, row: self._decoded(stored, row, resolution), found[picture], rows)
            for place, pixels in enumerate(decoded):
                records["picture"][place] = pixels
        return records

    def _decoded(self, stored: dict | np.ndarray, row: int, resolution: int) -> np.ndarray:
        from PIL import Image

        if isinstance(stored, np.ndarray):
            return _fitted(np.stack([stored] * 3, axis=-1), resolution)

        try:
            with Image.open(io.BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"]) as picture:
                return _fitted(picture.convert("RGB"), resolution)
        except Exception as error:
            where = f" ({stored['path']})" if isinstance(stored, dict) and stored.get("path") else ""
            raise TrainerError(
                f"pictures '{self._name}': row {row}{where} does not decode, {error}; repair or remove it"
            ) from error


def _load(name: str, picture_column: str, label_column: str) -> tuple[dict, list]:
    """Splits by name, their pictures undecoded, and what decides them."""
    if (files := idx_files(name)) is not None:
        return idx_splits(name, files, (picture_column, label_column)), [*_about(files), picture_column, label_column]
    return _load_with_datasets(name, picture_column, label_column)


@lru_cache(maxsize=2)
def _load_with_datasets(name: str, picture_column: str, label_column: str) -> tuple[dict, list]:
    """As `_load`. This is slow, so that cells share it."""
    import datasets

    datasets.disable_progress_bars()
    hub = name.startswith("hub:")
    if hub:
        source, _, subset = name.removeprefix("hub:").partition(":")
        about, wanted = [name], {"path": source, "name": subset or None}
    else:
        about, wanted = _files(name)
    try:
        loaded = datasets.load_dataset(**wanted)
        if missing := {picture_column, label_column} - set(loaded["train"].column_names):
            raise TrainerError(
                f"pictures '{name}' have no column '{sorted(missing)[0]}', only "
                f"{', '.join(loaded['train'].column_names)}: set picture_column and label_column"
            )
        undecoded = datasets.Image(decode=False)
        splits = {key: loaded[key].cast_column(picture_column, undecoded) for key in loaded}
    except TrainerError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainerError(f"pictures '{name}' cannot be read: {reason}") from error
    fingerprints = [splits[key]._fingerprint for key in sorted(splits)] if hub else []
    return splits, [*about, *fingerprints, picture_column, label_column]


def _about(files: list[Path]) -> list:
    return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _files(name: str) -> tuple[list, dict]:
    """What a path holds: its files with their sizes and times, and how `datasets` is to read them."""
    path = Path(name).expanduser()
    if not path.exists():
        raise TrainerError(
            f"pictures '{name}' are neither 'procgen', 'fashion-mnist', 'hub:NAME' nor a path that exists here"
        )
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    about = _about(files)
    parquet = [file for file in files if file.suffix == ".parquet"]
    if not parquet:
        return about, {"path": "imagefolder", "data_dir": str(path)}
    splits = {file: next((s for s in ("validation", "test") if file.stem.startswith(s)), "train") for file in parquet}
    by_split = {split: [str(f) for f in parquet if splits[f] == split] for split in set(splits.values())}
    return about, {"path": "parquet", "data_files": by_split}


def _chosen(labels: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Rows of some classes, in one seeded order."""
    order = np.random.default_rng((ORDER_SEED, 1)).permutation(len(labels))
    return order[np.isin(labels[order], kinds)]


def _balanced(labels: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Rows of some classes, which take turns until one has no more."""
    order = np.random.default_rng((ORDER_SEED, 1)).permutation(len(labels))
    per_class = [order[labels[order] == kind] for kind in kinds]
    if not per_class:
        return np.empty(0, np.int64)
    return np.stack([rows[: min(map(len, per_class))] for rows in per_class], axis=1).reshape(-1)


def _numbers(kinds: np.ndarray) -> dict:
    return {kind: number for number, kind in enumerate(kinds.tolist())}


def _fitted(picture, resolution: int) -> np.ndarray:
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


def _record(resolution: int) -> np.dtype:
    return np.dtype([("label", np.int32), ("picture", np.uint8, (resolution, resolution, 3))])
