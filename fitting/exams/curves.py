"""Exams of one input: learning curves of published studies."""

from __future__ import annotations

from collections.abc import Iterator

from fitting import Metric

from . import sources
from .definition import Exam, Source, error_rate
from .vision import IMAGE_MODELS, IMAGE_SETS


def curves() -> Iterator[Exam]:
    def curve(
        name: str, domain: str, source: Source, file: str, column: str, x: dict, rows: str, **more: object
    ) -> Exam:
        more = {"held_out": "Training == 0", "metric": Metric()} | more
        return Exam(name=name, domain=domain, source=source, file=file, column=column, inputs=x, rows=rows, **more)

    seen = {"examples": "Seen Examples"}
    for prefix, (words, classes) in IMAGE_SETS.items():
        for shots in (5, 10, 25):
            for model in (m for models in IMAGE_MODELS.values() for m in models):
                yield curve(
                    f"curve-{words}-{shots}shot-{_slug(model)}",
                    "vision",
                    sources.REVISITING,
                    "benchmark.vision.csv",
                    "Loss",
                    seen,
                    f"Task == '{prefix}_{shots}' and Model == '{model}'",
                    metric=error_rate("few-shot error", classes),
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
            metric=error_rate("test error", classes) if classes else Metric(name="test loss"),
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
            metric=error_rate("test error", 10),
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
