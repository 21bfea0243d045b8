"""What is counted of memory against the tensors that autograd saves, and the parts that a batch is cut into for it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from corpus import CORPUS
from small_vision import config as vision
from torch.nn.functional import cross_entropy, softplus
from torch.overrides import TorchFunctionMode

from trainers import HEADROOM, TrainerError
from trainers.language import LANGUAGE, LanguageConfig, LanguageModel, build_model
from trainers.language import memory as language_memory
from trainers.language.architectures import checkpoint_blocks
from trainers.loop import fitted_to_device
from trainers.math import ADDITION, PARITY, AdditionConfig, ParityConfig, PerceptronCohort, TransformerCohort
from trainers.math.parity import kept_numbers as perceptron_numbers
from trainers.procgen.agent import ACTIONS, Agent, kept_bytes
from trainers.vision import VISION, VisionConfig, initial_weights, logits, networks

TOLERANCE = 0.01
"""Of what autograd saves: what is not counted are single numbers a sequence or a picture."""
IN_SINGLE_PRECISION = {"pow", "rsqrt", "exp", "softplus", "layer_norm", "group_norm", "log_softmax", "sum", "cumsum"}
"""Operations that autocast computes in single precision on a GPU and not on a CPU, of those that are used here."""


class AsOnAGpu(TorchFunctionMode):
    """Autocast's rules for a GPU, on a CPU."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in IN_SINGLE_PRECISION:
            args = [a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
        return function(*args, **(kwargs or {}))


def saved_bytes(forward, weights) -> int:
    """What autograd saves for the backward pass, each storage once and the weights themselves not."""
    own, storages = {weight.untyped_storage()._cdata for weight in weights}, {}

    def keep(tensor):
        storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    with AsOnAGpu(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for key, storage in storages.items() if key not in own)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "architecture, settings",
    [
        ("gpt2", {}),
        ("llama", {"width": 128, "head_size": 32}),
        ("mamba2", {}),
        ("mamba2", {"context_length": 140, "batch_size": 280, "head_size": 16, "state_size": 24}),
    ],
)
def test_a_language_model_keeps_what_is_counted(architecture, settings, checkpointing):
    config = LanguageConfig(
        **{"width": 64, "depth": 3, "context_length": 128, "batch_size": 512, "vocabulary": 512} | settings,
        architecture=architecture,
        checkpointing=checkpointing,
    )
    model, sequences = build_model(config), config.batch_size // config.context_length
    if checkpointing:
        checkpoint_blocks(model)
    tokens = torch.zeros(sequences, config.context_length + 1, dtype=torch.int64)

    def forward():
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(tokens[:, :-1], use_cache=False).logits
        return cross_entropy(scores.flatten(0, 1).float(), tokens[:, 1:].flatten())

    kept = sequences * language_memory.kept(config).bytes(checkpointing=checkpointing)
    copies = language_memory.copy_bytes(config)
    if checkpointing:  # Copies inside of blocks are kept until the end of the forward pass, and not by autograd.
        copies = 2 * config.vocabulary * config.width
    assert kept + copies == pytest.approx(saved_bytes(forward, model.parameters()), rel=TOLERANCE)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"architecture": "vit", "width": 64, "head_size": 16},
        {"architecture": "mixer", "width": 64},
        {"architecture": "resnet", "depth": 5, "patch_size": 1, "width": 32},
        {"architecture": "resnet", "depth": 4, "patch_size": 4, "resolution": 64},
        {"architecture": "linear"},
    ],
    ids=str,
)
def test_a_network_of_pictures_keeps_what_is_counted(settings, checkpointing):
    of = vision(**settings, batch_size=16, checkpointing=checkpointing)
    weights = {name: torch.from_numpy(weight).requires_grad_() for name, weight in initial_weights(of).items()}
    pictures = torch.zeros(of.batch_size, of.resolution, of.resolution, 3)

    def forward():
        with torch.autocast("cpu", torch.bfloat16):
            scores = logits(of, weights, pictures)
        return cross_entropy(scores, torch.zeros(of.batch_size, dtype=torch.int64))

    measured = saved_bytes(forward, weights.values())
    kept = of.batch_size * networks.kept(of).bytes(checkpointing=checkpointing)
    if checkpointing:
        assert kept == pytest.approx(measured, rel=0.1), "copies of the head's weights aside"
    else:
        assert kept + networks.copy_bytes(of) == pytest.approx(measured, rel=TOLERANCE)


def test_small_models_in_single_precision_keep_what_is_counted():
    config = AdditionConfig(width=32, heads=4, depth=2, batch_size=32, steps=64)
    models = TransformerCohort(ADDITION, [config], [0], "cpu")
    batch = {"sequences": 32, "inputs": models.shape.length, "predicted": models.format.answer}
    measured = saved_bytes(lambda: models.losses(models.batch())[0].sum(), [models.weights])
    assert models.shape.kept_bytes(**batch) == pytest.approx(measured, rel=TOLERANCE)

    config = ParityConfig(width=128, depth=2, batch_size=64)
    perceptrons = PerceptronCohort(PARITY, [config], [0], "cpu")
    bits, labels = perceptrons.batch()
    measured = saved_bytes(
        lambda: softplus(-labels * perceptrons.forward(perceptrons._signs(bits))).sum(), [perceptrons.weights]
    )
    assert 4 * perceptron_numbers(config) == pytest.approx(measured, rel=TOLERANCE)


def test_pictures_that_crops_are_taken_of_are_counted():
    plain = VisionConfig(resolution=16, patch_size=4, batch_size=64)
    crops = dataclasses.replace(plain, random_crop=0.3, stored_resolution=40)
    more = VISION.count(crops).bytes - VISION.count(plain).bytes
    stored = 3 * 40**2 * 64
    assert stored < more < 20 * stored, "as bytes, and while they are brought to size as numbers"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["nature", "impala"])
@pytest.mark.filterwarnings("ignore:this CPU")
def test_an_agent_keeps_what_is_counted(kind, precision):
    agent = Agent(kind, 0.5, seed=0, device="cpu", precision=precision)

    def forward():
        scores, values = agent(torch.zeros(4, 64, 64, 3, dtype=torch.uint8))
        return scores.log_softmax(-1)[:, ACTIONS - 1].sum() + values.sum()

    copies = 2 * sum(layer.weights for layer in agent.shapes[:-1]) if precision == "bfloat16" else 0
    assert 4 * kept_bytes(kind, 0.5, precision) + copies == pytest.approx(
        saved_bytes(forward, [agent.weights]), rel=TOLERANCE
    )


LANGUAGE_MODEL = LanguageConfig(
    text=CORPUS, width=16, head_size=8, depth=2, context_length=16, batch_size=128, dataset_size=4_000,
    validation_tokens=512, steps=24,
)  # fmt: skip


LARGE = dataclasses.replace(LANGUAGE_MODEL, batch_size=16_384, dataset_size=32_768)
"""Four parts have as many tokens as a GPU needs at once."""


@pytest.mark.parametrize("architecture", ["gpt2", "mamba2"])
def test_a_language_model_learns_the_same_where_blocks_are_computed_again(architecture):
    """On a CPU bit for bit: the same operations in the same order."""
    config, weights = dataclasses.replace(LANGUAGE_MODEL, architecture=architecture), []
    for again in (dataclasses.replace(config, checkpointing=each) for each in (False, True)):
        model = LanguageModel(LANGUAGE, [again], [0], "cpu")
        model.update()
        weights.append(torch.cat([weight.flatten() for weight in model.weights.values()]))
        assert LANGUAGE.count(again).flops == LANGUAGE.count(config).flops
    assert torch.equal(*weights)
    assert LANGUAGE.count(again).bytes < LANGUAGE.count(config).bytes


@pytest.mark.parametrize("settings", [{"architecture": "vit"}, {"architecture": "mixer"}, {"architecture": "resnet"}])
def test_a_network_of_pictures_has_the_same_gradients_where_blocks_are_computed_again(settings):
    pictures, gradients = torch.linspace(-1, 1, 4 * 16 * 16 * 3).view(4, 16, 16, 3), []
    for checkpointing in (False, True):
        of = vision(**settings, depth=4, checkpointing=checkpointing)
        weights = {name: torch.from_numpy(weight).requires_grad_() for name, weight in initial_weights(of).items()}
        weights["head"] = torch.eye(*weights["head"].shape).requires_grad_()  # Initial heads let no gradient through.
        cross_entropy(logits(of, weights, pictures.sin()), torch.tensor([0, 1, 1, 0])).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in weights.values()]))
    assert torch.equal(*gradients) and gradients[0].count_nonzero() > 100


def test_a_run_on_a_gpu_is_cut_into_what_is_free_there(monkeypatch):
    """Into parts while these are large, then by computing blocks again, and then into smaller parts."""

    def carried_out(config, free: int) -> tuple[int, bool]:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (HEADROOM * free + 1, 0))
        made = fitted_to_device(LANGUAGE, config, "cuda")
        assert LANGUAGE.count(made).bytes <= free
        return made.accumulation, made.checkpointing

    def needs(**how) -> int:
        return LANGUAGE.count(dataclasses.replace(LARGE, **how)).bytes

    assert carried_out(LARGE, needs()) == (1, False)
    assert carried_out(LARGE, needs() - 1) == (2, False)
    assert carried_out(LARGE, needs(accumulation=4)) == (4, False)
    assert carried_out(LARGE, needs(accumulation=4) - 1)[1]
    assert carried_out(LARGE, needs(accumulation=16, checkpointing=True)) == (16, True)
    assert carried_out(dataclasses.replace(LARGE, accumulation=8), needs()) == (8, False), "no fewer than asked for"
    with pytest.raises(TrainerError, match="no part of a batch fits into the 0.0 GiB that are free on cuda"):
        carried_out(LARGE, 1_000)
