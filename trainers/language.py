"""language: decoder language models of transformers configurations on packed text.

The architectures, two transformers and a recurrent model, are in trainers/language_models.py. Scale is width and depth
apart, or a target parameter count from which the width follows. Everything is counted in tokens: `dataset_size` unique
ones, `batch_size` a step and `context_length` a sequence, so that epochs are steps * batch_size / dataset_size and
overfitting is visible. Measured on text that no run trains on:

    loss             nats a token
    bits_per_byte    the same a byte of text, comparable between vocabularies
    text_digest      the first 48 bits of the corpus' SHA-256 as a number: equal numbers are equal texts
    TASK_error       with `downstream`: share of zero-shot questions answered wrongly (trainers/downstream.py)

FLOPs are those of matrix products and convolutions, two for a multiply-add, with attention over the full square of
positions: once forward and twice backward. Kernels that recompute or that skip masked positions do not change the
count. Weights are in single precision; on a GPU products run in bfloat16 (autocast).

Cells are trained one after another. Measured on a CPU core, 8 models under torch.func.vmap run at 0.6 to 0.9 times the
speed of the same models one by one, from width 16 to width 128: attention has no batching rule there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trainers.contract import Checkpoint, Context, Counts, End, Ending, Point, TrainerError, check_config
from trainers.data.order import EpochOrder
from trainers.data.text import BYTES, Pack, pack
from trainers.language_models import ARCHITECTURES, build_model, forward_products, parameters, width_for
from trainers.optimisation import fused_adamw, learning_rate_factor, schedule_rules
from trainers.schedule import log_spaced_steps

COMPILE_FROM_FLOPS = 1e16
"""Compiling takes about a minute: it pays for runs of several minutes on a GPU. On a CPU it is never done."""


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """One language model, its text and its training run."""

    architecture: str = "gpt2"
    """`gpt2`, `llama` or `mamba2`."""
    width: int = 128
    """Width of the residual stream, a multiple of head_size."""
    depth: int = 4
    """Blocks."""
    head_size: int = 32
    """Width of one head, of attention or of the state-space model."""
    state_size: int = 32
    """Numbers that each channel of a state-space model remembers."""
    target_parameters: int = 0
    """Above 0, width is the multiple of head_size that comes nearest to this many parameters at the given depth."""
    text: str = "docstrings"
    """The corpus: `docstrings`, `hub:NAME`, `hub:NAME:SUBSET` or a path to text, Parquet or JSON lines."""
    text_column: str = "text"
    """The field of a record that holds its text."""
    text_digest: str = ""
    """Leading hexadecimal digits of the corpus' SHA-256, to refuse any other text; empty takes the text as it is."""
    corpus_tokens: int = 0
    """Pack, and stream from the hub, no more training tokens than these; 0 packs all."""
    vocabulary: int = BYTES
    """Tokens: 256 are the bytes themselves, more are byte-pair merges learned from the text."""
    context_length: int = 128
    """Tokens of a sequence."""
    dataset_size: int = 4_000_000
    """Unique training tokens."""
    steps: int = 1_000
    """Optimiser steps."""
    batch_size: int = 2_048
    """Tokens a step, a multiple of context_length."""
    accumulation: int = 1
    """Parts that a batch is processed in, one after another, where it does not fit in memory at once."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW."""
    schedule: str = "cosine"
    """Learning rate after the warm-up: `constant`, `cosine` (to a tenth) or `wsd` (constant, then linear to zero)."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises to its peak."""
    decay_share: float = 0.2
    """Part of the run over which `wsd` decays."""
    weight_decay: float = 0.1
    """Decoupled weight decay a step, before the learning rate; norms and biases do not decay."""
    gradient_clip: float = 1.0
    """Largest norm of a step's gradient; 0 does not clip."""
    init_scale: float = 1.0
    """Factor on the initial weight matrices."""
    validation_tokens: int = 65_536
    """Held-out tokens that a measurement uses; fewer where the corpus has fewer."""
    downstream: str = ""
    """Zero-shot tasks, separated by commas: names of `trainers.downstream.TASKS`, or paths to files of questions."""
    downstream_questions: int = 500
    """Most questions of a task that a measurement uses."""
    seed: int = 0
    """Seed of the weights and the order of the training text."""

    def __post_init__(self) -> None:
        sequences = self.batch_size / self.context_length if self.context_length >= 1 else 0.0
        tasks = self.tasks
        check_config(
            self,
            **schedule_rules(self),
            architecture=(self.architecture in ARCHITECTURES, f"one of {', '.join(ARCHITECTURES)}"),
            depth=(self.depth >= 1, "at least 1"),
            head_size=(self.head_size >= 2 and self.head_size % 2 == 0, "even and at least 2"),
            state_size=(self.state_size >= 1, "at least 1"),
            target_parameters=(self.target_parameters >= 0, "at least 0"),
            vocabulary=(self.vocabulary >= BYTES, f"at least {BYTES}, one token for every byte"),
            corpus_tokens=(
                self.corpus_tokens == 0 or self.corpus_tokens >= self.dataset_size,
                f"0 or at least dataset_size = {self.dataset_size}",
            ),
            context_length=(self.context_length >= 1, "at least 1"),
            steps=(self.steps >= 1, "at least 1"),
            dataset_size=(self.dataset_size >= 1, "at least 1"),
            batch_size=(
                sequences >= 1 and sequences.is_integer() and self.batch_size <= self.dataset_size,
                f"a multiple of context_length = {self.context_length} up to dataset_size = {self.dataset_size}",
            ),
            accumulation=(
                self.accumulation >= 1 and sequences % self.accumulation == 0,
                f"a divisor of the {sequences:g} sequences of a batch",
            ),
            gradient_clip=(self.gradient_clip >= 0, "at least 0"),
            validation_tokens=(
                self.validation_tokens >= self.context_length,
                f"at least context_length = {self.context_length}",
            ),
            downstream=(all(tasks), "task names or paths, separated by commas"),
            downstream_questions=(self.downstream_questions >= 1, "at least 1"),
            seed=(self.seed >= 0, "at least 0"),
        )
        if self.target_parameters:
            object.__setattr__(self, "width", width_for(self))
        check_config(
            self,
            width=(
                self.width >= self.head_size and self.width % self.head_size == 0,
                f"a positive multiple of head_size = {self.head_size}",
            ),
        )

    @property
    def tasks(self) -> tuple[str, ...]:
        """Downstream tasks by name or path."""
        return tuple(task.strip() for task in self.downstream.split(",")) if self.downstream else ()


class Language:
    """See the module's docstring."""

    name = "language"
    version = 1
    Config = LanguageConfig

    def count(self, config: LanguageConfig) -> Counts:
        total, without_embeddings = parameters(config)
        sequences = config.batch_size // config.context_length
        tokens = config.batch_size // config.accumulation
        # A block keeps about 16 widths a token for its backward pass, and the logits are kept three times.
        activations = 4 * tokens * (16 * config.depth * config.width + 3 * config.vocabulary)
        return Counts(
            parameters=total,
            parameters_without_embeddings=without_embeddings,
            flops_per_step=6.0 * sequences * forward_products(config),
            steps=config.steps,
            bytes=16 * total + activations,
        )

    def evaluation_steps(self, config: LanguageConfig) -> tuple[int, ...]:
        return log_spaced_steps(config.steps, first=16, per_doubling=2)

    def cohort_key(self, config: LanguageConfig) -> tuple:
        # Cells of a cohort are trained one after another: see the module's docstring.
        of_shape = (config.architecture, config.width, config.depth, config.head_size, config.state_size)
        return (*of_shape, config.vocabulary, config.context_length, config.batch_size, config.accumulation)

    def train(self, configs: Sequence[LanguageConfig], context: Context) -> Iterator[Point | End]:
        refused = []
        for cell, config in enumerate(configs):
            if context.should_stop():
                return
            try:
                run = _Run(cell, config, self.count(config).flops_per_step, context.device)
                run.restore(context.load(cell))
            except TrainerError as error:
                refused.append(str(error))
                continue
            yield from run.run(context, set(self.evaluation_steps(config)))
            del run  # before the next model asks for memory
        # A cell that cannot be trained is named when the others are done: they must not suffer from it.
        if refused:
            raise TrainerError("; ".join(dict.fromkeys(refused)))


class _Run:
    """One model and its optimiser on one device."""

    def __init__(self, cell: int, config: LanguageConfig, flops_per_step: float, device: str):
        import torch

        self.cell, self.config, self.flops_per_step = cell, config, flops_per_step
        self.text = open_text(config)
        self.windows = Windows(self.text, config)
        self.device = torch.device(device)
        self.model = build_model(config).to(self.device)
        self.optimiser = fused_adamw(self.model.parameters(), config)
        self.forward = self.model
        if self.device.type == "cuda" and flops_per_step * config.steps > COMPILE_FROM_FLOPS:
            self.forward = torch.compile(self.model)
        self.step, self.seconds = 0, 0.0
        self.tasks = _load_tasks(config, self.text)

    def restore(self, checkpoint: Checkpoint | None) -> None:
        import torch

        if checkpoint is None:
            return
        arrays = checkpoint.arrays
        if bytes(arrays["text_digest"]).hex() != self.text.digest:
            raise TrainerError(
                f"text '{self.config.text}' is not the text that this cell began with: its SHA-256 is now "
                f"{self.text.digest[:12]}...; restore the old text, or start the cell anew"
            )
        self.step, self.seconds = checkpoint.step, checkpoint.seconds
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(torch.from_numpy(arrays[f"weight/{name}"]))
                self.optimiser.state[parameter] = {
                    "step": torch.tensor(float(self.step), device=self.device),
                    "exp_avg": torch.from_numpy(arrays[f"first_moment/{name}"]).to(self.device, copy=True),
                    "exp_avg_sq": torch.from_numpy(arrays[f"second_moment/{name}"]).to(self.device, copy=True),
                }

    def save(self, context: Context) -> None:
        arrays = {"text_digest": np.frombuffer(bytes.fromhex(self.text.digest), np.uint8)}
        for name, parameter in self.model.named_parameters():
            state = self.optimiser.state[parameter]
            parts = {"weight": parameter, "first_moment": state["exp_avg"], "second_moment": state["exp_avg_sq"]}
            arrays |= {f"{part}/{name}": tensor.detach().cpu().numpy().copy() for part, tensor in parts.items()}
        context.save(self.cell, Checkpoint(step=self.step, seconds=self.seconds, arrays=arrays))

    def run(self, context: Context, evaluations: set[int]) -> Iterator[Point | End]:
        began = time.perf_counter()
        while self.step < self.config.steps:
            self.update()
            self.step += 1
            metrics = self.measure() if self.step in evaluations else None
            now = time.perf_counter()
            self.seconds, began = self.seconds + now - began, now
            if metrics and not all(math.isfinite(value) for value in metrics.values()):
                yield End(cell=self.cell, step=self.step, ending=Ending.DIVERGED)
                return
            if metrics:
                yield Point(
                    cell=self.cell,
                    step=self.step,
                    metrics=metrics,
                    examples=self.step * self.config.batch_size,
                    flops=self.step * self.flops_per_step,
                    seconds=self.seconds,
                )
            stopping = self.step < self.config.steps and context.should_stop()
            if stopping or context.checkpoint_due():
                self.save(context)
            if stopping:
                return
            began = time.perf_counter()
        yield End(cell=self.cell, step=self.step)

    def update(self) -> None:
        """One optimiser step."""
        import torch

        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(config, self.step)
        for tokens in np.array_split(self.windows.batch(self.step), config.accumulation):
            (self.nats(tokens).mean() / config.accumulation).backward()
        if config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.gradient_clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def nats(self, tokens: np.ndarray):
        """Loss of every token but the first of each window, one after another."""
        from torch.nn.functional import cross_entropy

        tokens = self._on_device(tokens)
        return cross_entropy(
            self.logits(tokens[:, :-1]).flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none"
        )

    def logits(self, tokens):
        """Logits (sequences, positions, vocabulary) for tokens (sequences, positions)."""
        import torch

        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.forward(tokens, use_cache=False).logits

    def _on_device(self, tokens: np.ndarray):
        import torch

        held = torch.from_numpy(tokens)
        if self.device.type == "cuda":
            return held.pin_memory().to(self.device, non_blocking=True)
        return held

    def measure(self) -> dict[str, float]:
        """Every metric of the model as it is. Training state is not touched."""
        import torch

        self.model.eval()
        with torch.no_grad():
            parts = np.array_split(self.windows.validation, self.windows.validation_parts)
            nats = sum(float(self.nats(tokens).double().sum()) for tokens in parts)
            metrics = {
                "loss": nats / self.windows.validation[:, 1:].size,
                "bits_per_byte": nats / math.log(2) / self.windows.validation_bytes,
                "text_digest": float(int(self.text.digest[:12], 16)),
            }
            for task in self.tasks:
                metrics |= task.measure(lambda tokens: self.logits(self._on_device(tokens)).float())
        self.model.train()
        return metrics


class Windows:
    """Training and validation text in windows of context_length tokens and the one that follows."""

    def __init__(self, text: Pack, config: LanguageConfig):
        length = config.context_length
        self._text, self._length, self._sequences = text, length, config.batch_size // length
        self._order = EpochOrder(seed=config.seed, size=config.dataset_size // length)
        count = min(config.validation_tokens, len(text.validation) - 1) // length
        self.validation = self._cut(text.validation, np.arange(count))
        """The same windows for every cell."""
        self.validation_bytes = int(text.token_bytes[self.validation[:, 1:]].sum())
        self.validation_parts = math.ceil(self.validation[:, 1:].size * config.accumulation / config.batch_size)

    def batch(self, step: int) -> np.ndarray:
        """The windows of a step, (sequences, context_length + 1), int64."""
        return self._cut(self._text.training, self._order.take(step * self._sequences, self._sequences))

    def _cut(self, tokens: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return tokens[rows[:, None] * self._length + np.arange(self._length + 1)].astype(np.int64)


def open_text(config: LanguageConfig) -> Pack:
    """The configuration's corpus. Raises TrainerError where it is missing, too small or another than was asked for."""
    text = pack(
        text=config.text, column=config.text_column, vocabulary=config.vocabulary, most_tokens=config.corpus_tokens
    )
    check_config(
        config,
        dataset_size=(
            config.dataset_size < len(text.training),
            f"below the {len(text.training)} training tokens of '{config.text}'",
        ),
        context_length=(
            config.context_length < len(text.validation),
            f"below the {len(text.validation)} validation tokens of '{config.text}'",
        ),
        text_digest=(
            text.digest.startswith(config.text_digest.lower()),
            f"the start of {text.digest}, the SHA-256 of '{config.text}' here",
        ),
    )
    return text


def _load_tasks(config: LanguageConfig, text: Pack) -> list:
    if not config.tasks:
        return []
    from trainers.downstream import load_task

    return [
        load_task(task, encode=text.encoder(), context_length=config.context_length, most=config.downstream_questions)
        for task in config.tasks
    ]


LANGUAGE = Language()
