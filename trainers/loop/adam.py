"""Adam on flat weights: one update of many small models costs as many operations as one of one."""

from __future__ import annotations


class Adam:
    """Adam (Kingma & Ba, arXiv 1412.6980) with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101).

    `weights` have the shape (models, weights), a row a model: nothing passes between rows; or (weights,) for one model
    alone. Put the gradient into `gradient`, of the same shape, before an update. `decay_mask`, shape (weights,), is 1
    where weights decay and 0 where they do not; without one all decay.
    """

    STATE = ("weights", "first_moment", "second_moment")
    """The tensors that with the number of updates decide the next one."""

    def __init__(self, weights, *, betas: tuple[float, float], epsilon: float, decay_mask=None):
        import torch

        self.weights, self.betas, self.epsilon, self.decay_mask = weights, betas, epsilon, decay_mask
        self.first_moment, self.second_moment = torch.zeros_like(weights), torch.zeros_like(weights)
        self.gradient = torch.zeros_like(weights)

    def update(self, step: int, *, learning_rate, decay=None) -> None:
        """One update of every row from `gradient`, after `step` finished updates.

        `learning_rate` is a tensor of shape (models, 1) or (models, weights), or a float for one model alone. `decay`,
        of shape (models, 1) or a float, is learning rate times weight decay, the share of the weights that this update
        takes away; None takes none.
        """
        import torch

        count, (first, second) = step + 1, self.betas
        with torch.no_grad():
            self.first_moment.lerp_(self.gradient, 1 - first)
            self.second_moment.mul_(second).addcmul_(self.gradient, self.gradient, value=1 - second)
            scale = (self.second_moment / (1 - second**count)).sqrt_().add_(self.epsilon)
            if decay is not None:
                self.weights.mul_(1 - decay * (1.0 if self.decay_mask is None else self.decay_mask))
            size = learning_rate / (1 - first**count)
            if self.weights.dim() == 1:  # one operation instead of three
                self.weights.addcdiv_(self.first_moment, scale, value=-size)
            else:
                self.weights.sub_(self.first_moment.div(scale).mul_(size))

    def state(self, row: int) -> dict:
        """The tensors of one row, by name: writing to them restores it."""
        return {name: getattr(self, name)[row] for name in self.STATE}
