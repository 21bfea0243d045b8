"""What pictures a set holds, how it is prepared, and what is said of sets that cannot be."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from small_vision import colours, config

from trainers import Point, TrainerError
from trainers.battery import Recorder
from trainers.battery import run_in_memory as run
from trainers.vision import VISION, PictureSet


def test_frames_of_games_are_equal_everywhere_and_balanced(cache, monkeypatch):
    def frames(part, count):
        games = PictureSet(pictures="procgen", resolution=16, classes=3, few_shot_classes=2)
        return games.part(part, count, "cpu").take(np.arange(count))

    pictures, labels = frames("train", 400)
    assert labels[:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert pictures.shape == (400, 16, 16, 3) and len(np.unique(pictures.numpy().reshape(400, -1), axis=0)) > 390
    monkeypatch.setenv("UNSL_CACHE", str(cache / "other"))
    again, _ = frames("train", 10)
    assert torch.equal(again, pictures[:10])
    test, _ = frames("test", 10)
    assert not torch.equal(test, again)
    assert frames("few_shot", 6)[1].tolist() == [0, 1, 0, 1, 0, 1]


def taken(found: PictureSet, count: int, seed: int) -> list[bytes]:
    pictures, labels = found.part("train", count, "cpu", seed=seed).take(np.arange(count))
    return [
        picture.tobytes() + bytes([label]) for picture, label in zip(pictures.numpy(), labels.tolist(), strict=True)
    ]


def test_the_seed_draws_training_pictures_from_the_whole_set(cache, folder):
    found = colours(folder)
    samples = [taken(found, 6, seed) for seed in range(30)]
    assert len({frozenset(sample) for sample in samples}) > 25
    assert len({picture for sample in samples for picture in sample}) == 22, "every picture is drawn by some seed"
    assert taken(found, 15, 3)[:6] == samples[3] and len(set(taken(found, 22, 3))) == 22
    pictures, _ = found.part("train", 22, "cpu").take(np.arange(22))
    whole = {picture.tobytes() for picture in pictures.numpy()}
    assert all(picture[:-1] in whole for picture in samples[0])


def test_a_sample_spans_the_shards_of_a_set(cache, folder, monkeypatch):
    monkeypatch.setattr("trainers.vision.pictures.SHARD", 4)
    in_shards = [taken(colours(folder), 22, seed) for seed in (0, 1)]
    shutil.rmtree(cache)
    monkeypatch.undo()
    monkeypatch.setenv("UNSL_CACHE", str(cache))
    assert in_shards == [taken(colours(folder), 22, seed) for seed in (0, 1)]


def test_every_seed_has_frames_of_its_own(cache):
    games = PictureSet(pictures="procgen", resolution=16, classes=2, few_shot_classes=0)
    one, other = taken(games, 8, 0), taken(games, 8, 1)
    assert not set(one) & set(other) and taken(games, 4, 1) == other[:4]


def test_reading_ahead_changes_nothing(cache, folder):
    part = colours(folder).part("train", 22, "cpu")
    expected = [part.take(rows)[0] for rows in (np.arange(5), np.arange(5, 9), np.arange(3))]
    part._reader = ThreadPoolExecutor(1)
    found = [part.take(np.arange(5), following=np.arange(5, 9))[0], part.take(np.arange(5, 9), np.arange(9))[0]]
    found.append(part.take(np.arange(3))[0])
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_folder_of_pictures(cache, folder):
    found = colours(folder)
    assert {part: found.size(part) for part in ("train", "test", "few_shot")} == {
        "train": 22,
        "test": 2,
        "few_shot": 24,
    }
    pictures, labels = found.part("train", 22, "cpu").take(np.arange(22))
    means = pictures.float().mean((1, 2))
    first, second = means[labels == 0], means[labels == 1]
    assert len(first) + len(second) == 22 and first.std(0).max() < 10 and (first.mean(0) - second.mean(0)).norm() > 90
    held_out, kinds = found.part("few_shot", 24, "cpu").take(np.arange(24))
    assert kinds[:4].tolist() == [0, 1, 0, 1]
    distance = torch.cdist(held_out.float().mean((1, 2)), means)
    assert distance.min() > 60, "classes of the probe are not trained on"


def test_parquet_with_a_split_for_the_test(cache, folder, tmp_path):
    import datasets

    data = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train").rename_column("label", "kind")
    data.select(range(0, 48, 2)).to_parquet(str(tmp_path / "set" / "train-0.parquet"))
    data.select(range(1, 48, 2)).to_parquet(str(tmp_path / "set" / "validation-0.parquet"))
    found = colours(tmp_path / "set", label_column="kind")
    assert (found.size("train"), found.size("test"), found.size("few_shot")) == (12, 12, 12)
    of = config(pictures=str(tmp_path / "set"), label_column="kind", dataset_size=12, test_size=8, shots=1)
    points, _ = run(VISION, [dataclasses.replace(of, few_shot_size=6)])
    assert points


def test_wrong_sets_are_refused_in_one_line(cache, folder, tmp_path):
    with pytest.raises(TrainerError, match="neither 'procgen', 'fashion-mnist', 'hub:NAME' nor a path"):
        colours(tmp_path / "none")
    with pytest.raises(TrainerError, match="no column 'kind', only image, label: set picture_column"):
        colours(folder, label_column="kind")
    with pytest.raises(TrainerError, match="at most 4"):
        colours(folder, classes=3)
    with pytest.raises(TrainerError, match="at most 32"):
        colours("procgen", classes=30, few_shot_classes=4)
    with pytest.raises(TrainerError, match="have 22 for train, 23 are asked for"):
        colours(folder).part("train", 23, "cpu")
    with pytest.raises(TrainerError, match="batch_size = 99 must be from 1 to dataset_size"):
        config(batch_size=99)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainerError, match="cannot be read"):
        colours(tmp_path / "empty")


def test_a_hub_without_an_answer(cache, monkeypatch):
    import datasets

    def offline(*_, **__):
        raise ConnectionError("Couldn't reach 'no/such' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(TrainerError, match="'hub:no/such' cannot be read: Couldn't reach"):
        colours("hub:no/such")


def test_a_picture_that_does_not_decode(cache, folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    whole = (folder / "red" / "03.png").read_bytes()
    for colour in ("red", "green", "blue", "grey"):
        (broken / colour / "03.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainerError, match=r"row \d+ .*03.png.* does not decode, .*; repair or remove it"):
        colours(broken).part("train", 22, "cpu")
    assert not list((cache / "pictures").rglob("*.npy")) and not list((cache / "pictures").rglob("*.building"))
    for colour in ("red", "green", "blue", "grey"):
        (broken / colour / "03.png").write_bytes(whole)
    assert colours(broken).part("train", 22, "cpu").count == 22


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "another resolution"])
def test_a_half_written_shard_is_made_again(cache, folder, damage):
    expected, _ = colours(folder).part("train", 22, "cpu").take(np.arange(22))
    (path,) = (cache / "pictures").rglob("train-*.npy")
    whole = path.read_bytes()
    if damage == "another resolution":
        np.save(path, np.zeros(22, np.uint8))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": os.urandom(999)}[damage])
    found, _ = colours(folder).part("train", 22, "cpu").take(np.arange(22))
    assert torch.equal(found, expected) and path.read_bytes() == whole


def test_a_full_disk_leaves_nothing_behind(cache, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TrainerError, match="No space left on device; make room there or set UNSL_CACHE"):
            colours(folder).part("train", 22, "cpu")
    assert not list((cache / "pictures").rglob("*.npy")) and not list((cache / "pictures").rglob("*.building"))
    assert colours(folder).part("train", 22, "cpu").count == 22


def test_errors_reach_the_cell_as_one_message(cache):
    of = config(pictures="/no/such/folder")
    with pytest.raises(TrainerError, match="a path that exists here"):
        next(event for event in VISION.train([of], Recorder()) if isinstance(event, Point))
