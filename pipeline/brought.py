"""A table that a user brings: any CSV or Parquet file, local or behind a URL."""

from __future__ import annotations

import argparse
import math
from typing import Any

from fitting import LAWS, Metric
from pipeline.errors import PipelineError
from pipeline.question import Question

ENDINGS = (".csv", ".tsv", ".parquet")


def is_file(target: str) -> bool:
    """Whether what the user named is a table rather than a study."""
    return target.lower().endswith(ENDINGS)


def read_table(path: str) -> Any:
    """The file as a pandas DataFrame. Raises PipelineError."""
    import pandas

    try:
        if path.lower().endswith(".parquet"):
            return pandas.read_parquet(path)
        return pandas.read_csv(path, sep="\t" if path.lower().endswith(".tsv") else ",")
    except FileNotFoundError as error:
        raise PipelineError(f"there is no file {path}") from error
    except Exception as error:
        raise PipelineError(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def fit_brought(options: argparse.Namespace) -> dict[str, Any]:
    """Fit laws to the file that `options` describe; the result as `Divided.to_json` gives it. Raises PipelineError."""
    if not options.metric or not options.inputs:
        raise PipelineError("a table needs --metric COLUMN and --inputs COLUMN,COLUMN: which column is what?")
    question = Question(
        about=options.study,
        metric=Metric(
            name=options.metric,
            direction=options.direction,
            ceiling=_ceiling(options.ceiling),
            best=options.best,
        ),
        inputs=names(options.inputs),
        hyperparameters=names(options.hyperparameters),
        held_out=options.held_out or "",
        excluded={text: text for text in options.exclude},
        replicates=_replicates(options),
    )
    divided = question.divide(read_table(options.study))
    comparisons = divided.compare(
        names(options.laws) or tuple(LAWS), seed=options.seed, loss=options.loss, plain=options.plain
    )
    return {"table": options.study, **divided.to_json(comparisons)}


def names(text: str | None) -> tuple[str, ...]:
    """`a, b` as (a, b)."""
    return tuple(name for part in (text or "").split(",") if (name := part.strip()))


def _ceiling(text: str) -> float | None:
    if text in ("auto", "none"):
        return None if text == "auto" else math.inf
    try:
        return float(text)
    except ValueError as error:
        raise PipelineError(f"--ceiling {text}: give a number, auto (it is fitted) or none (there is none)") from error


def _replicates(options: argparse.Namespace) -> tuple[str, ...]:
    """Rows of one group that agree in every input and hyperparameter differ by chance alone."""
    if not options.group:
        return ()
    return (options.group, *names(options.inputs), *names(options.hyperparameters))
