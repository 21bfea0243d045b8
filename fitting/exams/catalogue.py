"""The exams, fixed before any law was scored on a held-out row.

Splits are the authors' own where they published one, else the rule that a user would set: fit what is small, predict
what is large. Exams of one source share runs (the same models on other test sets, the same curves with other shots), so
they are not independent, and a source is in one half only.

Several inputs: 19 of language, 18 of vision, 3 others. One input: 136 curves. Ceilings are given where the metric fixes
them: 1 - 1/classes for an error, the logarithm of the vocabulary for a loss whose tokeniser is known, 1 for what was
scaled to [0, 1]; elsewhere they are fitted.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from fitting import FittingError, Metric

from . import sources
from .definition import HALVES, Exam, Source

_GPT2_VOCABULARY, _NEOX_VOCABULARY = math.log(50257), math.log(50432)


def _error(name: str, classes: int) -> Metric:
    return Metric(name=name, ceiling=1.0 - 1.0 / classes)


def _language() -> Iterator[Exam]:
    def exam(name: str, source: Source, file: str, column: str, held_out: str, **more: object) -> Exam:
        more = {"inputs": {"N": "N", "D": "D"}, "metric": Metric(name="loss")} | more
        return Exam(name=name, domain="language", source=source, file=file, column=column, held_out=held_out, **more)

    yield exam("chinchilla", sources.CHINCHILLA, "chinchilla.csv", "loss", "C >= 1e21")
    for runs, rows in (("182", "in_authors_fit == 1"), ("all", "")):
        for what, held_out in (("size", "N >= 2.8e9"), ("unique", "unique_tokens >= 1e10")):
            yield exam(
                f"datablations-{runs}-by-{what}",
                sources.DATABLATIONS,
                "datablations.csv",
                "val_loss",
                held_out,
                rows=rows,
                inputs={"N": "N", "tokens": "tokens", "unique_tokens": "unique_tokens"},
                metric=Metric(name="validation loss", ceiling=_GPT2_VOCABULARY),
            )
    for what, rows, held_out in (("size", "", "N >= 1e9"), ("tokens", "N < 1e9", "D >= 5e10")):
        yield exam(
            f"steplaw-by-{what}",
            sources.STEPLAW,
            "steplaw_dense.csv",
            "smooth_loss",
            held_out,
            rows=rows,
            hyperparameters={"lr": "lr", "batch": "batch_seqs"},
        )
    for short, train_set in (("c4", "c4_original"), ("rpj", "rpj"), ("rw", "rw_original")):
        yield exam(
            f"openlm-{short}",
            sources.OPENLM,
            "openlm.csv",
            "val_c4_val",
            "N >= 4e8",
            rows=f"train_set == '{train_set}'",
            metric=Metric(name="C4 loss", ceiling=_NEOX_VOCABULARY),
        )
    # The loss is relative to that of a unigram model and so negative; its logarithm needs a floor below every value.
    yield exam(
        "vocabulary",
        sources.VOCABULARY,
        "vocab.csv",
        "unigram_normalized_loss",
        "N_nonvocab > 1e9",
        inputs={"N": "N_nonvocab", "D": "train_characters"},
        hyperparameters={"vocabulary": "vocab_size"},
        metric=Metric(name="loss below unigram + 6", floor=-6.0),
    )
    yield exam(
        "misfitting",
        sources.MISFITTING,
        "final_ckpt.csv",
        "c4_eval_loss",
        "N >= 4.5e8",
        hyperparameters={"lr": "peak_lr"},
    )
    for name, experiment, held_out in (
        ("llama3-isoflop", "llama_3__raw_loss", "C >= 2e21"),
        ("fineweb-isoflop", "misfitting__fineweb_c4__transformer", "C >= 5e18"),
    ):
        yield exam(name, sources.ISOFLOPS, "isoflops.csv", "loss", held_out, rows=f"experiment == '{experiment}'")
    for name, rows in (
        ("porian-rw-base", "dataset == 'rw' and hparams == 'base' and warmup == 'long' and decay == 'kaplan'"),
        ("porian-rw-tuned", "dataset == 'rw' and hparams == 'tuned' and warmup == 'short'"),
        ("porian-owt2-tuned", "dataset == 'owt2' and hparams == 'tuned' and warmup == 'short'"),
    ):
        yield exam(
            name,
            sources.PORIAN,
            "isoflop_points.csv",
            "loss",
            "flops > 1.7e18",
            rows=rows + " and param_count == 'standard'",
        )
    yield exam(
        "finetune-gpt2-wmt19",
        sources.FINETUNE,
        "sft.csv",
        "test_loss",
        "examples >= 2e5",
        rows="task == 'wmt19' and family == 'GPT2' and finetune_examples > 0",
        inputs={"N": "N", "examples": "finetune_examples"},
    )
    yield exam(
        "llama2-context",
        sources.CONTEXT,
        "llama2_context.csv",
        "loss",
        "N > 50",
        inputs={"N": "params_billion", "context": "context_length"},
    )


# Parameters of the image models; tasks are few-shot error by examples seen. "c" is taken to be CIFAR-100.
_IMAGE_MODELS = {
    "ViT": {"ViT/S/16": 32e6, "ViT/B/16": 110e6},
    "BiT": {"BiT/50/1": 61e6, "BiT/101/3": 494e6},
    "MiX": {"MiX/B/16": 73e6, "MiX/L/16": 226e6},
}
_IMAGE_SETS = {"bird": ("birds", 200), "c": ("cifar100", 100), "cal": ("caltech101", 101), "inet": ("imagenet", 1000)}


def _vision() -> Iterator[Exam]:
    for task, classes in (
        ("imagenet1k", 1000),
        ("cars", 196),
        ("vtab/cifar100", 100),
        ("objectnet", 113),
        ("imagenet-r", 200),
        ("fgvc_aircraft", 100),
    ):
        yield Exam(
            name=f"openclip-{task.split('/')[-1]}",
            domain="vision",
            source=sources.OPENCLIP,
            file="zeroshot.csv",
            column="acc1",
            inputs={"N": "mparams", "samples": "samples_seen"},
            levels={"pool": ("upstream_dataset", {"LAION-80M": 80e6, "LAION-400M": 407e6, "LAION-2B": 2.0e9})},
            rows=f"downstream_dataset == '{task}' and upstream_dataset != 'CLIP-WIT'",
            held_out="mparams > 300 and samples_seen > 1e10",
            metric=Metric(name="zero-shot error", direction="higher", best=1.0, ceiling=1.0 - 1.0 / classes),
        )
    for prefix, (words, classes) in _IMAGE_SETS.items():
        for family, models in _IMAGE_MODELS.items():
            yield Exam(
                name=f"{words}-10shot-{family.lower()}",
                domain="vision",
                source=sources.REVISITING,
                file="benchmark.vision.csv",
                column="Loss",
                inputs={"examples": "Seen Examples"},
                levels={"N": ("Model", models)},
                rows=f"Task == '{prefix}_10' and (" + " or ".join(f"Model == '{m}'" for m in models) + ")",
                held_out="Training == 0",
                metric=_error("few-shot error", classes),
            )


def _other() -> Iterator[Exam]:
    for short, suite in (("medium", "dmc_medium"), ("dog-humanoid", "dmc_dog_humanoid")):
        yield Exam(
            name=f"value-rl-{short}",
            domain="other",
            source=sources.VALUE_RL,
            file="time_to_threshold.csv",
            column="env_steps_to_threshold",
            inputs={"updates": "utd", "N": "critic_params"},
            rows=f"suite == '{suite}'",
            held_out="critic_params > 2e7",
            metric=Metric(name="environment steps to threshold", ceiling=math.inf),
        )
    yield Exam(
        name="mlp-width-steps",
        domain="other",
        source=sources.SUPERCOLLAPSE,
        file="mlp_curves.csv",
        column="test_loss",
        inputs={"N": "num_params", "steps": "step"},
        rows="group == 'const' and step > 0",
        held_out="width > 1500",
        metric=Metric(name="test loss"),
    )


def _curves() -> Iterator[Exam]:
    def curve(
        name: str, domain: str, source: Source, file: str, column: str, x: dict, rows: str, **more: object
    ) -> Exam:
        more = {"held_out": "Training == 0", "metric": Metric()} | more
        return Exam(name=name, domain=domain, source=source, file=file, column=column, inputs=x, rows=rows, **more)

    seen = {"examples": "Seen Examples"}
    for prefix, (words, classes) in _IMAGE_SETS.items():
        for shots in (5, 10, 25):
            for model in (m for models in _IMAGE_MODELS.values() for m in models):
                yield curve(
                    f"curve-{words}-{shots}shot-{_slug(model)}",
                    "vision",
                    sources.REVISITING,
                    "benchmark.vision.csv",
                    "Loss",
                    seen,
                    f"Task == '{prefix}_{shots}' and Model == '{model}'",
                    metric=_error("few-shot error", classes),
                )
    for model in ("6 Enc, 6 Dec", "28 Enc, 6 Dec", "6 Enc, 28 Dec", "Dec-only", "TEnc-LSTM"):
        rows = f"Domain == 'NMT' and Model == '{model}'"
        yield curve(
            f"curve-nmt-{_slug(model)}", "language", sources.REVISITING, "benchmark.lang.csv", "Loss", seen, rows
        )
    for model in ("1.68e+07", "1.34e+08", "2.62e+08", "4.53e+08", "1.07e+09"):
        rows = f"Domain == 'LM' and Model == '{model}'"
        yield curve(
            f"curve-lm-{_slug(model)}",
            "language",
            sources.REVISITING,
            "benchmark.lang.csv",
            "Loss",
            seen,
            rows,
            metric=Metric(name="scaled loss", ceiling=1.0),
        )
    for task in ("date", "ling", "mult", "qa", "unit"):
        for shots in (1, 2):
            yield curve(
                f"curve-bigbench-{task}-{shots}shot",
                "language",
                sources.REVISITING,
                "benchmark.lang.csv",
                "Loss",
                seen,
                f"Domain == 'BB' and Task == \"('{task}', '{shots}-shot')\"",
                metric=Metric(name="1 - score", ceiling=1.0),
            )
    yield curve(
        "curve-addition",
        "other",
        sources.BNSL,
        "addition.csv",
        "test_cross_entropy",
        {"examples": "train_dataset_size"},
        "",
        held_out="training == 0",
    )
    for name, domain, classes in (
        ("cifar10-mcnn-noaug-sgd", "vision", 10),
        ("cifar10-mcnn-p10-sgd", "vision", 10),
        ("cifar10-mcnn-p20-sgd", "vision", 10),
        ("cifar10-mcnn-p20-sgd-rep2", "vision", 10),
        ("cifar10-mcnn-p20-sgd-rep3", "vision", 10),
        ("cifar10-mcnn-p20-sgd-rep4", "vision", 10),
        ("cifar10-mcnn-p20-sgd-rep5", "vision", 10),
        ("cifar10-resnet18k-50k-adam", "vision", 10),
        ("cifar100-resnet18k-50k-adam", "vision", 100),
        ("pct-cifar100-mcnn-p0-sgd-noaug-reps", "vision", 100),
        ("dd-translation-model-french", "language", 0),
        ("dd-translation-samples-aug26-small", "language", 0),
        ("dd-translation-samples-aug27-size80", "language", 0),
        ("df18k", "language", 0),
        ("df4k", "language", 0),
        ("nlp-model-dd", "language", 0),
    ):
        yield curve(
            f"curve-descent-{name}",
            domain,
            sources.DOUBLE_DESCENT,
            "curves.csv",
            "y",
            {"x": "x"},
            f"curve == '{name}'",
            held_out="training == 0",
            metric=_error("test error", classes) if classes else Metric(name="test loss"),
        )
    for run in ("base_lr0.1", "ff_large_lr", "ff_small_lr"):
        yield curve(
            f"curve-epochs-{run}",
            "vision",
            sources.EPOCHWISE,
            "mcnn_cifar10.csv",
            "test_error",
            {"epoch": "epoch"},
            f"run == '{run}' and epoch > 0",
            held_out="epoch > 1000",
            metric=_error("test error", 10),
        )
    for which in ("final", "min"):
        for setting in range(12):
            yield curve(
                f"curve-nanogpt-{which}-{setting}",
                "language",
                sources.NANO,
                "nano.csv",
                "val_loss",
                {"width": "n_embd"},
                f"metric == '{which}_val_loss' and hyper_id == {setting}",
                held_out="training == 0",
                metric=Metric(name="validation loss"),
            )


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() or c in ".+" else " " for c in text.lower()).split())


def _halved(exams: Sequence[Exam]) -> tuple[Exam, ...]:
    """Whole sources to one half or the other, in the order of a hash of their names: each to the half that has fewer
    exams of its domain and kind. A coin a source would leave one half with two exams of language.
    """
    counts: Counter[tuple[str, str, str]] = Counter()
    half_of: dict[str, str] = {}
    folders = dict.fromkeys(exam.source.folder for exam in exams)
    for folder in sorted(folders, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        own = Counter((exam.domain, exam.kind) for exam in exams if exam.source.folder == folder)
        # Several inputs are what the laws are about: they decide where a source has both kinds.
        domain, kind = max(own, key=lambda key: (key[1] == "several inputs", own[key], key))
        half = min(HALVES, key=lambda one: (counts[one, domain, kind], HALVES.index(one)))
        half_of[folder] = half
        for (of_domain, of_kind), count in own.items():
            counts[half, of_domain, of_kind] += count
    return tuple(replace(exam, half=half_of[exam.source.folder]) for exam in exams)


EXAMS: tuple[Exam, ...] = _halved([*_language(), *_vision(), *_other(), *_curves()])


def choose(only: Iterable[str] = (), half: str | None = None, kind: str | None = None) -> tuple[Exam, ...]:
    """Exams whose name contains one of `only` (all if empty), of one half and of one kind. Raises FittingError if none
    is."""
    if half is not None and half not in HALVES:
        raise FittingError(f"unknown half {half!r}; it is one of: {', '.join(HALVES)}")
    parts = tuple(only)
    unknown = [part for part in parts if not any(part in exam.name for exam in EXAMS)]
    chosen = tuple(
        exam
        for exam in EXAMS
        if (not parts or any(part in exam.name for part in parts))
        and half in (None, exam.half)
        and kind in (None, exam.kind)
    )
    if unknown or not chosen:
        raise FittingError(
            f"no exam is called {', '.join(unknown) or ', '.join(parts) or half}; some names are: "
            f"{', '.join(exam.name for exam in EXAMS[:: max(1, len(EXAMS) // 12)])}"
        )
    return chosen
