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
import json
import os
from pathlib import Path

import numpy as np

from trainers.contract import TrainerError
from trainers.data import cache_folder, keeping
from trainers.vision.games import GameFrames
from trainers.vision.reading import Pictures
from trainers.vision.records import record
from trainers.vision.sets import DataSet

PREPARATION = 1
"""Raise it when the same set is prepared differently: old caches are then left alone."""


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
            self._source = GameFrames(*kinds)
        else:
            self._source = DataSet(pictures, *kinds, picture_column, label_column)
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
        whole = shard.shape == (expected,) and shard.dtype == record(self.resolution)
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
