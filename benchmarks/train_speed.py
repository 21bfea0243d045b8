"""How fast the trainers train: ours beside what a user would write or install instead, in one run on one machine.

    python benchmarks/train_speed.py [--device cuda] [--part language|vision|cohort|attention] [--part ...]

On a GPU one call prints the share of the peak, the memory that is taken beside what is counted, and the cohort's
factor; it needs neither Ray nor a download.

language: tokens a second of one GPT-2 on the same text, beside a plain PyTorch loop over the same model and beside
transformers' Trainer (pip install accelerate); on a GPU, of a model of 100 million parameters, with its share of the
peak. vision: a ViT-S/16 on pictures of 224 pixels, on a GPU only; vision_speed.py has it beside other loops. cohort:
models a second when 16 or 64 small ones train as one program, beside one at a time and beside a plain loop over a
module. attention: the transformers of `trainers.math` as they are, beside the same with attention as two products and a
softmax, and whether both have the same bits after a few steps.

On a CPU everything runs on one thread and is timed in CPU seconds, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from support.clock import PEAK_FLOPS, REPEATS, WARM_UP, Clock

from trainers import HEADROOM
from trainers.language import LANGUAGE, LanguageConfig, LanguageModel, build_model
from trainers.math import ADDITION, PARITY, AdditionConfig, ParityConfig, PerceptronCohort, TransformerCohort
from trainers.vision import VISION, VisionConfig, VisionModel

LANGUAGE_GOAL, MFU_GOAL, COHORT_GOAL = 1.0, 0.4, 5.0
ROUNDS = 4


def language(device: str, clock: Clock) -> None:
    small = LanguageConfig(width=128, depth=4, context_length=128, batch_size=2_048, steps=1_000)
    large = LanguageConfig(
        width=768, depth=12, head_size=64, context_length=1_024, batch_size=65_536, accumulation=2, vocabulary=8_192,
        dataset_size=2_000_000, steps=100_000,
    )  # fmt: skip
    config, calls = (large, 8) if clock.cuda else (small, 8)
    counts = LANGUAGE.count(config)
    run = LanguageModel(LANGUAGE, [config], [0], device)
    config = run.config
    ours = _step_of(run)
    if clock.cuda:
        print_memory(LANGUAGE, run, ours)
    plain = _plain_loop(config, run, device)
    ways = {
        "ours": lambda: clock.per_call(ours, calls),
        "plain loop": lambda: clock.per_call(plain, calls),
        "transformers Trainer": lambda: _transformers_trainer(config, run, clock, calls),
    }
    # In turns, so that a machine that slows down slows all of them; of every way, its best turn.
    seconds: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, measure in ways.items():
            if (each := measure()) is not None:
                seconds[name] = min(each, seconds.get(name, float("inf")))
    print(f"language: GPT-2, {counts.parameters:,} parameters, {config.batch_size:,} tokens a step, on {device}")
    peak = next((flops for name, flops in PEAK_FLOPS.items() if clock.cuda and name in torch.cuda.get_device_name()), 0)
    for name, each in seconds.items():
        speed = counts.flops_per_step / each
        share = f"{speed / peak:.1%} of the peak" if peak else f"{speed / 1e9:.1f} GFLOP/s"
        print(f"  {name:22} {config.batch_size / each:12,.0f} tokens/s   {share}")
    if peak:
        print(f"language_mfu: {counts.flops_per_step / seconds['ours'] / peak:.3f} (goal {MFU_GOAL})")
    rival = seconds.get("transformers Trainer", seconds["plain loop"])
    print(f"language_speed: {rival / seconds['ours']:.2f} (goal {LANGUAGE_GOAL})")


def vision(device: str, clock: Clock) -> None:
    if not clock.cuda:
        return
    config = VisionConfig(
        width=384, depth=12, head_size=64, patch_size=16, resolution=224, batch_size=1_024, dataset_size=8_192,
        few_shot_classes=0, test_size=64, steps=20_000,
    )  # fmt: skip
    run = VisionModel(VISION, [config], [0], device)
    ours = _step_of(run)
    print_memory(VISION, run, ours)
    seconds = clock.per_call(ours, 8)
    peak = next((flops for name, flops in PEAK_FLOPS.items() if name in torch.cuda.get_device_name()), 0)
    flops = VISION.count(config).flops_per_step / seconds
    print(f"vision: ViT-S/16, {config.batch_size / seconds:,.0f} images/s, {flops / 1e12:.0f} TFLOP/s")
    if peak:
        print(f"vision_mfu: {flops / peak:.3f} (goal {MFU_GOAL})")


def _step_of(run) -> Callable[[], None]:
    def step() -> None:
        run.update()
        run.step += 1

    return step


def print_memory(trainer, run, step: Callable[[], None]) -> None:
    """The most that a step allocates, beside what is counted of the configuration as it is carried out."""
    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    step()
    taken, counted = torch.cuda.max_memory_allocated(), trainer.count(run.config).bytes
    parts = f"{run.config.accumulation} parts" + (", blocks computed again" if run.config.checkpointing else "")
    print(f"  {trainer.name}: {taken / 2**30:.2f} GiB taken, {counted / 2**30:.2f} GiB counted, in {parts}")
    print(f"{trainer.name}_memory: {taken / counted:.2f} (goal between {1 / HEADROOM:.2f} and {HEADROOM})")


def _plain_loop(config: LanguageConfig, run: LanguageModel, device: str) -> Callable[[], None]:
    """The loop of a tutorial: random windows, the model's own loss, AdamW as torch makes it, clipping, a schedule."""
    model = build_model(config).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    text = torch.from_numpy(np.asarray(run.text.training[: config.dataset_size]).astype(np.int64))
    sequences = config.batch_size // config.context_length // config.accumulation

    def step() -> None:
        for _ in range(config.accumulation):
            starts = torch.randint(len(text) - config.context_length, (sequences,))
            tokens = torch.stack([text[start : start + config.context_length] for start in starts]).to(device)
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device.startswith("cuda")):
                loss = model(input_ids=tokens, labels=tokens).loss
            (loss / config.accumulation).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        scheduler.step()
        optimiser.zero_grad()

    return step


def _transformers_trainer(config: LanguageConfig, run: LanguageModel, clock: Clock, calls: int) -> float | None:
    """Seconds a step of transformers' Trainer on the same windows, or None where it cannot run."""
    import transformers

    windows = np.concatenate([run.windows.batch(step)[:, :-1] for step in range(WARM_UP + REPEATS * calls)])
    examples = [{"input_ids": row, "labels": row} for row in torch.from_numpy(windows)]
    times: list[float] = []

    class Stopwatch(transformers.TrainerCallback):
        def on_step_end(self, *_, **__):
            times.append(clock.now())

    with tempfile.TemporaryDirectory() as folder:
        try:
            arguments = transformers.TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=config.batch_size // config.context_length // config.accumulation,
                gradient_accumulation_steps=config.accumulation,
                max_steps=WARM_UP + REPEATS * calls,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                bf16=clock.cuda,
                use_cpu=not clock.cuda,
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                logging_strategy="no",
            )
        except ImportError:
            print("transformers' Trainer is left out: pip install accelerate", file=sys.stderr)
            return None
        trainer = transformers.Trainer(
            model=build_model(config), args=arguments, train_dataset=examples, callbacks=[Stopwatch()]
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    marks = times[WARM_UP - 1 :: calls]
    return min(after - before for before, after in zip(marks, marks[1:], strict=False)) / calls


def cohort(device: str, clock: Clock) -> None:
    sizes = (16, 64) if clock.cuda else (16,)
    print(f"cohort: models trained as one program against one at a time, on {device}")
    print(f"  {'':28}{'plain loop':>12}{'one by one':>12}" + "".join(f"{f'{size} together':>14}" for size in sizes))
    reached = 0.0
    for width in (16, 64, 256, 1024):
        config = ParityConfig(bits=64, width=width, batch_size=32, dataset_size=4_096, steps=100_000)
        plain = clock.per_call(_plain_perceptron(config, device), 50)
        alone, *together = _per_model(PerceptronCohort, PARITY, config, (1, *sizes), device, clock)
        _print_row(f"perceptron, width {width}", plain, alone, together)
        if width == 64:
            reached = max(alone / each for each in together)
    for width in (16, 64, 256):
        config = AdditionConfig(width=width, heads=4, batch_size=64, dataset_size=4_096, steps=4_096)
        plain = clock.per_call(_plain_transformer(config, device), 16)
        alone, *together = _per_model(TransformerCohort, ADDITION, config, (1, *sizes), device, clock)
        _print_row(f"transformer, width {width}", plain, alone, together)
    print(f"train_speed: {reached:.1f} (goal {COHORT_GOAL:g}; perceptrons of width 64, batch 32, against one by one)")


def _per_model(kind, trainer, config, sizes: tuple[int, ...], device: str, clock: Clock) -> list[float]:
    """Seconds a step and model in cohorts of several sizes."""
    seconds = []
    for size in sizes:
        configs = [dataclasses.replace(config, seed=seed) for seed in range(size)]
        models = kind(trainer, configs, list(range(size)), device)

        def step(models=models) -> None:
            models.update()
            models.step += 1

        seconds.append(clock.per_call(step, max(4, 64 // size)) / size)
    return seconds


def _print_row(name: str, plain: float, alone: float, together: list[float]) -> None:
    """Steps a second, and how many times those of one by one."""
    rest = "".join(f"{1 / each:9,.0f} x{alone / each:<4.1f}" for each in together)
    print(f"  {name:28}{1 / plain:12,.0f}{1 / alone:12,.0f}{rest}   model steps/s")


def _plain_perceptron(config: ParityConfig, device: str) -> Callable[[], None]:
    """What one would write for one of the perceptrons."""
    model = torch.nn.Sequential(
        torch.nn.Linear(config.bits, config.width), torch.nn.ReLU(), torch.nn.Linear(config.width, 1)
    ).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    inputs = torch.randint(2, (config.dataset_size, config.bits), device=device).float()
    labels = inputs[:, : config.parity_bits].sum(1) % 2

    def step() -> None:
        rows = torch.randint(len(inputs), (config.batch_size,), device=device)
        logits = model(inputs[rows] * 2 - 1)[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


class _Block(torch.nn.Module):
    """The block of `trainers.math`, as modules."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.norms = heads, torch.nn.ModuleList(torch.nn.LayerNorm(width, bias=False) for _ in range(2))
        shapes = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
        self.mix, self.out, self.up, self.down = (torch.nn.Linear(*shape, bias=False) for shape in shapes)

    def forward(self, stream):
        parts = self.mix(self.norms[0](stream)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        stream = stream + self.out(read.transpose(1, 2).flatten(2))
        return stream + self.down(self.up(self.norms[1](stream)).relu().square())


def _plain_transformer(config: AdditionConfig, device: str) -> Callable[[], None]:
    """What one would write for one of the transformers."""
    shape, form = ADDITION.shape(config), ADDITION.format(config)
    embeddings = [torch.nn.Embedding(size, shape.width) for size in (shape.vocabulary, shape.length)]
    blocks = [_Block(shape.width, shape.heads) for _ in range(shape.depth)]
    head = [torch.nn.LayerNorm(shape.width, bias=False), torch.nn.Linear(shape.width, shape.vocabulary, bias=False)]
    tokens, positions, *rest = torch.nn.ModuleList([*embeddings, *blocks, *head]).to(device)
    body = torch.nn.Sequential(*rest)
    weights = [weight for module in (tokens, positions, body) for weight in module.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=config.learning_rate)
    questions = torch.from_numpy(ADDITION.questions(config, count=config.dataset_size, test=False)).to(device)
    places = torch.arange(shape.length, device=device)

    def step() -> None:
        drawn = questions[torch.randint(len(questions), (config.batch_size,), device=device)].long()
        stream = tokens(drawn[:, :-1]) + positions(places[: drawn.shape[1] - 1])
        scores, answers = body(stream)[:, -form.answer :], drawn[:, form.question :]
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), answers.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def attention(device: str, clock: Clock) -> None:
    print(f"attention: one transformer's steps a second, on {device}")
    print(f"  {'':28}{'as it is':>12}{'as products':>14}")
    for width in (16, 64, 256):
        config = AdditionConfig(width=width, heads=4, batch_size=64, dataset_size=4_096, steps=4_096)
        seconds, weights = [], []
        for replaced in (False, True):
            changed = mock.patch.object(torch.nn.functional, "scaled_dot_product_attention", _attention_by_products)
            with changed if replaced else contextlib.nullcontext():
                model = TransformerCohort(ADDITION, [config], [0], device)
                seconds.append(clock.per_call(_step_of(model), 32 if width < 256 else 8))
                weights.append(model.state(0)["weights"].detach().cpu())
        same = "the same bits" if torch.equal(*weights) else "other bits"
        rates = f"{1 / seconds[0]:12,.0f}{1 / seconds[1]:9,.0f} x{seconds[0] / seconds[1]:.2f}"
        print(f"  {f'transformer, width {width}':28}{rates}, {same}")


def _attention_by_products(query, key, value, *, is_causal: bool, scale: float | None):
    """What torch's attention computes, in the plainest way."""
    length, head = query.shape[-2:]
    scores = query @ key.transpose(-1, -2) * (scale or 1 / math.sqrt(head))
    if is_causal:
        scores = scores + torch.full((length, length), -torch.inf, device=scores.device).triu(1)
    return scores.softmax(-1) @ value


PARTS = {"language": language, "vision": vision, "cohort": cohort, "attention": attention}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for part in options.part or PARTS:
        PARTS[part](options.device, Clock(options.device))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
