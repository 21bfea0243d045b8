"""A verb of the command line, and the options that several of them take."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.store import Store
from pipeline.study import Study, load_study

DEFAULT_STORE = "runs"


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What `unsl NAME` does. Modules that are slow to import are imported by `run`, never beside it."""

    name: str
    summary: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """From the parsed options to the exit code."""


def add_study(parser: argparse.ArgumentParser, *, or_table: bool = False) -> None:
    """The study that a verb is about, its size and where its results are."""
    parser.add_argument(
        "study",
        metavar="STUDY",
        help="a study of experiments/ by name, module or path" + ("; or a CSV or Parquet file" if or_table else ""),
    )
    parser.add_argument("--tier", metavar="NAME", help="which size of the study: cpu, gpu or paper, where it has them")
    add_store(parser)


def add_store(parser: argparse.ArgumentParser) -> None:
    """Where results are."""
    parser.add_argument(
        "--store",
        default=os.environ.get("UNSL_STORE", DEFAULT_STORE),
        help=f"folder or URL of all studies (default: $UNSL_STORE or {DEFAULT_STORE})",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", nargs="?", const="-", type=new_file, metavar="FILE", help="write JSON, to FILE or standard output"
    )


def add_laws(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--laws", help="laws to fit, separated by commas (default: the study's)")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="seed of the fits' random starts")


def add_target(parser: argparse.ArgumentParser, says: str) -> None:
    parser.add_argument("--target", metavar="TARGET", action="append", default=[], help=says)


def target_texts(options: argparse.Namespace, study: Study | None) -> Sequence[str]:
    """What --target names; else what the study grows for. Raises PipelineError where that is nothing."""
    if texts := options.target or (study.growth.targets if study and study.growth else ()):
        return texts
    raise PipelineError("say what is to be foretold, as in --target 'parameters=7e9, dataset_size=1.4e11'")


def add_prices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--price",
        default=os.environ.get("UNSL_PRICE", ""),
        metavar="DEVICE=USD",
        help="dollars an hour, such as h100=2.5,cpu=0.05: costs are shown in money too (default: $UNSL_PRICE)",
    )


def add_wandb(parser: argparse.ArgumentParser) -> None:
    modes = ("auto", "online", "offline", "off")
    parser.add_argument("--wandb", choices=modes, default="auto", help="W&B: auto is online where there is a key")


def study_and_store(options: argparse.Namespace) -> tuple[Study, Store]:
    """The study that was named, checked, with what its rounds have added; and its store."""
    study = load_study(options.study, options.tier)
    study.check()
    store = store_of(options.store, study)
    return store.grown(study), store


def store_of(root: str, study: Study) -> Store:
    """A study's store below a folder or URL of all studies."""
    store = Store(root, study.name)
    if not root.strip() or _is_below_a_file(store):
        raise PipelineError(f"--store '{root}' is no folder: name a folder or a URL, such as s3://BUCKET/studies")
    return store


def _is_below_a_file(store: Store) -> bool:
    if not store.folder.is_local:
        return False
    path = Path(store.folder.path())
    return any(folder.exists() and not folder.is_dir() for folder in (path, *path.parents))


def question_changes(study: Study, store: Store) -> list[str]:
    """Record what a study asks, where its store may be written; what was changed of it too late, in words."""
    with contextlib.suppress(PipelineError):  # A store that one may only read is no reason not to fit.
        if store.records():
            store.ask(study)
    return store.question_changes(study)


def local_folder(store: Store) -> str:
    """Where files for people go: into the study's folder, or here where the store is remote."""
    return store.folder.path() if store.folder.is_local else "."


def tracking_folder(store: Store) -> str:
    return os.path.join(local_folder(store), "wandb")


def names(text: str | None) -> tuple[str, ...]:
    """`a, b` as (a, b)."""
    return tuple(name for part in (text or "").split(",") if (name := part.strip()))


def whole_number(least: int) -> Callable[[str], int]:
    """A type of option: whole numbers from `least` on."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, at least {least}")
        return value

    return read


def number(text: str, *, above: float = -math.inf) -> float:
    """A type of option: finite numbers."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not above < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a number" + (f" above {above:g}" if above > -math.inf else "")
        )
    return value


def positive(text: str) -> float:
    """A type of option: finite numbers above 0."""
    return number(text, above=0.0)


def new_file(text: str) -> str:
    """A type of option: a file that is to be written, or `-`. Said before the work is done that it would be for."""
    if text != "-" and (not text or os.path.isdir(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    if not os.path.isdir(folder := os.path.dirname(os.path.abspath(text))):
        raise argparse.ArgumentTypeError(f"there is no folder {folder}")
    return text
