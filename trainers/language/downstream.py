"""Zero-shot scoring of language models on questions with choices, in the format of EleutherAI's evaluation harness.

A question is a context and its possible continuations; a model answers with the one that it finds most probable. The
prompts are those of lm-evaluation-harness, so that errors can be compared with published ones:

    TASK_error        share of questions whose most probable continuation is wrong (1 - acc)
    TASK_error_norm   the same with every log-likelihood divided by the bytes of its continuation (1 - acc_norm)
    lambada_nats      nats of the last word, which has no choices: its error is that of greedy decoding
    common_sense_error, common_sense_error_norm     the means over the seven sets of `COMMON_SENSE`, where all are asked

A task is a name of `TASKS`, whose questions come from the Hugging Face hub, or a path to JSON lines. Each line there is
a record of the task that the file's name begins with (`hellaswag.jsonl`, `arc_easy-small.jsonl`), or, for any other
name, {"context": ..., "choices": [...], "answer": index}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trainers.contract import TrainerError

COMMON_SENSE = ("piqa", "siqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")
"""Questions with choices about what everyone knows: those whose mean is reported of published models."""
BATCH = 32
"""Sequences scored at once."""
NOTHING = "\0"
"""What stands before a continuation without a context: the end of another document."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A context, its continuations and the right one. A continuation begins with its space."""

    contexts: tuple[str, ...]
    """One context a continuation; they differ only where the blank is in the middle (WinoGrande)."""
    continuations: tuple[str, ...]
    answer: int

    @classmethod
    def of(cls, context: str, continuations: Sequence[str], answer: int) -> Question:
        return cls(
            contexts=(context,) * len(continuations), continuations=tuple(f" {c}" for c in continuations), answer=answer
        )


@dataclass(frozen=True, kw_only=True)
class TaskFormat:
    """Where a task's records are and how one becomes a question."""

    hub: tuple[str, str | None, str]
    """Name, subset and split on the Hugging Face hub."""
    read: Callable[[Mapping], Question]


def _lambada(record: Mapping) -> Question:
    context, _, word = record["text"].strip().rpartition(" ")
    return Question.of(context, [word], 0)


def _hellaswag(record: Mapping) -> Question:
    def clean(text: str) -> str:
        text = text.strip().replace(" [title]", ". ")
        return re.sub(r"\[.*?\]", "", text).replace("  ", " ")

    context = f"{record['ctx_a']} {record['ctx_b'].capitalize()}"
    endings = [clean(ending) for ending in record["endings"]]
    return Question.of(clean(f"{record['activity_label']}: {context}"), endings, int(record["label"]))


def _arc(record: Mapping) -> Question:
    choices = record["choices"]
    answer = list(choices["label"]).index(record["answerKey"])
    return Question.of(f"Question: {record['question']}\nAnswer:", choices["text"], answer)


def _openbookqa(record: Mapping) -> Question:
    choices = record["choices"]
    answer = list(choices["label"]).index(record["answerKey"].strip())
    return Question.of(record["question_stem"], choices["text"], answer)


def _piqa(record: Mapping) -> Question:
    return Question.of(f"Question: {record['goal']}\nAnswer:", [record["sol1"], record["sol2"]], int(record["label"]))


def _winogrande(record: Mapping) -> Question:
    before, _, after = record["sentence"].partition("_")
    options = (record["option1"], record["option2"])
    return Question(
        contexts=tuple(before + option for option in options),
        continuations=(f" {after.strip()}",) * 2,
        answer=int(record["answer"]) - 1,
    )


def _siqa(record: Mapping) -> Question:
    choices = [record[f"answer{letter}"] for letter in "ABC"]
    return Question.of(f"Q: {record['context']} {record['question']}\nA:", choices, int(record["label"]) - 1)


def _boolq(record: Mapping) -> Question:
    answer = record["answer"] if "answer" in record else record["label"]
    context = f"{record['passage']}\nQuestion: {record['question']}?\nAnswer:"
    return Question.of(context, ["no", "yes"], int(answer))


def _plain(record: Mapping) -> Question:
    return Question.of(record["context"], record["choices"], int(record["answer"]))


TASKS = {
    "lambada": TaskFormat(hub=("EleutherAI/lambada_openai", "default", "test"), read=_lambada),
    "hellaswag": TaskFormat(hub=("Rowan/hellaswag", None, "validation"), read=_hellaswag),
    "arc_easy": TaskFormat(hub=("allenai/ai2_arc", "ARC-Easy", "test"), read=_arc),
    "arc_challenge": TaskFormat(hub=("allenai/ai2_arc", "ARC-Challenge", "test"), read=_arc),
    "piqa": TaskFormat(hub=("baber/piqa", None, "validation"), read=_piqa),
    "winogrande": TaskFormat(hub=("allenai/winogrande", "winogrande_xl", "validation"), read=_winogrande),
    "openbookqa": TaskFormat(hub=("allenai/openbookqa", "main", "test"), read=_openbookqa),
    "siqa": TaskFormat(hub=("lighteval/siqa", None, "validation"), read=_siqa),
    "boolq": TaskFormat(hub=("aps/super_glue", "boolq", "validation"), read=_boolq),
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """Questions as tokens, ready to be scored."""

    name: str
    contexts: Sequence[Sequence[Sequence[int]]] = field(repr=False)
    """For every question, for every choice, the tokens of its context."""
    continuations: Sequence[Sequence[Sequence[int]]] = field(repr=False)
    lengths: Sequence[np.ndarray] = field(repr=False)
    """Bytes of each continuation, its leading space apart."""
    answers: Sequence[int] = field(repr=False)
    context_length: int

    def measure(self, logits: Callable) -> dict[str, float]:
        """The task's metrics, for a function from tokens (sequences, positions), int64, to logits at every position."""
        pairs = [
            pair
            for contexts, continuations in zip(self.contexts, self.continuations, strict=True)
            for pair in zip(contexts, continuations, strict=True)
        ]
        scores, greedy = log_likelihoods(pairs, logits, context_length=self.context_length)
        count, wrong, wrong_norm, start = len(self.answers), 0, 0, 0
        # n questions cannot show an error below about 1/(2n).
        least = 0.5 / count
        if all(len(choices) == 1 for choices in self.continuations):
            error = max(least, float(1 - greedy.mean()))
            return {f"{self.name}_error": error, f"{self.name}_nats": float(-scores.mean())}
        for answer, lengths in zip(self.answers, self.lengths, strict=True):
            of_question = scores[start : start + len(lengths)]
            start += len(lengths)
            if not np.isfinite(of_question).all():
                return {f"{self.name}_error": float("nan")}
            wrong += int(of_question.argmax()) != answer
            wrong_norm += int((of_question / lengths).argmax()) != answer
        return {
            f"{self.name}_error": max(least, wrong / count),
            f"{self.name}_error_norm": max(least, wrong_norm / count),
        }


def log_likelihoods(pairs: Sequence[tuple], logits: Callable, *, context_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood in nats of every continuation after its context, and whether greedy decoding would give it.

    Where both are longer than the model's context, the beginning is cut off, the continuation's only if it must be.
    """
    import torch

    rows = []
    for context, continuation in pairs:
        tokens = [*context, *continuation][-(context_length + 1) :]
        rows.append((tokens, min(len(continuation), len(tokens) - 1)))
    scores, greedy = np.zeros(len(rows)), np.zeros(len(rows), bool)
    # Rows of equal length waste no padding together.
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row][0]))
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        longest = len(rows[chosen[0]][0])
        tokens = np.zeros((len(chosen), longest), np.int64)
        for i, row in enumerate(chosen):
            # Padding follows the text: no position that counts can see it.
            tokens[i, : len(rows[row][0])] = rows[row][0]
        given = logits(tokens[:, :-1])
        # The vocabulary stays on the device: of every position two numbers leave it.
        targets = torch.from_numpy(tokens[:, 1:]).to(given.device)
        log_probabilities = given.log_softmax(-1).gather(2, targets[..., None])[..., 0].cpu().double()
        likeliest = (given.argmax(-1) == targets).cpu()
        for i, row in enumerate(chosen):
            text, scored = rows[row]
            of_row = slice(len(text) - 1 - scored, len(text) - 1)
            scores[row] = float(log_probabilities[i, of_row].sum())
            greedy[row] = bool(likeliest[i, of_row].all())
    return scores, greedy


def common_sense(metrics: Mapping[str, float]) -> dict[str, float]:
    """The mean errors over `COMMON_SENSE`, by name; none where one of the sets was not asked."""
    means = {}
    for kind in ("error", "error_norm"):
        errors = [metrics[f"{task}_{kind}"] for task in COMMON_SENSE if f"{task}_{kind}" in metrics]
        if len(errors) == len(COMMON_SENSE):
            means[f"common_sense_{kind}"] = float(np.mean(errors))
    return means


def load_task(name: str, *, encode: Callable[[str], list[int]], context_length: int, most: int = 0) -> Task:
    """A task's questions as tokens; with `most` above 0, no more than its first ones.

    Raises TrainerError where they cannot be had or read.
    """
    path = Path(name).expanduser()
    if name in TASKS:
        records, read, title = _from_hub(name, TASKS[name], most), TASKS[name].read, name
    elif path.suffix == ".jsonl" and path.is_file():
        records, title = _from_file(path, most), path.stem
        known = sorted((task for task in TASKS if title.startswith(task)), key=len)
        read = TASKS[known[-1]].read if known else _plain
    else:
        raise TrainerError(
            f"downstream: '{name}' is neither a .jsonl file that exists here nor one of {', '.join(TASKS)}"
        )
    try:
        questions = [read(record) for record in records]
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise TrainerError(
            f"downstream: a record of '{name}' cannot be read: {type(error).__name__} {error}"
        ) from error
    if not questions:
        raise TrainerError(f"downstream: '{name}' has no questions")
    pairs = [[_tokens(encode, *pair) for pair in zip(q.contexts, q.continuations, strict=True)] for q in questions]
    return Task(
        name=title,
        contexts=[[context for context, _ in question] for question in pairs],
        continuations=[[continuation for _, continuation in question] for question in pairs],
        lengths=[np.array([max(1, len(c.strip().encode())) for c in q.continuations]) for q in questions],
        answers=[question.answer for question in questions],
        context_length=context_length,
    )


def _tokens(encode: Callable[[str], list[int]], context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of both, split where the context alone ends; spaces at its end belong to the continuation."""
    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    before, whole = encode(kept), encode(kept + continuation)
    return before or encode(NOTHING), whole[len(before) :]


def _from_hub(name: str, task: TaskFormat, most: int) -> list[Mapping]:
    import datasets

    datasets.disable_progress_bars()
    dataset, subset, split = task.hub
    try:
        records = datasets.load_dataset(dataset, subset, split=split)
        return list(records.select(range(min(most or len(records), len(records)))))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TrainerError(f"downstream: '{name}' cannot be loaded from the hub ({dataset}): {reason}") from error


def _from_file(path: Path, most: int) -> list[Mapping]:
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and (not most or len(records) < most):
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise TrainerError(f"downstream: line {number} of {path.name} is not JSON: {error}") from error
    return records
