"""Exams of vision: zero-shot and few-shot errors, transfer, linear probes and plain training of image models."""

from __future__ import annotations

from collections.abc import Iterator

from fitting import Metric

from . import sources
from .definition import Exam, error_rate

# Parameters of the image models; tasks are few-shot error by examples seen. "c" is taken to be CIFAR-100.
IMAGE_MODELS = {
    "ViT": {"ViT/S/16": 32e6, "ViT/B/16": 110e6},
    "BiT": {"BiT/50/1": 61e6, "BiT/101/3": 494e6},
    "MiX": {"MiX/B/16": 73e6, "MiX/L/16": 226e6},
}
IMAGE_SETS = {"bird": ("birds", 200), "c": ("cifar100", 100), "cal": ("caltech101", 101), "inet": ("imagenet", 1000)}


def _accuracy(classes: int) -> Metric:
    return Metric(name="error", direction="higher", best=1.0, ceiling=1.0 - 1.0 / classes)


def _openclip() -> Iterator[Exam]:
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
            metric=_accuracy(classes),
        )


def _few_shot() -> Iterator[Exam]:
    for prefix, (words, classes) in IMAGE_SETS.items():
        for family, models in IMAGE_MODELS.items():
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
                metric=error_rate("few-shot error", classes),
            )


def _transfer() -> Iterator[Exam]:
    """Pre-training on rendered objects, fine-tuning on a part (in percent) of ImageNet."""

    def exam(name: str, rows: str, held_out: str, **inputs: str) -> Exam:
        return Exam(
            name=f"transfer-{name}",
            domain="vision",
            source=sources.TRANSFER,
            file="results_finetune.csv",
            column="value",
            inputs={"pretraining": "pretrain.data", "fine_tuning": "fratio", "steps": "n_eval"} | inputs,
            rows=f"{rows} and fdata == 'imagenet' and pscale == '64k' and pdata == 'bop'",
            held_out=held_out,
            metric=_accuracy(1000),
        )

    yield exam("by-pretraining", "ptask == 'mulclass' and model == 'r50'", "pretraining >= 3.2e4")
    yield exam("by-fine-tuning", "ptask == 'mulclass' and model == 'r50'", "fine_tuning >= 32")
    yield exam("by-size", "ptask == 'mulclass'", "N > 40", N="nparam")
    for task in ("normal", "objdet", "semseg"):
        yield exam(f"{task}-by-pretraining", f"ptask == '{task}'", "pretraining >= 3.2e4")


def _probes() -> Iterator[Exam]:
    for task, classes in (
        ("imagenet1k-unverified", 1000),
        ("cifar100", 100),
        ("vtab/caltech101", 102),
        ("vtab/dtd", 47),
        ("vtab/flowers", 102),
        ("vtab/pets", 37),
        ("vtab/resisc45", 45),
        ("vtab_svhn", 10),
    ):
        yield Exam(
            name=f"probe-{task.removeprefix('vtab').strip('/_').removesuffix('-unverified')}",
            domain="vision",
            source=sources.PROBES,
            file="linear_probe.csv",
            column="lp_acc1",
            inputs={"compute": "gmacs_total", "shots": "k"},
            hyperparameters={"lr": "lr", "epochs": "epochs"},
            rows=f"dataset == '{task}' and upstream_dataset != 'CLIP-WIT' and k > 0",
            held_out="model == 'ViT-H-14' or model == 'ViT-g-14'",
            metric=_accuracy(classes),
        )


def exams() -> Iterator[Exam]:
    yield from _openclip()
    yield from _few_shot()
    yield from _transfer()
    yield from _probes()
    yield Exam(
        name="imagenet-by-epochs",
        domain="vision",
        source=sources.FFCV,
        file="curves.csv",
        column="top_1",
        inputs={"epochs": "training.epochs", "epoch": "epoch"},
        held_out="epochs > 50",
        metric=_accuracy(1000),
    )
