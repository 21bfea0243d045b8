"""The training of one torch model by itself: weights by name, AdamW, batches in parts, data that must stay the same.

A domain prepares its model and its data and says what a batch, its loss and its metrics are. On a GPU, products run in
bfloat16 where the domain asks for it, and long runs are compiled; weights stay in single precision.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainers.cohort import Cohort
from trainers.contract import Checkpoint, Trainer, TrainerError
from trainers.optimisation import fused_adamw, learning_rate_factor

COMPILE_FROM_FLOPS = 1e16
"""Compiling takes about a minute: it pays for runs of several minutes on a GPU. On a CPU it is never done."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a cell is trained and measured on, so that it is not resumed on anything else."""

    kind: str
    """What a person calls it: `text`, `pictures`."""
    name: str
    """As the configuration names it."""
    digest: str
    """SHA-256 of the data in hexadecimal digits: equal digests are equal data."""


class OneModel(Cohort):
    """A cohort of one. A domain adds `prepare`, `batch`, `loss` and `metrics`."""

    def __init__(self, trainer: Trainer, configs: Sequence[Any], cells: Sequence[int], device: str):
        super().__init__(trainer, configs, cells, device)
        self.weights, self.data = self.prepare()
        self.optimiser = fused_adamw(self.weights.values(), self.one)

    @abc.abstractmethod
    def prepare(self) -> tuple[Mapping[str, Any], Data]:
        """Make the model and open the data: the weights by name, on the device, and what the data are."""

    @abc.abstractmethod
    def batch(self) -> Iterable[Any]:
        """The batch of the next step in as many equal parts as the configuration's `accumulation`."""

    @abc.abstractmethod
    def loss(self, part: Any):
        """Mean loss of one part of a batch, a scalar tensor."""

    @abc.abstractmethod
    def metrics(self) -> dict[str, float]:
        """Every metric of the model as it is. Training state is not touched."""

    def compiled(self, function: Callable) -> Callable:
        """The function, compiled where the run is long enough."""
        import torch

        pays = self.device.type == "cuda" and self.flops_per_step * self.one.steps > COMPILE_FROM_FLOPS
        return torch.compile(function) if pays else function

    def low_precision(self):
        """A context in which products run in bfloat16 on a GPU."""
        import torch

        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def update(self) -> None:
        import torch

        config = self.one
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(config, self.step)
        for part in self.batch():
            (self.loss(part) / config.accumulation).backward()
        if config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.weights.values(), config.gradient_clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def measure(self) -> dict[int, dict[str, list[float]]]:
        return {1: {name: [value] for name, value in self.metrics().items()}}

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
        of = self.data
        if bytes(checkpoint.arrays.get(f"{of.kind}_digest", b"")).hex() != of.digest:
            raise TrainerError(
                f"{of.kind} '{of.name}', now with SHA-256 {of.digest[:12]}..., is not known to be what this cell began "
                f"with: restore the old {of.kind}, or remove the cell's checkpoint to start it anew"
            )
        super().restore(checkpoints)
        for moments in self.optimiser.state.values():
            moments["step"].fill_(self.step)
