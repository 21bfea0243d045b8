"""Zero-shot scoring against a model whose probabilities are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from trainers import TrainerError
from trainers.language.downstream import COMMON_SENSE, TASKS, common_sense, load_task, log_likelihoods

RECORDS = {
    "lambada": {"text": "she opened the door"},
    "hellaswag": {
        "activity_label": "Baking",
        "ctx_a": "A cook stirs.",
        "ctx_b": "then he",
        "endings": ["eats [step] it.", "flies.", "sings.", "runs."],
        "label": "0",
    },
    "arc_easy": {
        "question": "What is wet?",
        "choices": {"text": ["fire", "rain"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "arc_challenge": {"question": "Which?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "1"},
    "piqa": {"goal": "Open a jar", "sol1": "turn the lid", "sol2": "hit it", "label": 0},
    "winogrande": {
        "sentence": "The cup fell off the table as _ was wet.",
        "option1": "it",
        "option2": "he",
        "answer": "2",
    },
    "openbookqa": {
        "question_stem": "Rain is",
        "choices": {"text": ["dry", "wet"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "siqa": {
        "context": "Ann slept.",
        "question": "Why?",
        "answerA": "tired",
        "answerB": "hungry",
        "answerC": "late",
        "label": "1",
    },
    "boolq": {"passage": "Water is wet.", "question": "is water wet", "answer": True},
}


def encode(text: str) -> list[int]:
    return list(text.encode())


def after(favoured: dict[int, int], odds: float = 50.0):
    """Logits of a model that knows which byte follows which: `favoured` has the likeliest successor of each byte."""

    def logits(tokens: np.ndarray) -> torch.Tensor:
        scores = torch.zeros(*tokens.shape, 256)
        for byte, successor in favoured.items():
            scores[..., successor][torch.from_numpy(tokens == byte)] = np.log(odds)
        return scores

    return logits


def write(path, *records):
    path.write_text("\n".join(json.dumps(record) for record in records))
    return str(path)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_read_from_its_own_records(name, tmp_path):
    path = write(tmp_path / f"{name}.jsonl", RECORDS[name])
    task = load_task(path, encode=encode, context_length=200, most=10)
    metrics = task.measure(lambda tokens: torch.zeros(*tokens.shape, 256))
    assert f"{name}_error" in metrics and all(0 < value < 100 for value in metrics.values())


def texts(path, name, choice=0):
    task = load_task(path, encode=encode, context_length=200, most=10)
    return bytes(task.contexts[0][choice]).decode(), bytes(task.continuations[0][choice]).decode(), task.answers[0]


@pytest.mark.parametrize(
    "name, choice, expected",
    [
        ("lambada", 0, ("she opened the", " door", 0)),
        ("hellaswag", 0, ("Baking: A cook stirs. Then he", " eats it.", 0)),
        ("arc_easy", 1, ("Question: What is wet?\nAnswer:", " rain", 1)),
        ("winogrande", 1, ("The cup fell off the table as he", " was wet.", 1)),
        ("siqa", 1, ("Q: Ann slept. Why?\nA:", " hungry", 0)),
        ("boolq", 1, ("Water is wet.\nQuestion: is water wet?\nAnswer:", " yes", 1)),
    ],
)
def test_prompts_are_those_of_the_harness(name, choice, expected, tmp_path):
    assert texts(write(tmp_path / f"{name}.jsonl", RECORDS[name]), name, choice) == expected


def test_the_likelier_continuation_is_the_answer(tmp_path):
    """After a space this model expects a `b`."""
    questions = [{"context": "x", "choices": ["aa", "ba"], "answer": answer} for answer in (1, 1, 1, 0)]
    task = load_task(write(tmp_path / "letters.jsonl", *questions), encode=encode, context_length=50, most=10)
    assert task.measure(after({ord(" "): ord("b")})) == {"letters_error": 0.25, "letters_error_norm": 0.25}


def test_length_decides_only_without_normalisation(tmp_path):
    """A uniform model prefers the shorter continuation; a byte of it is as likely as a byte of the longer one."""
    record = {"context": "x", "choices": ["a" * 20, "b"], "answer": 0}
    task = load_task(write(tmp_path / "long.jsonl", record), encode=encode, context_length=50, most=10)
    metrics = task.measure(after({ord(" "): ord("a"), ord("a"): ord("a")}, odds=2.0))
    assert metrics == {"long_error": 1.0, "long_error_norm": 0.5}


def test_log_likelihoods_are_sums_over_the_continuation():
    probability = 50 / (50 + 255)
    pairs = [
        (encode("xy"), encode(" b")),
        (encode("a much longer context,"), encode(" b")),
        (encode("x"), encode(" c")),
    ]
    scores, greedy = log_likelihoods(pairs, after({ord(" "): ord("b")}), context_length=64)
    assert scores[0] == pytest.approx(np.log(1 / 256) + np.log(probability), rel=1e-5)
    assert scores[2] == pytest.approx(np.log(1 / 256) + np.log((1 - probability) / 255), rel=1e-5)
    # Nothing favours the space, so that greedy decoding never begins a continuation.
    assert list(greedy) == [False, False, False]


@pytest.mark.parametrize("odds", [50.0, 1.5])
def test_of_every_position_two_numbers_leave_the_device(monkeypatch, odds):
    """Not the vocabulary: tensors are watched as they pass to the host, and the scores are those of all of it."""
    moved = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: moved.append(tensor.numel()) or cpu(tensor))
    pairs = [(encode("some context"), encode(" b")), (encode("x"), encode(" bcd"))]
    logits = after({ord(" "): ord("b"), ord("b"): ord("c")}, odds)
    scores, _ = log_likelihoods(pairs, logits, context_length=64)
    assert 0 < sum(moved) <= 2 * 2 * (max(len(a) + len(b) for a, b in pairs) - 1)
    for score, (context, continuation) in zip(scores, pairs, strict=True):
        tokens = np.array([*context, *continuation])
        whole = logits(tokens[None, :-1]).log_softmax(-1)[0]
        expected = sum(float(whole[i - 1, tokens[i]]) for i in range(len(context), len(tokens)))
        assert score == pytest.approx(expected, rel=1e-5)


def test_the_mean_over_the_common_sense_sets():
    assert len(COMMON_SENSE) == 7 and set(COMMON_SENSE) <= set(TASKS)
    metrics = {f"{task}_error": place / 10 for place, task in enumerate(COMMON_SENSE)} | {"boolq_error": 1.0}
    assert common_sense(metrics) == {"common_sense_error": pytest.approx(0.3)}
    del metrics["siqa_error"]
    assert common_sense(metrics) == {}


def test_greedy_decoding_solves_a_known_word(tmp_path):
    path = write(tmp_path / "lambada.jsonl", {"text": "x bc"}, {"text": "x bd"})
    metrics = load_task(path, encode=encode, context_length=50, most=10).measure(
        after({ord("x"): ord(" "), ord(" "): ord("b"), ord("b"): ord("c")})
    )
    assert metrics["lambada_error"] == 0.5


def test_a_question_longer_than_the_context_keeps_its_end():
    pair = (encode("z" * 100 + "x"), encode(" b"))
    seen = []

    def logits(tokens):
        seen.append(tokens.shape)
        return after({ord(" "): ord("b")})(tokens)

    scores, _ = log_likelihoods([pair], logits, context_length=8)
    assert seen == [(1, 8)] and scores[0] == pytest.approx(np.log(1 / 256) + np.log(50 / 305), rel=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_every_question_of_the_hub_is_asked(name, monkeypatch):
    """The hub of today runs no loading scripts: Social IQa is there in a copy of plain files."""
    import datasets

    def load(path, subset, split):
        if path == "allenai/social_i_qa":
            raise RuntimeError("Dataset scripts are no longer supported, but found social_i_qa.py")
        return datasets.Dataset.from_list([RECORDS[name]] * 501)

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert len(load_task(name, encode=encode, context_length=9).answers) == 501
    assert len(load_task(name, encode=encode, context_length=9, most=3).answers) == 3


def test_how_many_questions(tmp_path):
    path = write(tmp_path / "boolq.jsonl", *[RECORDS["boolq"]] * 9)
    assert len(load_task(path, encode=encode, context_length=9, most=4).answers) == 4
    assert len(load_task(path, encode=encode, context_length=9).answers) == 9


@pytest.mark.parametrize(
    "content, message",
    [("{", "line 1 of x.jsonl is not JSON"), ('{"context": "a"}', "cannot be read: KeyError"), ("", "no questions")],
)
def test_a_bad_file_is_named(content, message, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(TrainerError, match=message):
        load_task(str(path), encode=encode, context_length=9, most=4)


def test_a_missing_task_is_named():
    with pytest.raises(TrainerError, match=r"'helaswag' is neither .* hellaswag"):
        load_task("helaswag", encode=encode, context_length=9, most=4)
