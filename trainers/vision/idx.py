"""Pictures in the idx format of MNIST and the sets made after it: four files, each a header and bytes.

    train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte

compressed (`.gz`) or not. A header is 0, 0, 8 (for bytes), the number of dimensions, and the size of each as a
big-endian number of four bytes.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from trainers.contract import TrainerError

PACKAGED = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
"""Where Debian's package `dataset-NAME` puts a set. Fashion-MNIST: 70,000 pictures of ten kinds of clothes (Xiao, Rasul
& Vollgraf, arXiv 1708.07747)."""
ON_THE_HUB = {"fashion-mnist": "hub:zalando-datasets/fashion_mnist"}
FILES = {"train": "train", "test": "t10k"}
BYTES = 8
"""The format's code for numbers of one byte."""


class IdxSplit:
    """Pictures and labels by number, as a split of a data set gives them: `split[rows]["image"]`, `split["label"]`."""

    def __init__(self, pictures: np.ndarray, labels: np.ndarray, columns: tuple[str, str]):
        self._columns = dict(zip(columns, (pictures, labels), strict=True))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self._columns[key]
        return {name: list(column[key]) for name, column in self._columns.items()}


def idx_files(name: str) -> list[Path] | None:
    """The four files of a packaged set or of a folder; None where the name means pictures of another kind.

    Raises TrainerError where a packaged set is not installed or a folder has only some of the files.
    """
    folder = PACKAGED.get(name) or Path(name).expanduser()
    found, wanted = [], [f"{of}-{kind}-ubyte" for of in FILES.values() for kind in ("images-idx3", "labels-idx1")]
    for stem in wanted:
        found += [path for path in (folder / stem, folder / f"{stem}.gz") if path.is_file()][:1]
    if len(found) == len(wanted):
        return found
    if name in PACKAGED:
        raise TrainerError(
            f"pictures '{name}' are not in {folder}: apt install dataset-{name}, give the folder of the four idx files "
            f"as `pictures`, or take '{ON_THE_HUB[name]}'"
        )
    if found:
        raise TrainerError(f"pictures '{name}' lack some of {', '.join(wanted)} (or the same ending in .gz)")
    return None


def idx_splits(name: str, files: list[Path], columns: tuple[str, str]) -> dict[str, IdxSplit]:
    """The splits `train` and `test` of the files that `idx_files` found. Raises TrainerError where one is damaged."""
    splits = {}
    for split, (pictures, labels) in zip(FILES, (files[:2], files[2:]), strict=True):
        read = [_read(name, path, dimensions) for path, dimensions in ((pictures, 3), (labels, 1))]
        if len(read[0]) != len(read[1]):
            raise TrainerError(
                f"pictures '{name}': {len(read[0])} in {pictures.name}, and {len(read[1])} labels in {labels.name}"
            )
        splits[split] = IdxSplit(*read, columns)
    return splits


def _read(name: str, path: Path, dimensions: int) -> np.ndarray:
    """The bytes of a file in the shape that its header says."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise TrainerError(f"pictures '{name}': {path} cannot be read, {error}; install or copy it again") from error
    header = 4 + 4 * dimensions
    shape = np.frombuffer(data[4:header], ">u4").astype(int) if len(data) >= header else np.zeros(1, int)
    if data[:4] != bytes([0, 0, BYTES, dimensions]) or len(data) != header + shape.prod():
        raise TrainerError(f"pictures '{name}': {path} is no whole idx file of {dimensions} dimensions; copy it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
