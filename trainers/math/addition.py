"""addition: small transformers that add numbers of several digits, with a scratchpad or straight away.

A question is `a+b=`, both with `digits` digits. With a scratchpad the answer first walks the places from the lowest:
the two digits, the carry that came in and the digit that comes out; then it writes the sum, highest digit first:

    173+258=  3801 7513 1214  0431        (places written apart here for the reader, not for the model)

Without one the sum must come out at once, its first digit depending on every carry (scratchpads: Nye et al., arXiv
2112.00114). What is measured is in answering.py; drawn answers are judged by the sum alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.contract import check_config
from trainers.math.answering import TEST_SEED, AnsweringConfig, AnsweringTrainer, Format, distinct

PLUS, EQUALS = 10, 11
"""Tokens after the ten digits."""


@dataclass(frozen=True, kw_only=True)
class AdditionConfig(AnsweringConfig):
    """One transformer that learns to add; more fields are in `trainers.math.answering.AnsweringConfig`."""

    digits: int = 3
    """Digits of either number, with leading zeros."""
    scratchpad: bool = True
    """Whether an answer works through the places before it gives the sum."""
    dataset_size: int = 100_000
    """Distinct sums that are trained on."""

    def __post_init__(self) -> None:
        pairs = 100 ** max(1, self.digits)
        check_config(
            self,
            **self.shared_rules(),
            digits=(1 <= self.digits <= 9, "between 1 and 9"),
            dataset_size=(
                1 <= self.dataset_size <= pairs - self.test_size,
                f"between 1 and {pairs - self.test_size}: there are {pairs} sums, {self.test_size} are for the test",
            ),
        )


class Addition(AnsweringTrainer):
    """See the module's docstring."""

    name = "addition"
    version = 1
    Config = AdditionConfig

    def format(self, config: AdditionConfig) -> Format:
        result = config.digits + 1
        scratchpad = 4 * config.digits if config.scratchpad else 0
        return Format(vocabulary=12, question=2 * config.digits + 2, answer=scratchpad + result, result=result)

    def questions(self, config: AdditionConfig, *, count: int, test: bool) -> np.ndarray:
        space, nothing = 100**config.digits, np.empty(0, np.int64)
        pairs = distinct(space=space, seed=TEST_SEED, count=config.test_size, without=nothing)
        if not test:
            pairs = distinct(space=space, seed=config.seed, count=count, without=pairs)
        a, b = np.divmod(pairs[:count], 10**config.digits)
        return write_sums(a, b, digits=config.digits, scratchpad=config.scratchpad)


def write_sums(a: np.ndarray, b: np.ndarray, *, digits: int, scratchpad: bool) -> np.ndarray:
    """Questions and answers as tokens, a row a sum, uint8."""

    def places(number: np.ndarray, count: int) -> list[np.ndarray]:
        """Digits, lowest first."""
        return [number // 10**place % 10 for place in range(count)]

    of_a, of_b, of_sum = places(a, digits), places(b, digits), places(a + b, digits + 1)
    columns = [*of_a[::-1], np.full_like(a, PLUS), *of_b[::-1], np.full_like(a, EQUALS)]
    if scratchpad:
        carry = np.zeros_like(a)
        for x, y, z in zip(of_a, of_b, of_sum, strict=False):
            columns += [x, y, carry, z]
            carry = (x + y + carry) // 10
    return np.stack([*columns, *of_sum[::-1]], axis=1).astype(np.uint8)


ADDITION = Addition()
