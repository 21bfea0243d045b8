"""What pictures a set holds, how it is prepared, and what is said of sets that cannot be."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from small_vision import colours, config

from trainers import Point, TrainerError
from trainers.battery import Recorder
from trainers.battery import run_in_memory as run
from trainers.procgen import FIRST_TEST_LEVEL, TEST_LEVELS, Games
from trainers.vision import VISION, PictureSet
from trainers.vision.augmentation import brought_to, random_crops
from trainers.vision.run_pictures import RunPictures


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


def test_frames_to_train_on_and_to_ask_about_are_of_the_levels_of_agents(cache, monkeypatch):
    asked, stepped = [], []

    class Recorded(Games):
        def __init__(self, *, first_level, levels, **settings):
            asked.append((first_level, levels))
            stepped.append(0)
            super().__init__(first_level=first_level, levels=levels, **settings)

        def step(self, actions):
            stepped[-1] += 1
            return super().step(actions)

    monkeypatch.setattr("trainers.vision.games.Games", Recorded)
    games = PictureSet(pictures="procgen", resolution=16, classes=1, few_shot_classes=1)
    for part in ("train", "test", "few_shot"):
        games.part(part, 1, "cpu")
    assert asked == [(0, FIRST_TEST_LEVEL), *2 * [(FIRST_TEST_LEVEL, TEST_LEVELS)]]
    assert stepped == [12, 12, 12], "a frame is one of the first dozen of its episode"


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
    monkeypatch.setattr("trainers.vision.sets.SHARD", 4)
    in_shards = [taken(colours(folder), 22, seed) for seed in (0, 1)]
    shutil.rmtree(cache)
    monkeypatch.undo()
    monkeypatch.setenv("UNSL_CACHE", str(cache))
    assert in_shards == [taken(colours(folder), 22, seed) for seed in (0, 1)]


def test_every_seed_has_frames_of_its_own(cache):
    games = PictureSet(pictures="procgen", resolution=16, classes=2, few_shot_classes=0)
    one, other = taken(games, 8, 0), taken(games, 8, 1)
    assert not set(one) & set(other) and taken(games, 4, 1) == other[:4]


def test_reading_ahead_changes_nothing_and_stays_within_bounds(cache, folder, monkeypatch):
    monkeypatch.setattr("trainers.vision.reading.CHUNK", 2)
    part = colours(folder).part("train", 22, "cpu")
    batches = [np.arange(5), np.arange(5, 9), np.arange(3), np.arange(5)]
    expected = [part.take(rows)[0] for rows in batches]
    part.read_ahead(2)
    for number, rows in enumerate(batches):
        found, _ = part.take(rows, following=batches[number + 1 : number + 3])
        assert torch.equal(found, expected[number])
        assert len(part._ahead) == len({next_rows.tobytes() for next_rows in batches[number + 1 : number + 3]})
    unexpected = np.arange(7, 12)
    assert part.take(unexpected)[0].shape == (5, 8, 8, 3) and not part._ahead


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
    pictures = {
        part: {row.tobytes() for row in found.part(part, 12, "cpu").take(np.arange(12))[0].numpy()}
        for part in ("train", "test")
    }
    whole = {row.tobytes() for row in colours(folder).part("train", 22, "cpu").take(np.arange(22))[0].numpy()}
    assert len(pictures["train"] | pictures["test"]) == 24 and len(whole & (pictures["train"] | pictures["test"])) == 22
    of = config(pictures=str(tmp_path / "set"), label_column="kind", dataset_size=12, test_size=8, shots=1)
    kept = RunPictures(dataclasses.replace(of, few_shot_size=6), "cpu")
    assert [len(labels) for _, labels in kept.test] == [8] and of.batch_size == 4, "on a CPU as many as its cache takes"
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


def test_crops_are_brought_to_size_as_pil_does(cache):
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (70, 24, 24, 3), dtype=np.uint8)
    boxes = random_crops(random, len(pictures), side=24, smallest=0.08)
    mirrored = random.random(len(pictures)) < 0.5
    for resolution in (8, 16, 40):
        found = brought_to(resolution, torch.from_numpy(pictures), boxes, mirrored).numpy()
        for picture, (top, left, height, width), mirror, came in zip(pictures, boxes, mirrored, found, strict=True):
            image = Image.fromarray(picture[top : top + height, left : left + width])
            resized = np.asarray(image.resize((resolution, resolution), Image.Resampling.BILINEAR))
            expected = resized[:, ::-1] if mirror else resized
            assert np.abs(came.astype(int) - expected).max() <= 1, "but for rounding, once or twice"


def test_random_crops_are_those_of_the_field():
    boxes = random_crops(np.random.default_rng(0), 20_000, side=256, smallest=0.08)
    top, left, height, width = boxes.T
    assert boxes.min() >= 0 and (top + height).max() <= 256 and (left + width).max() <= 256
    share, ratio = height * width / 256**2, width / height
    assert share.min() > 0.075 and ratio.min() > 0.72 and ratio.max() < 1.39
    # Uniform in the area, but for attempts that do not fit, most of which are large.
    assert 0.45 < np.quantile(share, 0.5) < 0.54 and abs(np.log(ratio).mean()) < 0.01
    assert abs(np.mean(top[height == 128]) - 64) < 5, "anywhere"
    small = random_crops(np.random.default_rng(0), 2_000, side=4, smallest=0.5)[:, 2:]
    assert {(3, 4), (4, 3), (4, 4)} <= set(map(tuple, small.tolist())), "as wide or as high as the picture"
    assert random_crops(np.random.default_rng(0), 5, side=256, smallest=1.0)[:, 2:].min() > 200


def test_crops_are_a_picture_s_by_its_place_and_its_step(cache, folder):
    settings = {"pictures": str(folder), "dataset_size": 16, "test_size": 2, "batch_size": 8, "steps": 8, "flip": True}
    of = config(**settings, few_shot_classes=0, random_crop=0.3, stored_resolution=20)
    run_once = RunPictures(of, "cpu")
    batches = [run_once.batch(step) for step in range(4)]
    again = RunPictures(of, "cpu")
    again.training.read_ahead(2)
    for step in (2, 3):
        whole, labels = again.batch(step)
        assert torch.equal(whole, batches[step][0]) and torch.equal(labels, batches[step][1])
        half, _ = again.batch(step, slice(4, 8))
        assert torch.equal(half, whole[4:])
    assert batches[0][0].shape == (8, 16, 16, 3) and run_once.training.take(np.arange(2))[0].shape == (2, 20, 20, 3)
    plain = RunPictures(dataclasses.replace(of, random_crop=0.0, stored_resolution=0), "cpu")
    assert not torch.equal(plain.batch(0)[0], batches[0][0])
    for (kept, _), (measured, _) in zip(plain.training_subset, run_once.training_subset, strict=True):
        assert (kept.float() - measured.float()).abs().mean() < 12, "measured whole"
    with pytest.raises(TrainerError, match="stored_resolution = 20 must be 0, or at least resolution"):
        dataclasses.replace(of, random_crop=0.0)


def test_a_resumed_run_crops_as_one_that_was_not_interrupted(cache, folder):
    settings = {"pictures": str(folder), "dataset_size": 16, "test_size": 2, "batch_size": 4, "steps": 32}
    of = config(**settings, few_shot_classes=0, random_crop=0.3, flip=True)
    whole, _ = run(VISION, [of])
    begun = Recorder(stop_after_points=1)
    first, _ = run(VISION, [of], begun)
    rest, _ = run(VISION, [of], Recorder(saved=begun.saved))
    assert first and rest and first | rest == whole
