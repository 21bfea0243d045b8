"""What networks cost and compute, and what a study of them can rely on."""

from __future__ import annotations

import dataclasses
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from small_vision import config
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from trainers import Checkpoint, TrainerError
from trainers.battery import Recorder
from trainers.battery import run_in_memory as run
from trainers.vision import VISION, VisionConfig, VisionModel, few_shot_error, initial_weights, layout, logits, sets
from trainers.vision.few_shot import BIAS, PENALTIES
from trainers.vision.resnet import _convolved

NETWORKS = [
    {"architecture": "vit"},
    {"architecture": "vit", "width": 16, "depth": 3, "patch_size": 8, "classes": 5},
    {"architecture": "mixer", "depth": 3},
    {"architecture": "resnet", "depth": 5, "patch_size": 1},
    {"architecture": "resnet", "depth": 4, "patch_size": 4, "resolution": 64, "width": 32},
    {"architecture": "resnet", "depth": 16, "patch_size": 2},
    {"architecture": "linear"},
]


def weights_of(of: VisionConfig) -> dict:
    return {name: torch.from_numpy(weight).requires_grad_() for name, weight in initial_weights(of).items()}


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

    def test_weights_of_a_convolution_are_standardised(self):
        """A filter counts by its shape: neither its mean nor its size does, and its own are 0 and 1."""
        draw = torch.Generator().manual_seed(0)
        inputs, weight = (torch.randn(*size, generator=draw) for size in ((2, 3, 8, 8), (4, 3, 3, 3)))
        out = _convolved(inputs, weight, 1)
        torch.testing.assert_close(_convolved(inputs, 7 * weight + 5, 1), out, rtol=1e-3, atol=1e-4)
        impulse = torch.zeros(1, 3, 3, 3)
        impulse[0, 1, 1, 1] = 1.0
        taken = _convolved(impulse, weight, 1)[0].flip(1, 2)
        whole = (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.std((1, 2, 3), correction=0, keepdim=True)
        torch.testing.assert_close(taken, whole[:, 1], rtol=1e-4, atol=1e-5)

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
            sets._load_with_datasets.cache_clear()  # as in a new process
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

    def test_a_branch_is_the_run_of_its_length(self):
        settings = {"few_shot_classes": 0, "decay_share": 0.5}
        annealed, _ = run(VISION, [config(**settings, schedule="anneal", steps=64)])
        assert [step for _, step, _ in annealed] == [16, 23, 32, 45, 64]
        for steps in (23, 64):
            alone, _ = run(VISION, [config(**settings, schedule="wsd", steps=steps)])
            assert list(alone) == [(0, steps, 1)] and alone[0, steps, 1] == annealed[0, steps, 1]

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
        self.test = self.training_subset = [self._draw(512, 10_000, of.resolution)]
        self.of = of

    def batch(self, step: int, mine: slice):
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

    @pytest.mark.parametrize("seed", [0, 1, 2, 13])
    def test_it_is_ridge_regression_with_the_penalty_of_the_least_left_out_error(self, seed):
        """By solving, and by leaving out each shot in turn, where noise tempts to a tiny penalty."""
        random, count = np.random.default_rng(seed), 40
        labels, answers = np.arange(count) % 2, np.arange(300) % 2
        shots, questions = random.normal(size=(count, 30)), random.normal(size=(300, 30))
        shots[:, :3] += labels[:, None]
        questions[:, :3] += answers[:, None]
        mean, deviation = shots.mean(0), shots.std(0) + 1e-5
        known, asked = (
            np.column_stack([(part - mean) / deviation, np.full(len(part), BIAS)]) for part in (shots, questions)
        )
        targets = np.where(labels[:, None] == np.arange(2), 1.0, -1.0)

        def predicted(rows, penalty, at):
            x, y = known[rows], targets[rows]
            return at @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)

        def error(penalty):
            return np.mean(predicted(slice(None), penalty, asked).argmax(1) != answers)

        def left_out(penalty):
            rows = np.arange(count)
            return sum(np.square(targets[row] - predicted(rows != row, penalty, known[row])).sum() for row in rows)

        best = min(PENALTIES, key=left_out)
        assert error(best) < error(PENALTIES[0]) - 0.02, "a case in which the penalty matters"
        assert few_shot_error(shots=shots, labels=labels, questions=questions, answers=answers) == error(best)

    def test_no_shot_is_asked_about(self, monkeypatch, cache, folder):
        """Features of pictures that all differ: no question is one of the shots of any draw."""
        asked = []

        def record(*, shots, labels, questions, answers):
            asked.append((shots, questions, answers))
            return 0.5

        monkeypatch.setattr("trainers.vision.trainer.few_shot_error", record)
        of = config(pictures=str(folder), dataset_size=20, test_size=2, few_shot_size=8, shots=2, architecture="linear")
        VisionModel(VISION, [of], [0], "cpu").metrics()
        assert len(asked) == 3
        shots = np.concatenate([each for each, _, _ in asked])
        (_, questions, answers), *others = asked
        assert len(shots) == 12 and len(questions) == len(answers) == 8
        assert len(np.unique(np.concatenate([shots, questions]), axis=0)) == 20
        assert all(np.array_equal(questions, again) for _, again, _ in others)

    def test_penalty_is_the_best_left_out(self):
        """In closed form as by refitting: noise asks for a larger penalty than clean data."""
        random = np.random.default_rng(1)
        shots, labels = random.normal(size=(12, 3)), np.arange(12) % 2
        shots[:, 0] += 4 * labels
        same = {"shots": shots, "labels": labels}
        assert few_shot_error(**same, questions=shots, answers=labels) == 0.0
