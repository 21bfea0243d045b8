"""A data set of the hub or of local files as a set of pictures, read through `datasets`.

Its test pictures are its split `validation` or `test`, or else a tenth of its training pictures.
"""

from __future__ import annotations

import io
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np

from trainers.contract import TrainerError
from trainers.data import nested_subset
from trainers.vision.idx import idx_files, idx_splits
from trainers.vision.records import ORDER_SEED, middle_square, record

SHARD = 1_024
"""Pictures in one file."""
BLOCK = 128
"""Pictures that are read at once, and about as many as wait to be decoded."""
RESERVED = 10
"""One picture in this many is for the test where a data set has no split for it."""


class DataSet:
    """See the module's docstring."""

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
        """Pictures are decoded in threads while those that follow are read, a block of each at a time."""
        data = self._test if part == "test" else self._train
        rows = self._rows[part][number * SHARD : (number + 1) * SHARD]
        records = np.zeros(len(rows), record(resolution))
        picture, label = self._columns

        def decode(place: int, stored: dict | np.ndarray) -> None:
            records["picture"][place] = self._decoded(stored, rows[place], resolution)

        with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoding runs outside Python's lock
            under_way: deque[Future] = deque()
            for start in range(0, len(rows), BLOCK):
                found = data[rows[start : start + BLOCK]]
                places = range(start, start + len(found[label]))
                records["label"][start : places.stop] = [self._number[part][kind] for kind in found[label]]
                while len(under_way) > BLOCK:
                    under_way.popleft().result()
                under_way += map(threads.submit, repeat(decode), places, found[picture])
            for one in under_way:
                one.result()
        return records

    def _decoded(self, stored: dict | np.ndarray, row: int, resolution: int) -> np.ndarray:
        from PIL import Image

        if isinstance(stored, np.ndarray):
            return middle_square(np.stack([stored] * 3, axis=-1), resolution)

        try:
            with Image.open(io.BytesIO(stored["bytes"]) if stored["bytes"] else stored["path"]) as picture:
                return middle_square(picture.convert("RGB"), resolution)
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
