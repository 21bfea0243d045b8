"""Few-shot error of frozen features: how well a linear map of them, learned from k pictures a class, tells new classes.

The linear map is ridge regression onto targets of +1 and -1, on standardised features with a bias that is hardly
penalised, as in big_vision's evaluator. Its penalty is the one with the least leave-one-out error on the k pictures a
class, so that nothing is tuned on the pictures that are asked about.
"""

from __future__ import annotations

import numpy as np

BIAS = 100.0
"""The constant feature. Its weight is small, so the penalty hardly touches it."""
PENALTIES = 4.0 ** np.arange(-5, 11)


def few_shot_error(*, shots: np.ndarray, labels: np.ndarray, questions: np.ndarray, answers: np.ndarray) -> float:
    """Share of wrong answers on `questions` (pictures, features) after learning from `shots` and their labels."""
    mean, deviation = shots.mean(0, dtype=np.float64), shots.std(0, dtype=np.float64) + 1e-5
    known, asked = (
        np.concatenate([(part - mean) / deviation, np.full((len(part), 1), BIAS)], axis=1)
        for part in (shots, questions)
    )
    targets = 2.0 * (labels[:, None] == np.arange(labels.max() + 1)) - 1
    values, vectors = np.linalg.eigh(known @ known.T)
    values = values.clip(min=0)
    rotated = vectors.T @ targets

    def left_out(penalty: float) -> float:
        """Squared error of every shot as predicted by all others: ridge regression gives it in closed form."""
        shares = values / (values + penalty)
        misses = targets - vectors @ (shares[:, None] * rotated)
        leverage = (vectors**2) @ shares
        return float(np.square(misses / (1 - leverage)[:, None]).sum())

    best = min(PENALTIES, key=left_out)
    scores = asked @ (known.T @ (vectors @ (rotated / (values + best)[:, None])))
    return float(np.mean(scores.argmax(1) != answers))
