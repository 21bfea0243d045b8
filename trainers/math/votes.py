"""What several drawn answers to one question achieve: the majority's error, and the chance that none is right."""

from __future__ import annotations

import math

import numpy as np


def result_codes(tokens, *, last: int, vocabulary: int):
    """The `last` tokens of each row, the result, as one whole number."""
    code = tokens[..., -last] * 0
    for place in range(last, 0, -1):
        code = code * vocabulary + tokens[..., -place]
    return code


def vote_sizes(answers: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to the answers that are drawn to a question."""
    return tuple(2**power for power in range(answers.bit_length()))


def vote_and_pass_errors(drawn: np.ndarray, truth: np.ndarray) -> dict[int, dict[str, float]]:
    """What k of the drawn answers achieve, for every k of `vote_sizes`.

    `drawn` has shape (questions, answers), `truth` (questions,). Every answer is used for every k.
    """
    questions, answers = drawn.shape
    right = drawn == truth[:, None]
    correct = right.sum(1)
    errors = {}
    for k in vote_sizes(answers):
        groups = drawn.reshape(questions, answers // k, k)
        counts = (groups[..., :, None] == groups[..., None, :]).sum(-1)
        leading = counts == counts.max(-1, keepdims=True)
        # Answers that lead equally have equal counts, so that the mean over leading answers is a fair lot among them.
        voted = (right.reshape(groups.shape) & leading).sum(-1) / leading.sum(-1)
        none_right = np.array([math.comb(answers - c, k) / math.comb(answers, k) for c in range(answers + 1)])
        errors[k] = {"vote_error": float(1 - voted.mean()), "pass_error": float(none_right[correct].mean())}
    return errors
