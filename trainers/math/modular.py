"""modular: small transformers on a table of arithmetic modulo a prime, where training long past memorising generalises.

A question is `a b =` and the answer one number: (a + b) mod p, or another operation. `dataset_size` of the p^2 rows of
the table are trained on, the test rows are never; what is measured is in answering.py. With a small part of the
table the training error falls at once and the test error much later (Power et al., arXiv 2201.02177): how much
later depends on the part, the weight decay, the learning rate and the initial scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainers.contract import check_config
from trainers.math.answering import TEST_SEED, AnsweringConfig, AnsweringTrainer, Format, distinct

OPERATIONS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "quadratic": lambda a, b: a * a + a * b + b * b,
}


@dataclass(frozen=True, kw_only=True)
class ModularConfig(AnsweringConfig):
    """One transformer on one table; more fields are in `trainers.math.answering.AnsweringConfig`."""

    modulus: int = 97
    """Modulus p: the table has p^2 rows."""
    operation: str = "add"
    """`add`, `subtract`, `multiply` or `quadratic` (a^2 + ab + b^2), modulo p."""
    dataset_size: int = 4_000
    """Rows of the table that are trained on."""
    weight_decay: float = 1.0
    """Decoupled weight decay a step, before the learning rate; norms do not decay."""

    def __post_init__(self) -> None:
        rows = self.modulus**2
        check_config(
            self,
            **self.shared_rules(),
            modulus=(2 <= self.modulus <= 2**14, "between 2 and 16384"),
            operation=(self.operation in OPERATIONS, f"one of {', '.join(OPERATIONS)}"),
            dataset_size=(
                1 <= self.dataset_size <= rows - self.test_size,
                f"between 1 and {rows - self.test_size}: the table has {rows} rows, {self.test_size} are for the test",
            ),
        )


class Modular(AnsweringTrainer):
    """See the module's docstring."""

    name = "modular"
    version = 1
    Config = ModularConfig

    def format(self, config: ModularConfig) -> Format:
        return Format(vocabulary=config.modulus + 1, question=3, answer=1, result=1)

    def questions(self, config: ModularConfig, *, count: int, test: bool) -> np.ndarray:
        space, nothing = config.modulus**2, np.empty(0, np.int64)
        rows = distinct(space=space, seed=TEST_SEED, count=config.test_size, without=nothing)
        if not test:
            rows = distinct(space=space, seed=config.seed, count=count, without=rows)
        a, b = np.divmod(rows[:count], config.modulus)
        equals = np.full_like(a, config.modulus)
        result = OPERATIONS[config.operation](a, b) % config.modulus
        return np.stack([a, b, equals, result], axis=1).astype(np.int16)


MODULAR = Modular()
