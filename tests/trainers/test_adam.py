"""The optimiser of stacked models beside PyTorch's own, a model at a time."""

from __future__ import annotations

import pytest
import torch

from trainers.loop import Adam

RATES, DECAYS = (1e-2, 3e-3, 1e-2), (0.0, 0.5, 2.0)
"""Learning rate and weight decay of each of three models."""


def column(values) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def gradients(shape: tuple[int, ...]) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=random) for _ in range(20)]


def by_torch(start: torch.Tensor, steps: list[torch.Tensor], mask: torch.Tensor, rate: float, decay: float):
    """One model by torch.optim.AdamW: the weights that decay in one group, the others in another."""
    pieces = [start[mask == keep].clone().requires_grad_() for keep in (1, 0)]
    groups = [{"params": [piece], "weight_decay": decay * keep} for piece, keep in zip(pieces, (1, 0), strict=True)]
    optimiser = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), eps=1e-8)
    for gradient in steps:
        for piece, keep in zip(pieces, (1, 0), strict=True):
            piece.grad = gradient[mask == keep].clone()
        optimiser.step()
    result = torch.empty_like(start)
    result[mask == 1], result[mask == 0] = (piece.detach() for piece in pieces)
    return result


@pytest.mark.parametrize("masked", [False, True])
def test_every_row_is_trained_as_torch_trains_it_alone(masked):
    start = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(12) % 3 > 0).float() if masked else torch.ones(12)
    weights, steps = start.clone(), gradients(start.shape)
    adam = Adam(weights, betas=(0.9, 0.95), epsilon=1e-8, decay_mask=mask if masked else None)
    decay = column([rate * decay for rate, decay in zip(RATES, DECAYS, strict=True)])
    for step, gradient in enumerate(steps):
        adam.gradient.copy_(gradient)
        adam.update(step, learning_rate=column(RATES), decay=decay)
    for row, (rate, weight_decay) in enumerate(zip(RATES, DECAYS, strict=True)):
        expected = by_torch(start[row], [gradient[row] for gradient in steps], mask, rate, weight_decay)
        torch.testing.assert_close(weights[row], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_one_model_alone_is_trained_as_a_row(decay):
    start = torch.randn(12, generator=torch.Generator().manual_seed(0))
    weights, steps = start.clone(), gradients(start.shape)
    adam = Adam(weights, betas=(0.9, 0.95), epsilon=1e-8)
    for step, gradient in enumerate(steps):
        adam.gradient.copy_(gradient)
        adam.update(step, learning_rate=1e-2, decay=1e-2 * decay or None)
    torch.testing.assert_close(weights, by_torch(start, steps, torch.ones(12), 1e-2, decay), rtol=1e-5, atol=1e-6)
