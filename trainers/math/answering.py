"""What the math trainers share: small transformers that learn to answer questions, in cohorts of one shape.

A question and its answer are tokens of fixed length. A model learns the answer given the question and is measured on
test questions that no cell trains on:

    loss             nats an answer token, given the right tokens before it
    error            share of questions whose whole answer is not the most probable one token by token
    training_loss, training_error    the same on training questions: where they part, the model has memorised
    vote_error, pass_error           with `answers` above 1: see below

Inference steps are an axis. At every measurement `answers` answers a question are drawn from the model once; from
them come points at 1, 2, 4, ... inference steps k: `vote_error` of the majority of k answers (ties broken by lot,
groups of k averaged) and `pass_error`, the chance that none of k is right (the unbiased estimate of Chen et al., arXiv
2107.03374). Only the last part of an answer counts here, the result and not the scratchpad. Training FLOPs do not
include inference.

Cells of one shape train as one program (`trainers.math.transformer`), in single precision: the models are too small for
half precision to pay, and memorising is sensitive to it. FLOPs are counted as `trainers.math.transformer` says. With
`base_width` one learning rate serves models of all widths (trainers/loop/parametrisation.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainers.contract import Context, Counts, End, Point, TrainerError
from trainers.data import EpochOrder
from trainers.loop import (
    Adam,
    Cohort,
    branch_steps,
    learning_rate_factor,
    measured_steps,
    schedule_rules,
    state_bytes,
    train_cohorts,
)
from trainers.math.transformer import KeyValueCache, Shape, decay_mask, initial_weights, logits, rate_mask, views
from trainers.math.votes import result_codes, vote_and_pass_errors, vote_sizes

TEST_SEED = 0x7E57
"""Seed of the test questions, the same for every cell."""
BLOCK = 16
"""Steps whose batches are gathered at once, and between looks at the clock and the stop signal."""
WIDEST_COHORT = 256
"""Wider models fill a machine by themselves and are planned one by one."""
WIDEST_COHORT_ON_CPU = 32
"""Measured on a CPU core, 8 models of width 16 train 1.1 to 1.5 times as fast together as one by one, of width 64 or
more 0.8 to 1.0 times: there the cells of a cohort are trained one after another."""
TINY_LOSS = 1e-9
"""Losses are kept above this, since a law is fitted to their logarithm."""
SAMPLING_BYTES = 2**28
"""Keys and values held at once while answers are drawn."""
BETAS, EPSILON = (0.9, 0.95), 1e-8
"""As for most published language models."""


@dataclass(frozen=True, kw_only=True)
class AnsweringConfig:
    """One transformer and its training run; a task adds what its questions are."""

    width: int = 64
    """Width of the residual stream."""
    base_width: int = field(default=0, metadata={"added": True})
    """Above 0, other widths take over learning rate and initial weights of this one, by maximal update parametrisation
    (trainers/loop/parametrisation.py); 0 is the standard parametrisation."""
    depth: int = 2
    """Blocks, each attention and perceptron."""
    heads: int = 4
    """Attention heads of a block."""
    steps: int = 2_000
    """Optimiser steps."""
    batch_size: int = 128
    """Questions a step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    schedule: str = "constant"
    """Learning rate after the warm-up: `constant`, measured on the way; `cosine` (to a tenth) or `wsd` (constant, then
    linear to zero), measured at the end; or `anneal`, a `wsd` run of every measured length, all from one trunk."""
    warmup_steps: int = 20
    """Steps over which the learning rate rises to its peak."""
    decay_share: float = 0.2
    """Part of the run over which `wsd` decays, and of its length each branch of `anneal`."""
    weight_decay: float = 0.0
    """Decoupled weight decay a step, before the learning rate; norms do not decay."""
    init_scale: float = 1.0
    """Factor on the initial weights, whose standard deviation is 1 / sqrt(inputs)."""
    test_size: int = 512
    """Test questions that a measurement uses."""
    answers: int = 1
    """Most inference steps: answers drawn a question, a power of two. 1 draws none."""
    sampled_questions: int = 128
    """Test questions that answers are drawn to."""
    temperature: float = 1.0
    """Temperature at which answers are drawn."""
    seed: int = 0
    """Seed of the weights, the training questions and their order."""

    def shared_rules(self) -> dict[str, tuple[bool, str]]:
        """Rules for `check_config` about the fields above."""
        fits = self.heads >= 1 and self.width % self.heads == 0
        return schedule_rules(self) | {
            "width": (self.width >= 1 and fits, f"a positive multiple of heads = {self.heads}"),
            "base_width": (self.base_width >= 0, "at least 0"),
            "depth": (self.depth >= 1, "at least 1"),
            "heads": (self.heads >= 1, "at least 1"),
            "steps": (self.steps >= 1, "at least 1"),
            "batch_size": (1 <= self.batch_size <= self.dataset_size, f"from 1 to dataset_size = {self.dataset_size}"),
            "test_size": (self.test_size >= 1, "at least 1"),
            "answers": (self.answers >= 1 and self.answers & (self.answers - 1) == 0, "a power of two"),
            "sampled_questions": (
                self.answers == 1 or 1 <= self.sampled_questions <= self.test_size,
                f"between 1 and test_size = {self.test_size}",
            ),
            "temperature": (self.temperature > 0, "above 0"),
            "seed": (self.seed >= 0, "at least 0"),
        }


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a task writes questions and answers down."""

    vocabulary: int
    question: int
    """Tokens of a question."""
    answer: int
    """Tokens of an answer, scratchpad included."""
    result: int
    """The last tokens of an answer, those that count when answers are drawn."""


class AnsweringTrainer:
    """The contract for a task, which adds a name, a version, a Config, `format` and `questions`."""

    units = {
        "dataset_size": "questions",
        "examples": "questions",
        "batch_size": "questions",
        "inference_steps": "answers",
    }

    def format(self, config) -> Format:
        raise NotImplementedError

    def questions(self, config, *, count: int, test: bool) -> np.ndarray:
        """The first `count` training or test questions with their answers, (count, question + answer), uint8 or int."""
        raise NotImplementedError

    def shape(self, config) -> Shape:
        form = self.format(config)
        length = form.question + form.answer - 1
        return Shape(
            vocabulary=form.vocabulary,
            length=length,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            base_width=config.base_width,
        )

    def count(self, config) -> Counts:
        shape = self.shape(config)
        batch = {"sequences": config.batch_size, "inputs": shape.length, "predicted": self.format(config).answer}
        return Counts(
            parameters=shape.parameters,
            parameters_without_embeddings=shape.parameters_without_embeddings,
            flops_per_step=shape.training_flops(**batch),
            steps=config.steps,
            branch_steps=branch_steps(config, self.evaluation_steps(config)),
            # The gradient of the logits comes on top of what is kept.
            bytes=state_bytes(config) * shape.parameters
            + shape.kept_bytes(**batch)
            + 4 * batch["sequences"] * batch["predicted"] * shape.vocabulary,
        )

    def evaluation_steps(self, config) -> tuple[int, ...]:
        return measured_steps(config, first=32)

    def inference_budgets(self, config) -> tuple[int, ...]:
        return vote_sizes(config.answers)

    def cohort_key(self, config) -> tuple:
        if config.width > WIDEST_COHORT:
            return (config,)
        drawn = (config.answers, config.sampled_questions) if config.answers > 1 else ()
        # Cells that train as one program are measured together, and leave their trunks together.
        measured = (self.evaluation_steps(config), config.decay_share if config.schedule == "anneal" else None)
        return (self.shape(config), self.format(config), measured, config.batch_size, config.test_size, drawn)

    def train(self, configs: Sequence, context: Context) -> Iterator[Point | End]:
        together = context.device != "cpu" or configs[0].width <= WIDEST_COHORT_ON_CPU
        return train_cohorts(TransformerCohort, self, configs, context, together=together)


class TransformerCohort(Cohort):
    """Models of one shape and their questions."""

    check_interval = BLOCK

    def __init__(self, trainer: AnsweringTrainer, configs: Sequence, cells: Sequence[int], device: str):
        import torch

        super().__init__(trainer, configs, cells, device)
        self.shape, self.format = trainer.shape(self.config), trainer.format(self.config)
        rows = [initial_weights(self.shape, seed=c.seed, scale=c.init_scale) for c in self.configs]
        self.weights = torch.from_numpy(np.stack(rows)).to(self.device)
        self.named = views(self.shape, self.weights)
        mask = torch.from_numpy(decay_mask(self.shape)).to(self.device)
        factors = rate_mask(self.shape)
        self.rate_mask = None if factors is None else torch.from_numpy(factors).to(self.device)
        self.optimiser = Adam(self.weights, betas=BETAS, epsilon=EPSILON, decay_mask=mask)
        # Questions that a run never reaches are not made.
        reached = [min(c.dataset_size, c.steps * c.batch_size) for c in self.configs]
        self.training = [trainer.questions(c, count=n, test=False) for c, n in zip(self.configs, reached, strict=True)]
        self.orders = [EpochOrder(seed=c.seed, size=n) for c, n in zip(self.configs, reached, strict=True)]
        self.gathered_block = -1
        self.test = self._tokens([trainer.questions(c, count=c.test_size, test=True) for c in self.configs])
        self.training_subset = [questions[: self.config.test_size] for questions in self.training]

    def _tokens(self, questions: list[np.ndarray]):
        import torch

        return torch.from_numpy(np.stack(questions).astype(np.int64)).to(self.device)

    def _column(self, values: list[float]):
        """One number a model, shape (models, 1)."""
        import torch

        return torch.tensor(values, dtype=self.weights.dtype, device=self.device)[:, None]

    def state(self, row: int) -> dict:
        return self.optimiser.state(row)

    def batch(self):
        """This step's questions and answers, (models, batch, tokens)."""
        import torch

        block, offset = divmod(self.step, BLOCK)
        if block != self.gathered_block:
            size = self.config.batch_size
            drawn = [
                questions[order.take(block * BLOCK * size, BLOCK * size)].reshape(BLOCK, size, -1)
                for questions, order in zip(self.training, self.orders, strict=True)
            ]
            self.gathered_block = block
            self.batches = torch.from_numpy(np.stack(drawn, axis=1)).to(self.device)
        return self.batches[offset].long()

    def losses(self, tokens):
        """Nats of every answer token and whether it is the most probable one: (models, questions, answer), twice."""
        from torch.nn.functional import cross_entropy

        answers = tokens[..., self.format.question :]
        scores = logits(self.shape, self.named, tokens[..., :-1], predicted=self.format.answer)
        nats = cross_entropy(scores.flatten(0, 2), answers.flatten(), reduction="none").view(answers.shape)
        return nats, scores.detach().argmax(-1) == answers

    def update(self) -> None:
        import torch

        nats, _ = self.losses(self.batch())
        # The sum over models keeps their gradients apart; the mean over a model's tokens is its own loss.
        gradients = torch.autograd.grad(nats.mean((1, 2)).sum(), list(self.named.values()))
        torch.cat([gradient.flatten(1) for gradient in gradients], dim=1, out=self.optimiser.gradient)
        rates = [
            config.learning_rate * learning_rate_factor(config, self.step, branch=self.branch)
            for config in self.configs
        ]
        decays = [rate * config.weight_decay for rate, config in zip(rates, self.configs, strict=True)]
        decay = self._column(decays) if any(decays) else None
        rate = self._column(rates) if self.rate_mask is None else self._column(rates) * self.rate_mask
        self.optimiser.update(self.step, learning_rate=rate, decay=decay)

    def measure(self) -> dict[int, dict[str, list[float]]]:
        import torch

        with torch.no_grad():
            loss, error = self._loss_and_error(self.test)
            # Each model has training questions of its own, and may have fewer than the others.
            trained = [
                self._loss_and_error(self._tokens([questions]), row)
                for row, questions in enumerate(self.training_subset)
            ]
            metrics = {
                "loss": loss,
                "error": error,
                "training_loss": [value for (value,), _ in trained],
                "training_error": [value for _, (value,) in trained],
            }
            drawn = self._votes() if self.config.answers > 1 else {}
        return {1: metrics | drawn.pop(1, {}), **drawn}

    def _loss_and_error(self, tokens, row: int | None = None) -> tuple[list[float], list[float]]:
        """Mean loss and share of wrong answers: of every model, or of the model in `row` alone."""
        named = self.named
        if row is not None:
            self.named = {name: weight[row : row + 1] for name, weight in named.items()}
        nats, right = self.losses(tokens)
        self.named = named
        wrong = 1 - right.all(-1).float().mean(1)
        # A set of n questions cannot show an error below about 1/(2n).
        return nats.mean((1, 2)).clamp_min(TINY_LOSS).tolist(), wrong.clamp_min(0.5 / tokens.shape[1]).tolist()

    def _votes(self) -> dict[int, dict[str, list[float]]]:
        drawn = self.draw_answers()
        truth = self._results(self.test[:, : self.config.sampled_questions])
        per_model = [vote_and_pass_errors(*pair) for pair in zip(drawn.cpu().numpy(), truth.cpu().numpy(), strict=True)]
        least = 0.5 / self.config.sampled_questions
        return {
            k: {name: [max(least, errors[k][name]) for errors in per_model] for name in ("vote_error", "pass_error")}
            for k in per_model[0]
        }

    def draw_answers(self):
        """Results of drawn answers as one number each: (models, sampled questions, answers)."""
        import torch

        questions, answers = self.config.sampled_questions, self.config.answers
        uniform = np.stack(
            [
                np.random.default_rng((TEST_SEED, c.seed)).random((questions, answers, self.format.answer), np.float32)
                for c in self.configs
            ]
        )
        per_answer = 8 * len(self.cells) * self.shape.length * self.shape.width * self.shape.depth
        at_once = max(1, SAMPLING_BYTES // (per_answer * answers))
        parts = []
        for start in range(0, questions, at_once):
            chosen = slice(start, start + at_once)
            numbers = torch.from_numpy(uniform[:, chosen]).to(self.device)
            asked = self.test[:, chosen][:, : numbers.shape[1], : self.format.question]
            parts.append(self._draw(asked, numbers))
        return torch.cat(parts, dim=1)

    def _draw(self, questions, uniform):
        """One answer for every row of `uniform`, (models, questions, answers, answer tokens), as result codes."""
        import torch

        models, count, answers, length = uniform.shape
        uniform = uniform.flatten(1, 2)
        temperature = torch.tensor([c.temperature for c in self.configs], device=self.device)[:, None, None]
        cache, inputs, drawn = KeyValueCache(), questions, []
        for position in range(length):
            scores = logits(self.shape, self.named, inputs, predicted=1, cache=cache)[:, :, 0] / temperature
            below = scores.softmax(-1).cumsum(-1)
            if position == 0:
                below = below.repeat_interleave(answers, 1)
                cache.repeat(answers)
            token = (below < uniform[:, :, position, None]).sum(-1).clamp_max(self.shape.vocabulary - 1)
            drawn.append(token)
            inputs = token[..., None]
        return self._results(torch.stack(drawn, -1)).view(models, count, answers)

    def _results(self, tokens):
        return result_codes(tokens, last=self.format.result, vocabulary=self.format.vocabulary)


def distinct(*, space: int, seed: int, count: int, without: np.ndarray) -> np.ndarray:
    """The first `count` of a seeded sequence of distinct whole numbers below `space`, none of them in `without`.

    A longer sequence of the same seed begins with the shorter one. Raises TrainerError where there are too few.
    """
    if count + len(without) > space:
        raise TrainerError(f"{count} questions beside {len(without)} test questions are more than there are: {space}")
    random = np.random.default_rng((seed, 1))
    if space <= 2**22:  # few enough to put all of them in order
        order = random.permutation(space)
        return order[~np.isin(order, without)][:count]
    found = np.empty(0, np.int64)
    while len(found) < count:
        found = np.concatenate([found, random.integers(0, space, count - len(found) + 1024)])
        found = found[np.sort(np.unique(found, return_index=True)[1])]
        found = found[~np.isin(found, without)]
    return found[:count]
