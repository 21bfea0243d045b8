"""The step of one torch model that trains by itself: a batch in parts, clipping, AdamW, and data that stay the same.

A domain prepares its model and its data and says what a batch, its loss and its metrics are. Several processes may
share out the parts of a batch and sum their gradients (ranks.py). On a GPU, products run in
bfloat16 where the domain asks for it, long runs are compiled, and a batch is cut into as many parts as the memory that
is free there asks for; weights stay in single precision.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainers.contract import Checkpoint, Trainer, TrainerError
from trainers.loop.cohort import Cohort
from trainers.loop.memory import shared_out
from trainers.loop.ranks import SummedGradients, trainable
from trainers.loop.schedules import learning_rate_factor

BETAS = (0.9, 0.95)
"""As for most published language models: a second moment over 20 steps follows short runs better than over 1,000."""
EPSILON = 1e-8
COMPILE_FROM_FLOPS = 1e16
"""Compiling takes about a minute: it pays for runs of several minutes on a GPU. On a CPU it is never done."""


@dataclass(frozen=True, kw_only=True)
class DataIdentity:
    """What a cell is trained and measured on, so that it is not resumed on anything else."""

    kind: str
    """What a person calls it: `text`, `pictures`."""
    name: str
    """As the configuration names it."""
    digest: str
    """SHA-256 of the data in hexadecimal digits: equal digests are equal data."""


class SingleModel(Cohort):
    """A cohort of one. A domain adds `prepare`, `batch`, `loss` and `metrics`."""

    def __init__(self, trainer: Trainer, configs: Sequence[Any], cells: Sequence[int], device: str):
        super().__init__(trainer, configs, cells, device)
        self.config = shared_out(trainer, self.config, device, self.group)
        self.weights, self.data = self.prepare()
        self.gradients = SummedGradients(trainable(self.weights), self.group)
        self.optimiser = _adamw(self.weights, self.config, self.rate_factors())

    @abc.abstractmethod
    def prepare(self) -> tuple[Mapping[str, Any], DataIdentity]:
        """Make the model and open the data: the weights by name, on the device, and what the data are."""

    @abc.abstractmethod
    def batch(self) -> Iterable[Any]:
        """This process's share of the next step's batch, the rows `self.group.rows(examples)` of it, in `self.parts`
        equal parts."""

    @abc.abstractmethod
    def loss(self, part: Any):
        """Mean loss of one part of a batch, a scalar tensor."""

    @abc.abstractmethod
    def metrics(self) -> dict[str, float]:
        """Every metric of the model as it is. Training state is not touched."""

    @property
    def parts(self) -> int:
        """How many of the configuration's `accumulation` parts of a batch are this process's."""
        return self.config.accumulation // self.group.count

    def rate_factors(self) -> Mapping[str, float]:
        """The share of the learning rate that each weight has, by name; those without one have the whole."""
        return {}

    def update(self) -> None:
        import torch

        config = self.config
        for group in self.optimiser.param_groups:
            rate = config.learning_rate * learning_rate_factor(config, self.step, branch=self.branch)
            group["lr"] = group["factor"] * rate
        for number, part in enumerate(self.batch(), start=1):
            if number == self.parts:
                self.gradients.expect()
            (self.loss(part) / config.accumulation).backward()
        self.gradients.finish()
        if config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.weights.values(), config.gradient_clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def measure(self) -> dict[int, dict[str, list[float]]]:
        # Computed by all of them, and the first's everywhere: none may go on where another has diverged.
        return {1: {name: [value] for name, value in self.group.agreed(self.metrics()).items()}}

    def compiled(self, function: Callable) -> Callable:
        """The function, compiled where the run is long enough."""
        import torch

        pays = self.on_gpu and self.flops_per_step * self.config.steps > COMPILE_FROM_FLOPS
        return torch.compile(function) if pays else function

    def low_precision(self):
        """A context in which products run in bfloat16 on a GPU."""
        import torch

        return torch.autocast("cuda" if self.on_gpu else "cpu", torch.bfloat16, enabled=self.on_gpu)

    def state(self, row: int) -> dict[str, Any]:
        named = {}
        for name, weight in self.weights.items():
            moments = self.optimiser.state[weight]
            parts = {"weight": weight, "first_moment": moments["exp_avg"], "second_moment": moments["exp_avg_sq"]}
            named |= {f"{part}/{name}": tensor for part, tensor in parts.items()}
        return named

    def arrays(self, row: int) -> dict[str, np.ndarray]:
        digest = np.frombuffer(bytes.fromhex(self.data.digest), np.uint8)
        return {f"{self.data.kind}_digest": digest} | super().arrays(row)

    def restore(self, checkpoints: Sequence[Checkpoint | None]) -> None:
        """As of every cohort. Raises TrainerError where the cell is not known to have begun on these data."""
        if (checkpoint := checkpoints[self.cells[0]]) is None:
            return
        data = self.data
        if bytes(checkpoint.arrays.get(f"{data.kind}_digest", b"")).hex() != data.digest:
            raise TrainerError(
                f"{data.kind} '{data.name}', now with SHA-256 {data.digest[:12]}..., is not known to be what this cell "
                f"began with: restore the old {data.kind}, or remove the cell's checkpoint to start it anew"
            )
        super().restore(checkpoints)

    def go_to(self, step: int) -> None:
        super().go_to(step)
        for moments in self.optimiser.state.values():
            moments["step"].fill_(step)


def _adamw(weights: Mapping[str, Any], config, factors: Mapping[str, float]):
    """torch's AdamW with all its arithmetic in one kernel; norms, biases and other vectors do not decay.

    Its moments are there from the start, so that a checkpoint has them to be written to.
    """
    import torch

    groups: dict[tuple[bool, float], list] = {}
    for name, weight in weights.items():
        if weight.requires_grad:
            groups.setdefault((weight.dim() >= 2, factors.get(name, 1.0)), []).append(weight)
    # A weight's decay is of the whole learning rate, whatever its share of it.
    groups = [
        {"params": params, "weight_decay": config.weight_decay * decays / factor, "factor": factor}
        for (decays, factor), params in groups.items()
    ]
    parameters = [weight for group in groups for weight in group["params"]]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, eps=EPSILON, fused=True)
    for parameter in parameters:
        optimiser.state[parameter] = {
            "step": torch.zeros((), device=parameter.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimiser
