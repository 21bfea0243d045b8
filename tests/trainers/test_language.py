"""What is particular to language models: exact counts, all architectures, and that text is learned."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from corpus import CORPUS, write_corpus
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainers import End, TrainerError
from trainers.battery import Recorder
from trainers.battery import run_in_memory as run
from trainers.language import ARCHITECTURES, LANGUAGE, LanguageConfig, LanguageModel, Windows, build_model, open_text
from trainers.loop import learning_rate_factor

SMALL = LanguageConfig(
    text=CORPUS,
    width=16,
    head_size=8,
    depth=2,
    context_length=16,
    batch_size=64,
    dataset_size=4_000,
    validation_tokens=512,
    steps=24,
)


def make_run(config):
    return LanguageModel(LANGUAGE, [config], [0], "cpu")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("context_length", [16, 100])
def test_counts_are_those_of_the_real_model(architecture, context_length):
    config = dataclasses.replace(
        SMALL, architecture=architecture, context_length=context_length, batch_size=4 * context_length, accumulation=2
    )
    counts, model = LANGUAGE.count(config), make_run(config)
    parameters = dict(model.model.named_parameters())
    embeddings = sum(p.numel() for name, p in parameters.items() if any(e in name for e in ("wte", "wpe", "embed")))
    assert counts.parameters == sum(p.numel() for p in parameters.values())
    assert counts.parameters - counts.parameters_without_embeddings == embeddings
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.update()
    by_operation = {str(name): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    # The counter takes the gradient of a convolution by channels for that of a full one.
    by_operation["aten.convolution_backward"] = 2 * by_operation.get("aten.convolution", 0)
    assert counts.flops_per_step == sum(by_operation.values())


@pytest.mark.parametrize("architecture", ["llama", "mamba2"])
def test_every_architecture_resumes_bitwise(architecture):
    config = dataclasses.replace(SMALL, architecture=architecture)
    whole, _ = run(LANGUAGE, [config])
    first = Recorder(stop_after_points=1)
    before, _ = run(LANGUAGE, [config], first)
    after, ends = run(LANGUAGE, [config], Recorder(saved=first.saved))
    assert {**before, **after} == whole and ends[0].step == config.steps and len(after) < len(whole)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_model_reads_only_what_came_before(architecture):
    model = build_model(dataclasses.replace(SMALL, architecture=architecture)).eval()
    import torch

    tokens = torch.arange(16)[None] + 60
    changed = tokens.clone()
    changed[0, 10:] = 7
    with torch.no_grad():
        a, b = (model(each, use_cache=False).logits for each in (tokens, changed))
    assert torch.allclose(a[0, :10], b[0, :10], atol=1e-6) and not torch.allclose(a[0, 10:], b[0, 10:], atol=1e-3)


@pytest.mark.parametrize("target", [20_000, 300_000, 124_000_000])
def test_width_follows_from_a_target(target):
    config = LanguageConfig(target_parameters=target, depth=4, head_size=8)
    assert LANGUAGE.count(config).parameters == pytest.approx(target, rel=0.1)
    assert config.width % 8 == 0
    assert LanguageConfig(**dataclasses.asdict(config)) == config


def test_text_is_learned_beyond_pairs_of_letters():
    config = dataclasses.replace(SMALL, width=32, context_length=32, batch_size=512, steps=200, learning_rate=5e-3)
    config = dataclasses.replace(config, dataset_size=80_000)
    text = open_text(config)
    seen, windows = text.training[: config.dataset_size].astype(int), Windows(text, config).validation
    pairs = np.bincount(256 * seen[:-1] + seen[1:], minlength=256**2).reshape(256, 256) + 1e-3
    bigram = -np.log(pairs / pairs.sum(1, keepdims=True))[windows[:, :-1], windows[:, 1:]].mean()
    points, _ = run(LANGUAGE, [config])
    last = points[0, 200, 1].metrics
    assert last["loss"] < 0.7 * bigram
    assert last["bits_per_byte"] == pytest.approx(last["loss"] / np.log(2))
    assert last["text_fingerprint"] == int(text.digest[:12], 16)


def test_few_unique_tokens_are_overfitted():
    config = dataclasses.replace(SMALL, width=32, steps=200, learning_rate=1e-2, weight_decay=0.0)
    little, plenty = dataclasses.replace(config, dataset_size=128), dataclasses.replace(config, dataset_size=80_000)
    points, _ = run(LANGUAGE, [little, plenty])
    curve = [point.metrics["loss"] for (cell, *_), point in points.items() if cell == 0]
    assert curve[-1] > min(curve) + 0.5
    assert points[1, 200, 1].metrics["loss"] < curve[-1] - 1


def test_bits_per_byte_do_not_depend_on_the_vocabulary():
    """An untrained model spends about the same on a byte whatever its tokens are."""
    config = dataclasses.replace(SMALL, vocabulary=320, init_scale=1e-3)
    measured = make_run(config).metrics()
    windows = make_run(config).windows
    assert measured["loss"] == pytest.approx(np.log(320), rel=0.01)
    assert measured["bits_per_byte"] == pytest.approx(
        measured["loss"] / np.log(2) * windows.validation[:, 1:].size / windows.validation_bytes
    )


def test_unique_and_processed_tokens_vary_apart():
    config = dataclasses.replace(SMALL, dataset_size=160)
    windows = Windows(open_text(config), config)
    epochs = np.concatenate([windows.batch(step) for step in range(5)])
    assert len(epochs) == 20 and len(np.unique(epochs, axis=0)) == 10
    larger = Windows(open_text(SMALL), SMALL)
    assert (larger.validation == windows.validation).all()


def test_validation_text_is_never_trained_on(tmp_path):
    """Read off the windows themselves, on documents of which no two share a word."""
    random = np.random.default_rng(0)
    path = tmp_path / "documents.jsonl"
    documents = ["".join(chr(97 + letter) for letter in random.integers(0, 26, 100)) for _ in range(400)]
    path.write_text("\n".join(json.dumps({"text": document}) for document in documents))
    config = dataclasses.replace(SMALL, text=str(path), context_length=20, batch_size=400, dataset_size=30_000)
    windows = make_run(config).windows
    steps = config.dataset_size // config.batch_size
    trained = np.concatenate([windows.batch(step) for step in range(steps)])

    def sources(part) -> set[int]:
        """Ten letters in a row say of which document a window is: chance gives two documents none in common."""
        pieces = {bytes(row[start : start + 10].astype(np.uint8)) for row in part for start in range(11)}
        return {n for n, text in enumerate(documents) if any(text[i : i + 10].encode() in pieces for i in range(91))}

    of_training, of_validation = sources(trained), sources(windows.validation)
    assert len(of_training) > 250 and len(of_validation) >= 4 and not of_training & of_validation


@pytest.mark.parametrize("accumulation", [2, 4])
def test_gradients_of_parts_are_those_of_the_whole_batch(accumulation):
    """Seen before the optimiser, which hides a factor: Adam's steps have the same size for gradients of any size."""
    gradients = {}
    for parts in (1, accumulation):
        model = make_run(dataclasses.replace(SMALL, accumulation=parts, gradient_clip=0.0))
        model.optimiser.step = lambda model=model, parts=parts: gradients.update(
            {parts: {name: weight.grad.clone() for name, weight in model.weights.items()}}
        )
        model.update()
    for name, whole in gradients[1].items():
        np.testing.assert_allclose(gradients[accumulation][name], whole, rtol=1e-3, atol=1e-6, err_msg=name)


def test_accumulation_changes_only_memory():
    whole, _ = run(LANGUAGE, [SMALL])
    parts, _ = run(LANGUAGE, [dataclasses.replace(SMALL, accumulation=4)])
    for key, point in whole.items():
        assert parts[key].metrics["loss"] == pytest.approx(point.metrics["loss"], rel=1e-3)


def test_measuring_does_not_touch_training():
    import torch

    torch.manual_seed(3)
    measured, unmeasured = make_run(SMALL), make_run(SMALL)
    for _ in range(4):
        measured.update()
        measured.measure()
        measured.step += 1
        unmeasured.update()
        unmeasured.step += 1
    pairs = zip(measured.model.parameters(), unmeasured.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build_model(SMALL)
    assert torch.equal(torch.rand(1), expected), "building a model drew from the caller's random numbers"


def test_initial_scale_scales_the_matrices():
    one, two = (dict(build_model(dataclasses.replace(SMALL, init_scale=scale)).named_parameters()) for scale in (1, 2))
    for name, parameter in one.items():
        factor = float(two[name].detach().norm() / parameter.detach().norm()) if parameter.any() else 1.0
        assert factor == pytest.approx(2.0 if parameter.dim() >= 2 else 1.0, rel=1e-5)


def test_downstream_tasks_are_metrics(tmp_path):
    path = tmp_path / "endings.jsonl"
    path.write_text(
        "\n".join(json.dumps({"context": "the kala", "choices": ["venda", "xx"], "answer": 0}) for _ in "abc")
    )
    config = dataclasses.replace(SMALL, downstream=str(path), steps=200, learning_rate=1e-2, dataset_size=80_000)
    points, _ = run(LANGUAGE, [config])
    assert points[0, 200, 1].metrics["endings_error"] == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    "schedule, warm, middle, last",
    [("constant", 0.5, 1.0, 1.0), ("cosine", 0.5, 0.55, 0.1), ("wsd", 0.5, 1.0, 1 / 21), ("anneal", 0.5, 1.0, 1.0)],
)
def test_schedules(schedule, warm, middle, last):
    config = dataclasses.replace(SMALL, steps=100, schedule=schedule, warmup_steps=10)
    assert learning_rate_factor(config, 4) == pytest.approx(warm)
    assert learning_rate_factor(config, 55) == pytest.approx(middle)
    assert learning_rate_factor(config, 99) == pytest.approx(last, abs=1e-3)


def windows_of(**settings) -> set[bytes]:
    """The windows that a run sees in an epoch."""
    config = dataclasses.replace(SMALL, **settings)
    windows, seen = Windows(open_text(config), config), config.dataset_size // config.batch_size
    return {window.tobytes() for step in range(seen) for window in windows.batch(step)}


def test_the_seed_draws_the_training_text_from_all_of_it():
    config = dataclasses.replace(SMALL, dataset_size=16_000)
    text = open_text(config)
    first = np.asarray(text.training[: 16_000 + 16])
    beginning = {first[i : i + 17].astype(np.int64).tobytes() for i in range(0, 16_000, 16)}
    one, other = windows_of(dataset_size=16_000, seed=1), windows_of(dataset_size=16_000, seed=2)
    share = 16_000 / len(text.training)
    assert share < 0.2
    for a, b in ((one, beginning), (other, beginning), (one, other)):
        assert len(a & b) / len(a) == pytest.approx(share, abs=0.06)
    assert windows_of(dataset_size=4_000, seed=1) < one, "a larger set holds the smaller one of its seed"


def test_before_its_decay_a_long_run_is_a_short_one():
    short = dataclasses.replace(SMALL, schedule="wsd", steps=40, decay_share=0.2)
    long = dataclasses.replace(short, steps=400)
    assert all(learning_rate_factor(short, step) == learning_rate_factor(long, step) for step in range(31))
    assert learning_rate_factor(short, 39) < 0.2


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"text": "no/such/folder"}, "no/such/folder"),
        ({"dataset_size": 10_000_000}, "dataset_size = 10000000 must be below the .* training tokens"),
        ({"text_digest": "beef"}, "text_digest = 'beef' must be the start of"),
    ],
)
def test_a_text_that_cannot_be_used_is_one_clear_error(settings, message):
    with pytest.raises(TrainerError, match=message):
        run(LANGUAGE, [dataclasses.replace(SMALL, **settings)])


def test_a_cell_that_cannot_be_trained_does_not_stop_the_others():
    events = LANGUAGE.train([dataclasses.replace(SMALL, dataset_size=10_000_000), SMALL], Recorder())
    seen = []
    with pytest.raises(TrainerError, match="dataset_size = 10000000"):
        seen.extend(iter(events))
    assert seen[-1] == End(cell=1, step=SMALL.steps)


@pytest.mark.parametrize(
    "settings, message",
    [
        (
            {"batch_size": 6_400},
            "batch_size = 6400 must be a multiple of context_length = 16 up to dataset_size = 4000",
        ),
        ({"batch_size": 65}, "batch_size = 65"),
        ({"accumulation": 3}, "accumulation = 3"),
        ({"width": 20}, "width = 20 must be a positive multiple of head_size = 8"),
        ({"downstream": "lambada,"}, "downstream"),
        ({"schedule": "linear"}, "schedule = 'linear' must be one of constant, cosine, wsd, anneal"),
    ],
)
def test_a_bad_configuration_is_refused(settings, message):
    with pytest.raises(TrainerError, match=message):
        dataclasses.replace(SMALL, **settings)


def test_a_cell_is_not_resumed_on_another_text(tmp_path):
    path = write_corpus(tmp_path / "corpus.txt")
    config = dataclasses.replace(SMALL, text=str(path))
    stopped = Recorder(stop_after_points=1)
    run(LANGUAGE, [config], stopped)
    write_corpus(path, seed=1)
    refused = "text '.*', now with SHA-256 .*, is not known to be what this cell began with: restore the old text"
    with pytest.raises(TrainerError, match=refused):
        run(LANGUAGE, [config], Recorder(saved=stopped.saved))
