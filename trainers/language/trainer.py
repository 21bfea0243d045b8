"""language: decoder language models of transformers configurations on packed text.

The architectures, two transformers and a recurrent model, are in architectures.py. Scale is width and depth
apart, or a target parameter count from which the width follows. Everything is counted in tokens: `dataset_size` unique
ones, `batch_size` a step and `context_length` a sequence, so that epochs are steps * batch_size / dataset_size and
overfitting is visible. Measured on text that no run trains on:

    loss             nats a token
    bits_per_byte    the same a byte of text, comparable between vocabularies
    text_fingerprint the first 48 bits of the corpus' SHA-256 as a number: equal numbers are equal texts
    TASK_error       with `downstream`: share of zero-shot questions answered wrongly (downstream.py)
    common_sense_error    the mean over seven of these sets, where all are asked

FLOPs are those of matrix products and convolutions, two for a multiply-add, with attention over the full square of
positions: once forward and twice backward. Kernels that recompute or that skip masked positions do not change the
count. Weights are in single precision; on a GPU products run in bfloat16 (autocast). What a run takes
of its memory is counted in memory.py.

With `base_width` one learning rate serves models of all widths (trainers/loop/parametrisation.py).

Version 2: runs whose rate decays are measured where it has decayed and nowhere else (trainers/loop/schedules.py), and
`constant` is the default, so that the points of a run are of one kind; and the training text is a sample of the whole
corpus that the seed draws, where it had been the beginning, the same for every seed. Tasks are asked in full.

Cells are trained one after another. Measured on a CPU core, 8 models under torch.func.vmap run at 0.6 to 0.9 times the
speed of the same models one by one, from width 16 to width 128: attention has no batching rule there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainers.contract import Context, Counts, End, Point, check_config
from trainers.data import EpochOrder, nested_subset
from trainers.language.architectures import (
    ARCHITECTURES,
    build_model,
    checkpoint_blocks,
    forward_products,
    parameters,
    rate_factors,
    width_for,
)
from trainers.language.downstream import Task, common_sense, load_task
from trainers.language.memory import copy_bytes, part_bytes
from trainers.language.text import BYTES, Pack, pack
from trainers.loop import (
    DataIdentity,
    SingleModel,
    branch_steps,
    fitted,
    measured_steps,
    schedule_rules,
    state_bytes,
    train_cohorts,
)

FEWEST_TOKENS = 4_096
"""Of a part of a batch, before blocks are computed again: with fewer rows, products leave most of a GPU idle."""


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """One language model, its text and its training run."""

    architecture: str = "gpt2"
    """`gpt2`, `llama` or `mamba2`."""
    width: int = 128
    """Width of the residual stream, a multiple of head_size."""
    base_width: int = field(default=0, metadata={"added": True})
    """Above 0, other widths take over learning rate and initial weights of this one, by maximal update parametrisation
    (trainers/loop/parametrisation.py); 0 is the standard parametrisation."""
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
    """Pack a sample of documents of no more training tokens than these; 0 packs all. What a run reads is drawn from it
    by its seed, so that error bars hold the variance of the data only where it is several times dataset_size."""
    vocabulary: int = BYTES
    """Tokens: 256 are the bytes themselves, more are byte-pair merges learned from the text."""
    context_length: int = 128
    """Tokens of a sequence."""
    dataset_size: int = 4_000_000
    """Unique training tokens, drawn from all of the corpus by the seed; a larger set holds the smaller of its seed."""
    steps: int = 1_000
    """Optimiser steps."""
    batch_size: int = 2_048
    """Tokens a step, a multiple of context_length."""
    accumulation: int = field(default=1, metadata={"execution": True})
    """Parts that a batch is processed in, one after another; on a GPU more where its memory asks for them."""
    checkpointing: bool = field(default=False, metadata={"execution": True, "added": True})
    """Whether blocks are computed again in the backward pass instead of kept; on a GPU also where only small parts
    of a batch would fit otherwise."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW."""
    schedule: str = "constant"
    """Learning rate after the warm-up: `constant`, measured on the way; `cosine` (to a tenth) or `wsd` (constant, then
    linear to zero), measured at the end; or `anneal`, a `wsd` run of every measured length, all from one trunk."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises to its peak."""
    decay_share: float = 0.2
    """Part of the run over which `wsd` decays, and of its length each branch of `anneal`."""
    weight_decay: float = 0.1
    """Decoupled weight decay a step, before the learning rate; norms and biases do not decay."""
    gradient_clip: float = 1.0
    """Largest norm of a step's gradient; 0 does not clip."""
    init_scale: float = 1.0
    """Factor on the initial weight matrices."""
    validation_tokens: int = 65_536
    """Held-out tokens that a measurement uses; fewer where the corpus has fewer."""
    downstream: str = ""
    """Zero-shot tasks, separated by commas: names of `trainers.language.TASKS`, or paths to files of questions."""
    downstream_questions: int = 0
    """Questions of a task that a measurement uses, its first ones; 0 asks all."""
    seed: int = 0
    """Seed of the weights, the training text and its order."""

    def __post_init__(self) -> None:
        sequences = self.batch_size / self.context_length if self.context_length >= 1 else 0.0
        tasks = self.tasks
        check_config(
            self,
            **schedule_rules(self),
            architecture=(self.architecture in ARCHITECTURES, f"one of {', '.join(ARCHITECTURES)}"),
            base_width=(self.base_width >= 0, "at least 0"),
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
            downstream_questions=(self.downstream_questions >= 0, "at least 0"),
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
    def widening(self) -> float:
        """How much wider than the base a model is that has one; 1 in the standard parametrisation."""
        return self.width / self.base_width if self.base_width else 1.0

    @property
    def tasks(self) -> tuple[str, ...]:
        """Downstream tasks by name or path."""
        return tuple(task.strip() for task in self.downstream.split(",")) if self.downstream else ()


class Language:
    """See the module's docstring."""

    name = "language"
    version = 2
    Config = LanguageConfig
    units = {"dataset_size": "tokens", "examples": "tokens", "batch_size": "tokens"}

    def count(self, config: LanguageConfig) -> Counts:
        total, without_embeddings = parameters(config)
        sequences = config.batch_size // config.context_length
        return Counts(
            parameters=total,
            parameters_without_embeddings=without_embeddings,
            flops_per_step=6.0 * sequences * forward_products(config),
            steps=config.steps,
            branch_steps=branch_steps(config, self.evaluation_steps(config)),
            bytes=state_bytes(config) * total + copy_bytes(config) + part_bytes(config),
        )

    def batch_parts(self, config: LanguageConfig) -> int:
        return config.batch_size // config.context_length

    def fitted(self, config: LanguageConfig, bytes: int) -> LanguageConfig | None:
        fewest = math.ceil(FEWEST_TOKENS / config.context_length)
        return fitted(self, config, bytes, examples=self.batch_parts(config), fewest=fewest)

    def evaluation_steps(self, config: LanguageConfig) -> tuple[int, ...]:
        return measured_steps(config, first=16)

    def cohort_key(self, config: LanguageConfig) -> tuple:
        # Cells of a cohort are trained one after another: see the module's docstring.
        shape = (config.architecture, config.width, config.depth, config.head_size, config.state_size)
        return (
            *shape,
            config.base_width,
            config.vocabulary,
            config.context_length,
            config.batch_size,
            config.accumulation,
        )

    def train(self, configs: Sequence[LanguageConfig], context: Context) -> Iterator[Point | End]:
        return train_cohorts(LanguageModel, self, configs, context, together=False)


class LanguageModel(SingleModel):
    """One model and its text on one device."""

    def prepare(self) -> tuple[dict, DataIdentity]:
        self.text = open_text(self.config)
        self.windows = Windows(self.text, self.config)
        self.model = build_model(self.config).to(self.device)
        if self.config.checkpointing:
            checkpoint_blocks(self.model)
        self.forward = self.compiled(self.model)
        self.tasks = _load_tasks(self.config, self.text)
        return dict(self.model.named_parameters()), DataIdentity(
            kind="text", name=self.config.text, digest=self.text.digest
        )

    def rate_factors(self) -> dict[str, float]:
        return rate_factors(self.config, self.weights)

    def batch(self) -> list[np.ndarray]:
        mine = self.group.rows(LANGUAGE.batch_parts(self.config))
        return np.array_split(self.windows.batch(self.step, mine), self.parts)

    def loss(self, part: np.ndarray):
        return self.nats(part).mean()

    def nats(self, tokens: np.ndarray):
        """Loss of every token but the first of each window, one after another."""
        from torch.nn.functional import cross_entropy

        tokens = self._on_device(tokens)
        return cross_entropy(
            self.logits(tokens[:, :-1]).flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none"
        )

    def logits(self, tokens):
        """Logits (sequences, positions, vocabulary) for tokens (sequences, positions)."""
        with self.low_precision():
            scores = self.forward(tokens, use_cache=False).logits
        return scores if self.config.widening == 1 else scores / self.config.widening

    def _on_device(self, tokens: np.ndarray):
        import torch

        on_cpu = torch.from_numpy(tokens)
        return on_cpu.pin_memory().to(self.device, non_blocking=True) if self.on_gpu else on_cpu

    def metrics(self) -> dict[str, float]:
        import torch

        self.model.eval()
        with torch.no_grad():
            parts = np.array_split(self.windows.validation, self.windows.validation_parts)
            nats = sum(float(self.nats(tokens).double().sum()) for tokens in parts)
            metrics = {
                "loss": nats / self.windows.validation[:, 1:].size,
                "bits_per_byte": nats / math.log(2) / self.windows.validation_bytes,
                "text_fingerprint": float(int(self.text.digest[:12], 16)),
            }
            for task in self.tasks:
                metrics |= task.measure(lambda tokens: self.logits(self._on_device(tokens)).float())
            metrics |= common_sense(metrics)
        self.model.train()
        return metrics


class Windows:
    """Training and validation text in windows of context_length tokens and the one that follows."""

    def __init__(self, text: Pack, config: LanguageConfig):
        length = config.context_length
        self._text, self._length, self._sequences = text, length, config.batch_size // length
        self._order = EpochOrder(seed=config.seed, size=config.dataset_size // length)
        self._subset = nested_subset(
            seed=config.seed, size=config.dataset_size // length, population=(len(text.training) - 1) // length
        )
        count = min(config.validation_tokens, len(text.validation) - 1) // length
        self.validation = self._cut(text.validation, np.arange(count))
        """The same windows for every cell."""
        self.validation_bytes = int(text.token_bytes[self.validation[:, 1:]].sum())
        self.validation_parts = math.ceil(self.validation[:, 1:].size * config.accumulation / config.batch_size)

    def batch(self, step: int, rows: slice = slice(None)) -> np.ndarray:
        """The windows of a step, or some of them, (sequences, context_length + 1), int64."""
        taken = self._order.take(step * self._sequences, self._sequences)[rows]
        return self._cut(self._text.training, self._subset[taken])

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


def _load_tasks(config: LanguageConfig, text: Pack) -> list[Task]:
    if not config.tasks:
        return []
    return [
        load_task(task, encode=text.encoder(), context_length=config.context_length, most=config.downstream_questions)
        for task in config.tasks
    ]


LANGUAGE = Language()
