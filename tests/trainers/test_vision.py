"""What pictures are, what networks cost and compute, and what a study of them can rely on."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from recording import Recorder, run
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from trainers import Checkpoint, Point, TrainerError
from trainers.data import pictures
from trainers.data.pictures import PictureSet
from trainers.few_shot import few_shot_error
from trainers.vision import VISION, VisionConfig, VisionModel
from trainers.vision_models import initial_weights, layout, logits

TINY = {"width": 8, "head_size": 4, "depth": 2, "resolution": 16, "patch_size": 4, "batch_size": 4, "steps": 8}
TINY |= {
    "classes": 2,
    "few_shot_classes": 2,
    "shots": 2,
    "test_size": 16,
    "few_shot_size": 16,
    "dataset_size": 64,
    "warmup_steps": 2,
}
NETWORKS = [
    {"architecture": "vit"},
    {"architecture": "vit", "width": 16, "depth": 3, "patch_size": 8, "classes": 5},
    {"architecture": "mixer", "depth": 3},
    {"architecture": "resnet", "depth": 5, "patch_size": 1},
    {"architecture": "resnet", "depth": 4, "patch_size": 4, "resolution": 64, "width": 32},
    {"architecture": "resnet", "depth": 16, "patch_size": 2},
    {"architecture": "linear"},
]


def config(**settings) -> VisionConfig:
    return VisionConfig(**(TINY | settings))


def weights_of(of: VisionConfig) -> dict:
    return {name: torch.from_numpy(weight).requires_grad_() for name, weight in initial_weights(of).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve noisy pictures of each of four colours, as files."""
    root, random = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for name, colour in {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "grey": (99, 99, 99)}.items():
        (root / name).mkdir()
        for number in range(12):
            pixels = np.clip(colour + random.normal(0, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02d}.png")
    return root


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def colours(folder, **settings) -> PictureSet:
    return PictureSet(**({"pictures": str(folder), "resolution": 8, "classes": 2, "few_shot_classes": 2} | settings))


class TestModels:
    @pytest.mark.parametrize("settings", NETWORKS, ids=str)
    def test_counts_equal_the_real_network(self, settings):
        of = config(**settings)
        weights, counts = weights_of(of), VISION.count(of)
        assert counts.parameters == sum(weight.numel() for weight in weights.values())
        assert {name: tuple(weight.shape) for name, weight in weights.items()} == layout(of)
        pictures = torch.rand(of.batch_size, of.resolution, of.resolution, 3)
        labels = torch.arange(of.batch_size) % of.classes
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            cross_entropy(logits(of, weights, pictures), labels).backward()
        assert counter.get_total_flops() == counts.flops_per_step
        assert all(weight.grad is not None and weight.grad.shape == weight.shape for weight in weights.values())

    def test_a_vit_computes_what_transformers_computes(self):
        from transformers import ViTConfig, ViTForImageClassification

        of = config(width=12, classes=3)
        weights = {name: torch.randn(shape) / 4 for name, shape in layout(of).items()}
        theirs = ViTForImageClassification(
            ViTConfig(
                hidden_size=of.width,
                num_hidden_layers=of.depth,
                num_attention_heads=of.width // of.head_size,
                intermediate_size=4 * of.width,
                image_size=of.resolution,
                patch_size=of.patch_size,
                num_labels=of.classes,
                layer_norm_eps=1e-6,
            )
        ).eval()
        theirs.load_state_dict(as_transformers(of, weights))
        pictures = torch.rand(5, of.resolution, of.resolution, 3)
        expected = theirs(pictures.permute(0, 3, 1, 2)).logits
        assert torch.allclose(logits(of, weights, pictures), expected, atol=1e-5)
        assert VISION.count(of).parameters == theirs.num_parameters()
        embeddings = [theirs.vit.embeddings, theirs.classifier]
        outside = theirs.num_parameters() - sum(p.numel() for module in embeddings for p in module.parameters())
        assert VISION.count(of).parameters_without_embeddings == outside

    def test_published_sizes(self):
        small = VisionConfig(width=384, depth=12, head_size=64, patch_size=16, resolution=224, classes=1000)
        assert VISION.count(small).parameters == 22_050_664
        mixer = dataclasses.replace(small, architecture="mixer", width=512, depth=8)
        assert VISION.count(mixer).parameters == 18_528_264
        resnet = dataclasses.replace(small, architecture="resnet", width=64, depth=16, patch_size=4)
        assert VISION.count(resnet).parameters == 25_549_352

    def test_initial_scale_reaches_the_weights(self):
        one, two = initial_weights(config()), initial_weights(config(init_scale=2.0))
        assert np.array_equal(two["patches"], 2 * one["patches"])
        assert not one["head"].any()


def as_transformers(of: VisionConfig, weights: dict) -> dict:
    """The weights of a vit under transformers' names."""
    patch = weights["patches"].view(of.width, of.patch_size, of.patch_size, 3).permute(0, 3, 1, 2)
    state = {
        "vit.embeddings.cls_token": weights["class_token"].view(1, 1, -1),
        "vit.embeddings.position_embeddings": weights["positions"][None],
        "vit.embeddings.patch_embeddings.projection.weight": patch,
        "vit.embeddings.patch_embeddings.projection.bias": weights["patches_bias"],
        "vit.layernorm.weight": weights["norm"],
        "vit.layernorm.bias": weights["norm_bias"],
        "classifier.weight": weights["head"],
        "classifier.bias": weights["head_bias"],
    }
    names = {"attention_norm": "layernorm_before", "attention_out": "attention.o_proj"}
    names |= {"perceptron_norm": "layernorm_after", "up": "mlp.fc1", "down": "mlp.fc2"}
    for block in range(of.depth):
        for ours, their in names.items():
            state[f"vit.layers.{block}.{their}.weight"] = weights[f"{block}.{ours}"]
            state[f"vit.layers.{block}.{their}.bias"] = weights[f"{block}.{ours}_bias"]
        for kind in ("weight", "bias"):
            mixed = weights[f"{block}.query_key_value" + ("_bias" if kind == "bias" else "")]
            for their, part in zip(("q_proj", "k_proj", "v_proj"), mixed.chunk(3), strict=True):
                state[f"vit.layers.{block}.attention.{their}.{kind}"] = part
    return state


class TestTraining:
    @pytest.mark.parametrize("settings", NETWORKS[2:], ids=str)
    def test_every_network_resumes_bitwise(self, settings):
        of = config(**settings, shift=2, flip=True, few_shot_classes=0, steps=24)
        whole, _ = run(VISION, [of])
        first = Recorder(stop_after_points=1)
        before, ended = run(VISION, [of], first)
        after, _ = run(VISION, [of], Recorder(saved=first.saved))
        assert not ended and before | after == whole and after

    def test_a_vit_learns_what_a_linear_model_cannot(self):
        """Whether two halves of a picture, of random brightness each, are equal: no linear function of the pixels."""
        losses = {}
        for architecture in ("vit", "linear"):
            of = config(architecture=architecture, width=16, batch_size=64, steps=200, learning_rate=3e-3)
            task = VisionModel(VISION, [of], [0], "cpu")
            task.pictures = _Halves(of)
            for task.step in range(of.steps):
                task.update()
            losses[architecture] = task.metrics()["loss"]
        assert losses["vit"] < 0.3 < 0.6 < losses["linear"]

    def test_a_cell_is_not_resumed_on_other_pictures(self, cache, folder, tmp_path):
        def resumed(checkpoint):
            pictures._load.cache_clear()  # as in a new process
            return run(VISION, [of], Recorder(saved={0: checkpoint}))[0]

        copied = shutil.copytree(folder, tmp_path / "copied")
        of = config(pictures=str(copied), dataset_size=22, test_size=2, few_shot_size=6, shots=1, steps=24)
        whole, _ = run(VISION, [of])
        stopped = Recorder(stop_after_points=1)
        before, _ = run(VISION, [of], stopped)
        saved = stopped.saved[0]
        # The same pictures, prepared again, go on.
        os.utime(copied / "red" / "00.png", (0, 0))
        after = resumed(saved)
        assert after and before | after == whole and len(list((cache / "pictures").iterdir())) == 2
        refused = "pictures '.*copied', now with SHA-256 .*, is not known to be what this cell began with: restore"
        for colour in ("red", "green", "blue", "grey"):  # two are trained on, two are for the probe
            path = copied / colour / "00.png"
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
            with pytest.raises(TrainerError, match=refused):
                resumed(saved)
            shutil.copy(folder / colour / "00.png", path)
        unknown = {name: array for name, array in saved.arrays.items() if name != "pictures_digest"}
        with pytest.raises(TrainerError, match=refused):
            resumed(dataclasses.replace(saved, arrays=unknown))

    def test_accumulation_changes_nothing_but_memory(self):
        whole, _ = run(VISION, [config()])
        parts, _ = run(VISION, [config(accumulation=4)])
        for key, point in whole.items():
            assert parts[key].metrics["loss"] == pytest.approx(point.metrics["loss"], rel=1e-4)
        assert VISION.count(config(accumulation=4)).bytes < VISION.count(config()).bytes

    def test_measuring_does_not_touch_training(self, monkeypatch):
        class Watcher(Recorder):
            def checkpoint_due(self):
                return True

        def last(steps) -> Checkpoint:
            monkeypatch.setattr(VISION, "evaluation_steps", lambda of: steps)
            context = Watcher()
            list(VISION.train([config()], context))
            return context.saved[0]

        often, once = last(tuple(range(1, 9))), last((8,))
        assert all(np.array_equal(often.arrays[name], once.arrays[name]) for name in once.arrays)

    def test_a_wsd_run_shares_its_stable_part_with_longer_ones(self):
        settings = {"schedule": "wsd", "few_shot_classes": 0}
        short, _ = run(VISION, [config(**settings, steps=32, decay_share=0.0)])
        long, _ = run(VISION, [config(**settings, steps=64, decay_share=0.5)])
        assert short[0, 23, 1] == long[0, 23, 1]

    def test_few_pictures_seen_often_are_memorised(self):
        seen = config(width=32, dataset_size=16, batch_size=16, steps=200, learning_rate=3e-3, classes=8)
        points, _ = run(VISION, [seen])
        last = points[0, 200, 1].metrics
        assert last["training_loss"] < 0.1 < last["loss"]

    def test_cells_that_need_other_pictures_train_apart(self):
        """A set that is too small for one cell is no trouble for the others."""
        assert VISION.cohort_key(config()) == VISION.cohort_key(config(seed=1, learning_rate=0.1))
        assert VISION.cohort_key(config()) != VISION.cohort_key(config(dataset_size=65))

    def test_variation_is_a_shift_and_a_mirror_image(self):
        of = config(shift=3, flip=True, batch_size=64)
        task = VisionModel(VISION, [of], [0], "cpu")
        plain, _ = dataclasses.replace(of, shift=0, flip=False), None
        original, labels = VisionModel(VISION, [plain], [0], "cpu").pictures.batch(0)
        varied, same = task.pictures.batch(0)
        assert torch.equal(labels, same) and not torch.equal(original, varied)
        middle = slice(3, -3)
        for picture, other in zip(original, varied, strict=True):
            candidates = [
                np.roll(side, (-down, -right), (0, 1))[middle, middle]
                for side in (picture.numpy(), picture.numpy()[:, ::-1])
                for down in range(-3, 4)
                for right in range(-3, 4)
            ]
            assert any(np.array_equal(candidate, other.numpy()[middle, middle]) for candidate in candidates)


class _Halves:
    few_shot = ()

    def __init__(self, of: VisionConfig):
        self.test = self.seen = [self._draw(512, 10_000, of.resolution)]
        self.of = of

    def batch(self, step: int):
        return self._draw(self.of.batch_size, step, self.of.resolution)

    @staticmethod
    def _draw(count: int, seed: int, side: int):
        random = np.random.default_rng(seed)
        signs = random.integers(0, 2, (count, 2))
        halves = 64 + 128 * signs[:, None, :, None] + random.integers(-32, 33, (count, side, 2, 1))
        pictures = np.repeat(np.repeat(halves, side // 2, 2), 3, 3).astype(np.uint8)
        return torch.from_numpy(pictures), torch.from_numpy((signs[:, 0] == signs[:, 1]).astype(np.int64))


class TestFewShot:
    def test_it_finds_a_linear_rule_and_no_other(self):
        random = np.random.default_rng(0)
        centres = 3 * np.eye(4, 20)
        labels, answers = np.arange(40) % 4, random.integers(0, 4, 400)
        shots = centres[labels] + random.normal(0, 0.3, (40, 20))
        questions = centres[answers] + random.normal(0, 0.3, (400, 20))
        assert few_shot_error(shots=shots, labels=labels, questions=questions, answers=answers) < 0.01
        guessed = few_shot_error(
            shots=random.normal(size=shots.shape),
            labels=labels,
            questions=random.normal(size=questions.shape),
            answers=answers,
        )
        assert guessed == pytest.approx(0.75, abs=0.08)

    def test_penalty_is_the_best_left_out(self):
        """In closed form as by refitting: noise asks for a larger penalty than clean data."""
        random = np.random.default_rng(1)
        shots, labels = random.normal(size=(12, 3)), np.arange(12) % 2
        shots[:, 0] += 4 * labels
        same = {"shots": shots, "labels": labels}
        assert few_shot_error(**same, questions=shots, answers=labels) == 0.0


class TestPictures:
    def test_frames_of_games_are_equal_everywhere_and_balanced(self, cache, monkeypatch):
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

    def test_reading_ahead_changes_nothing(self, cache, folder):
        part = colours(folder).part("train", 22, "cpu")
        expected = [part.take(rows)[0] for rows in (np.arange(5), np.arange(5, 9), np.arange(3))]
        part._reader = ThreadPoolExecutor(1)
        found = [part.take(np.arange(5), following=np.arange(5, 9))[0], part.take(np.arange(5, 9), np.arange(9))[0]]
        found.append(part.take(np.arange(3))[0])
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))

    def test_a_folder_of_pictures(self, cache, folder):
        found = colours(folder)
        assert {part: found.size(part) for part in ("train", "test", "few_shot")} == {
            "train": 22,
            "test": 2,
            "few_shot": 24,
        }
        pictures, labels = found.part("train", 22, "cpu").take(np.arange(22))
        means = pictures.float().mean((1, 2))
        first, second = means[labels == 0], means[labels == 1]
        assert (
            len(first) + len(second) == 22 and first.std(0).max() < 10 and (first.mean(0) - second.mean(0)).norm() > 90
        )
        held_out, kinds = found.part("few_shot", 24, "cpu").take(np.arange(24))
        assert kinds[:4].tolist() == [0, 1, 0, 1]
        distance = torch.cdist(held_out.float().mean((1, 2)), means)
        assert distance.min() > 60, "classes of the probe are not trained on"

    def test_parquet_with_a_split_for_the_test(self, cache, folder, tmp_path):
        import datasets

        data = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train").rename_column("label", "kind")
        data.select(range(0, 48, 2)).to_parquet(str(tmp_path / "set" / "train-0.parquet"))
        data.select(range(1, 48, 2)).to_parquet(str(tmp_path / "set" / "validation-0.parquet"))
        found = colours(tmp_path / "set", label_column="kind")
        assert (found.size("train"), found.size("test"), found.size("few_shot")) == (12, 12, 12)
        of = config(pictures=str(tmp_path / "set"), label_column="kind", dataset_size=12, test_size=8, shots=1)
        points, _ = run(VISION, [dataclasses.replace(of, few_shot_size=6)])
        assert points

    def test_wrong_sets_are_refused_in_one_line(self, cache, folder, tmp_path):
        with pytest.raises(TrainerError, match="neither 'procgen', 'hub:NAME' nor a path"):
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

    def test_a_hub_without_an_answer(self, cache, monkeypatch):
        import datasets

        def offline(*_, **__):
            raise ConnectionError("Couldn't reach 'no/such' on the Hub")

        monkeypatch.setattr(datasets, "load_dataset", offline)
        with pytest.raises(TrainerError, match="'hub:no/such' cannot be read: Couldn't reach"):
            colours("hub:no/such")

    def test_a_picture_that_does_not_decode(self, cache, folder, tmp_path):
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
    def test_a_half_written_shard_is_made_again(self, cache, folder, damage):
        expected, _ = colours(folder).part("train", 22, "cpu").take(np.arange(22))
        (path,) = (cache / "pictures").rglob("train-*.npy")
        whole = path.read_bytes()
        if damage == "another resolution":
            np.save(path, np.zeros(22, np.uint8))
        else:
            path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "noise": os.urandom(999)}[damage])
        found, _ = colours(folder).part("train", 22, "cpu").take(np.arange(22))
        assert torch.equal(found, expected) and path.read_bytes() == whole

    def test_a_full_disk_leaves_nothing_behind(self, cache, folder, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(TrainerError, match="No space left on device; make room there or set UNSL_CACHE"):
                colours(folder).part("train", 22, "cpu")
        assert not list((cache / "pictures").rglob("*.npy")) and not list((cache / "pictures").rglob("*.building"))
        assert colours(folder).part("train", 22, "cpu").count == 22

    def test_errors_reach_the_cell_as_one_message(self, cache):
        of = config(pictures="/no/such/folder")
        with pytest.raises(TrainerError, match="a path that exists here"):
            next(event for event in VISION.train([of], Recorder()) if isinstance(event, Point))
