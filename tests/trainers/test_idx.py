"""Pictures in the idx format: what is read of tiny files, and what is said of absent and damaged ones."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from small_vision import colours, config

from trainers import TrainerError
from trainers.battery import run_in_memory as run
from trainers.vision import VISION, idx

CLASSES = 5


def idx_file(array: np.ndarray) -> bytes:
    """The bytes of an array, uint8, as the format has them."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture
def clothes(tmp_path, monkeypatch):
    """A set of five classes, a picture of class k mostly of brightness 50 k, where the package would be."""
    folder, random = tmp_path / "fashion-mnist", np.random.default_rng(0)
    folder.mkdir()
    for split, count in (("train", 200), ("t10k", 50)):
        labels = random.integers(0, CLASSES, count).astype(np.uint8)
        pictures = (50 * labels[:, None, None] + random.integers(0, 9, (count, 28, 28))).astype(np.uint8)
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_file(pictures)))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(idx_file(labels))
    monkeypatch.setitem(idx.PACKAGED, "fashion-mnist", folder)
    return folder


@pytest.mark.parametrize("by_path", [False, True])
def test_pictures_and_labels_belong_together(cache, clothes, by_path):
    found = colours(clothes if by_path else "fashion-mnist", classes=3)
    assert 80 < found.size("train") < 160 and 20 < found.size("test") < 45 and found.size("few_shot") > 20
    for part in ("train", "test", "few_shot"):
        pictures, labels = found.part(part, found.size(part), "cpu").take(np.arange(found.size(part)))
        assert pictures.shape[1:] == (8, 8, 3) and (pictures == pictures[..., :1]).all(), "grey"
        brightness = (pictures.float().mean((1, 2, 3)) // 50).int().tolist()
        pairs = set(zip(labels.tolist(), brightness, strict=True))
        assert len(pairs) == len({label for label, _ in pairs}) == (2 if part == "few_shot" else 3)


def test_it_is_trained_on(cache, clothes):
    points, _ = run(VISION, [config(pictures="fashion-mnist", classes=3, dataset_size=32, test_size=16)])
    assert points


def test_more_classes_than_there_are(cache, clothes):
    with pytest.raises(TrainerError, match="must together be at most 5"):
        colours("fashion-mnist", classes=4)


def test_an_absent_set_says_where_to_get_it(cache, tmp_path, monkeypatch):
    monkeypatch.setitem(idx.PACKAGED, "fashion-mnist", tmp_path / "none")
    with pytest.raises(TrainerError, match="apt install dataset-fashion-mnist, give the folder .* or take 'hub:"):
        colours("fashion-mnist")


@pytest.mark.parametrize(
    "file, damage, says",
    [
        ("train-images-idx3-ubyte.gz", lambda data: data[: len(data) // 2], "cannot be read"),
        ("t10k-labels-idx1-ubyte", lambda data: data[:-1], "no whole idx file of 1 dimensions"),
        ("t10k-labels-idx1-ubyte", lambda data: b"\0\0\x0d" + data[3:], "no whole idx file"),
        ("t10k-labels-idx1-ubyte", lambda data: data[:3], "no whole idx file"),
        ("t10k-labels-idx1-ubyte", lambda data: idx_file(np.zeros(49, np.uint8)), "50 in .* and 49 labels"),
    ],
)
def test_a_damaged_file_is_named(cache, clothes, file, damage, says):
    (clothes / file).write_bytes(damage((clothes / file).read_bytes()))
    with pytest.raises(TrainerError, match=says):
        colours(clothes)


def test_a_folder_that_lacks_a_file(cache, clothes):
    (clothes / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(TrainerError, match="lack some of train-images-idx3-ubyte"):
        colours(clothes)
