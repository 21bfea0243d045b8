"""What is particular to modular arithmetic and addition: exact counts, the tasks, learning, and drawn answers."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainers import Ending, TrainerError
from trainers.battery import Recorder
from trainers.battery import run_in_memory as run
from trainers.math.addition import ADDITION, AdditionConfig, write_sums
from trainers.math.answering import TransformerCohort, distinct
from trainers.math.modular import MODULAR, ModularConfig
from trainers.math.transformer import EXPANSION, KeyValueCache, Shape, decay_mask, initial_weights, logits, views
from trainers.math.votes import result_codes, vote_and_pass_errors, vote_sizes

SMALL = {"width": 8, "heads": 2, "depth": 2, "steps": 64, "batch_size": 16, "test_size": 64}


def cohort(trainer, *configs):
    return TransformerCohort(trainer, configs, list(range(len(configs))), "cpu")


@pytest.mark.parametrize(
    "trainer, config",
    [
        (MODULAR, ModularConfig(**SMALL, modulus=13, dataset_size=50)),
        (ADDITION, AdditionConfig(**SMALL, digits=2, dataset_size=500)),
        (ADDITION, AdditionConfig(**SMALL, digits=2, dataset_size=500, scratchpad=False)),
    ],
)
def test_counts_are_those_of_the_real_model(trainer, config):
    counts, models = trainer.count(config), cohort(trainer, config)
    assert counts.parameters == models.weights.shape[1] == len(decay_mask(models.shape))
    embeddings = sum(models.named[name].numel() for name in ("tokens", "positions", "logits"))
    assert counts.parameters - counts.parameters_without_embeddings == embeddings
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        models.update()
    assert counts.flops_per_step == counter.get_total_flops()


def test_sums_are_written_as_the_docstring_says():
    (row,) = write_sums(np.array([173]), np.array([258]), digits=3, scratchpad=True)
    text = "".join("0123456789+="[token] for token in row)
    assert text == "173+258=" + "3801" + "7513" + "1214" + "0431"
    (row,) = write_sums(np.array([9]), np.array([99]), digits=2, scratchpad=False)
    assert "".join("0123456789+="[token] for token in row) == "09+99=108"


@pytest.mark.parametrize("operation, result", [("add", 1), ("subtract", 2), ("multiply", 1), ("quadratic", 0)])
def test_the_table_is_right(operation, result):
    one_held_out = SMALL | {"test_size": 1}
    config = ModularConfig(**one_held_out, modulus=7, operation=operation, dataset_size=48)
    parts = [MODULAR.questions(config, count=count, test=test) for count, test in ((48, False), (1, True))]
    table = {(a, b): c for a, b, _, c in np.concatenate(parts).tolist()}
    assert len(table) == 49 and table[5, 3] == result


@pytest.mark.parametrize("digits", [2, 5])
def test_training_and_test_questions_differ(digits):
    config = AdditionConfig(**SMALL, digits=digits, dataset_size=5_000)
    training = {row.tobytes() for row in ADDITION.questions(config, count=5_000, test=False)}
    test = {row.tobytes() for row in ADDITION.questions(config, count=64, test=True)}
    assert len(training) == 5_000 and len(test) == 64 and not training & test
    few = ADDITION.questions(config, count=100, test=False)
    assert (few == ADDITION.questions(config, count=5_000, test=False)[:100]).all()
    other = dataclasses.replace(config, seed=1)
    assert (ADDITION.questions(other, count=64, test=True) == ADDITION.questions(config, count=64, test=True)).all()


def test_too_many_questions_are_refused():
    with pytest.raises(TrainerError, match="more than there are: 100"):
        distinct(space=100, seed=0, count=95, without=np.arange(6))


def test_drawing_a_token_at_a_time_equals_reading_at_once():
    shape = Shape(vocabulary=11, length=9, width=16, depth=2, heads=2)
    weights = torch.from_numpy(np.stack([initial_weights(shape, seed=seed, scale=1.0) for seed in (0, 1, 2)]))
    named = views(shape, weights)
    tokens = torch.randint(11, (3, 4, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, cache = logits(shape, named, tokens, predicted=9), KeyValueCache()
        parts = [logits(shape, named, tokens[..., :5], predicted=5, cache=cache)]
        parts += [logits(shape, named, tokens[..., [i]], predicted=1, cache=cache) for i in range(5, 9)]
    torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=1e-4, atol=1e-5)


def test_positions_see_only_what_came_before():
    shape = Shape(vocabulary=11, length=9, width=16, depth=2, heads=2)
    named = views(shape, torch.from_numpy(initial_weights(shape, seed=0, scale=1.0)[None]))
    tokens = torch.zeros(1, 1, 9, dtype=torch.long)
    changed = tokens.clone()
    changed[..., 5:] = 3
    a, b = (logits(shape, named, each, predicted=9)[0, 0] for each in (tokens, changed))
    assert torch.allclose(a[:5], b[:5], atol=1e-6) and not torch.allclose(a[5:], b[5:], atol=1e-3)


def test_a_position_is_added_to_the_token_that_stands_there():
    shape = Shape(vocabulary=11, length=9, width=16, depth=2, heads=2)
    named = views(shape, torch.from_numpy(initial_weights(shape, seed=0, scale=1.0)[None]))
    tokens = torch.randint(11, (1, 2, 9), generator=torch.Generator().manual_seed(0))
    along = torch.linspace(-1, 1, 16)
    moved = named | {"tokens": named["tokens"] + along, "positions": named["positions"] - along}
    a, b = (logits(shape, weights, tokens, predicted=9) for weights in (named, moved))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_weights_begin_as_large_as_what_they_add_up_allows():
    """Embeddings by the width, other matrices by their inputs, and what blocks add to the stream by their number."""
    shape = Shape(vocabulary=400, length=300, width=64, depth=2, heads=2)
    named = views(shape, torch.from_numpy(initial_weights(shape, seed=0, scale=2.0)[None]))
    expected = {"tokens": 1 / 4, "positions": 1 / 4, "logits": 1 / 4, "0.up": 1 / 4, "0.query_key_value": 1 / 4}
    expected |= {"0.attention_out": 1 / 8, "0.down": 1 / 8 / math.sqrt(EXPANSION)}
    assert {name: float(named[name].detach().std()) for name in expected} == pytest.approx(expected, rel=0.04)
    assert (named["1.attention_norm"] == 1).all()


def test_votes_and_passes_equal_their_definitions():
    random = np.random.default_rng(0)
    drawn, truth = random.integers(0, 3, (40, 8)), random.integers(0, 3, 40)
    errors = vote_and_pass_errors(drawn, truth)
    assert list(errors) == list(vote_sizes(8)) == [1, 2, 4, 8]
    assert errors[1]["vote_error"] == pytest.approx(errors[1]["pass_error"]) == np.mean(drawn != truth[:, None])
    for k in errors:
        subsets = list(itertools.combinations(range(8), k))
        none_right, lots = [], []
        for row, right in zip(drawn, truth, strict=True):
            none_right += [not (row[list(subset)] == right).any() for subset in subsets]
            for group in row.reshape(-1, k):
                answers, counts = np.unique(group, return_counts=True)
                lots.append(np.mean(answers[counts == counts.max()] == right))
        assert errors[k]["vote_error"] == pytest.approx(1 - np.mean(lots))
        assert errors[k]["pass_error"] == pytest.approx(np.mean(none_right))


def test_results_are_told_apart_by_their_last_tokens():
    rows = torch.from_numpy(
        write_sums(np.array([12, 21, 12]), np.array([21, 12, 22]), digits=2, scratchpad=True)
    ).long()
    codes = result_codes(rows, last=3, vocabulary=12)
    assert codes[0] == codes[1] != codes[2]


def test_answers_follow_the_models_probabilities():
    """At a low temperature the drawn answers are the most probable ones; drawing twice gives the same."""
    config = AdditionConfig(**SMALL, digits=1, dataset_size=30, answers=4, sampled_questions=32)
    cold = cohort(ADDITION, dataclasses.replace(config, temperature=1e-4))
    drawn = cold.draw_answers()
    assert (drawn == drawn[..., :1]).all() and (drawn == cold.draw_answers()).all()
    warm = cohort(ADDITION, dataclasses.replace(config, temperature=3.0)).draw_answers()
    assert not (warm == warm[..., :1]).all()


def test_chunks_of_questions_do_not_change_the_answers(monkeypatch):
    config = AdditionConfig(**SMALL, digits=1, dataset_size=30, answers=4, sampled_questions=32)
    models = cohort(ADDITION, config, dataclasses.replace(config, seed=1))
    whole = models.draw_answers()
    monkeypatch.setattr("trainers.math.answering.SAMPLING_BYTES", 2**15)
    assert (models.draw_answers() == whole).all()


def test_drawn_answers_are_right_where_the_model_is():
    """Asked what it has memorised, a model draws the answer that it would give, and more answers pass more often."""
    config = AdditionConfig(
        digits=1, dataset_size=32, width=32, heads=2, depth=2, steps=300, batch_size=32, learning_rate=3e-3,
        test_size=32, answers=8, sampled_questions=32,
    )  # fmt: skip
    models = cohort(ADDITION, config)
    for _ in range(config.steps):
        models.update()
        models.step += 1
    models.test = models._tokens(models.training)
    measured = models.measure()
    assert set(measured) == {1, 2, 4, 8} and set(measured[8]) == {"vote_error", "pass_error"} < set(measured[1])
    passes = [measured[k]["pass_error"][0] for k in measured]
    assert measured[1]["error"][0] < 0.05 and passes[0] < 0.1 and passes == sorted(passes, reverse=True)


def test_memorising_comes_before_generalising():
    config = ModularConfig(
        modulus=11, dataset_size=40, batch_size=40, test_size=64, width=32, heads=2, depth=1, steps=256,
        learning_rate=3e-3, weight_decay=0.0, sampled_questions=64,
    )  # fmt: skip
    points, _ = run(MODULAR, [config])
    last = points[0, 256, 1].metrics
    assert last["training_error"] < 0.05 and last["error"] > 0.5


def test_weight_decay_shrinks_its_own_model_and_no_norm():
    """One step from the same weights, with decay and without: what decays has lost its share, the rest is equal."""
    config = ModularConfig(**SMALL, modulus=11, dataset_size=50, weight_decay=0.0, warmup_steps=0, learning_rate=1e-2)
    both = cohort(MODULAR, config, dataclasses.replace(config, weight_decay=3.0))
    start = both.weights.detach().clone()
    both.update()
    plain, decayed = both.weights.detach()
    lost = torch.from_numpy(decay_mask(both.shape)) * 0.03 * start[1]
    torch.testing.assert_close(decayed, plain - lost, rtol=1e-4, atol=1e-6)
    assert {name for name in both.named if not decay_mask_of(both, name).any()} == {
        name for name in both.named if name.endswith("norm")
    }


def decay_mask_of(models, name: str) -> np.ndarray:
    """Where in the mask the weights of a name are."""
    start = 0
    for other, (rows, columns) in models.shape.layout.items():
        if other == name:
            return decay_mask(models.shape)[start : start + rows * columns]
        start += rows * columns
    raise KeyError(name)


def test_measuring_does_not_touch_training():
    config = AdditionConfig(**SMALL, digits=1, dataset_size=30, answers=2, sampled_questions=8)
    measured, unmeasured = cohort(ADDITION, config), cohort(ADDITION, config)
    for _ in range(3):
        measured.update()
        measured.measure()
        measured.step += 1
        unmeasured.update()
        unmeasured.step += 1
    assert torch.equal(measured.weights, unmeasured.weights)


def test_a_diverged_model_does_not_harm_its_cohort():
    sound = ModularConfig(**SMALL, modulus=11, dataset_size=50)
    broken = dataclasses.replace(sound, learning_rate=1e20, init_scale=1e20)
    points, ends = run(MODULAR, [sound, broken])
    alone, _ = run(MODULAR, [sound])
    assert ends[1].ending is Ending.DIVERGED and ends[0].ending is Ending.DONE
    for key, point in alone.items():
        assert points[key].metrics["loss"] == pytest.approx(point.metrics["loss"], rel=1e-4)


def test_wide_models_stop_between_cells():
    wide = [ModularConfig(**SMALL | {"width": 64}, modulus=11, dataset_size=50, seed=seed) for seed in (0, 1)]
    first = Recorder(stop_after_points=1)
    before, _ = run(MODULAR, wide, first)
    assert set(first.saved) == {0} and {cell for cell, *_ in before} == {0}
