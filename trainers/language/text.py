"""Text as tokens: a corpus is packed once into flat files of whole numbers that every run maps into memory.

    docstrings                          the default, and needs no download: the documentation strings of the pinned
                                        packages numpy, scipy, pandas and matplotlib, about ten million bytes of English
    hub:NAME or hub:NAME:SUBSET         a data set of the Hugging Face hub, its split `train`
    a path                              a file or a folder of .parquet, .jsonl, .txt and .md

One document in twenty, chosen by a hash of its text, is held out for validation. The others are packed in one seeded
order of the whole corpus, each ended by a zero byte, so that the first n tokens are a fair sample for every n. For that
documents are asked for by number and never streamed: a stream is shuffled through a buffer at best, and gives the
beginning of its first file. A corpus of the hub is therefore fetched whole, however little of it is packed. A
vocabulary of 256 is the bytes themselves; a larger one adds byte-pair merges learned from the training documents.

A pack is written aside and renamed when it is whole, under a lock: it is never read half-written and never built twice.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainers.contract import TrainerError
from trainers.data import cache_folder, keeping

PACKING = 2
"""Raise it when the same text is packed differently: old packs are then left alone."""
BYTES = 256
END = b"\0"
"""Ends every document, in every vocabulary."""
DOCUMENTED = ("numpy", "scipy", "pandas", "matplotlib")
SHORTEST_DOCSTRING = 200
"""Shorter ones are mostly lists of names."""
BLOCK_CHARACTERS = 4_096
"""A text file is cut into documents of about this length, at ends of lines."""
VALIDATION_SHARE = 20
"""One document in this many is held out."""
MOST_VALIDATION_TOKENS = 2**24
"""No run measures on more, so that no more are kept."""
TOKENIZER_CHARACTERS = 50_000_000
"""Merges are learned from the first training documents with about this many characters: more change nothing visible."""
SHUFFLE_SEED = 0x7E57


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A corpus as tokens, mapped from disk."""

    training: np.ndarray
    validation: np.ndarray
    token_bytes: np.ndarray
    """Bytes of text that each token of the vocabulary stands for."""
    digest: str
    """SHA-256 of every packed document in order: equal digests are equal texts."""
    folder: Path

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens."""
        if len(self.token_bytes) == BYTES:
            return bytes(int(token) for token in tokens).decode("utf-8", "replace")
        return self.tokenizer().decode([int(token) for token in tokens])

    def encoder(self) -> Callable[[str], list[int]]:
        """The function from a text to its tokens."""
        if len(self.token_bytes) == BYTES:
            return lambda text: list(text.encode())
        tokenizer = self.tokenizer()
        return lambda text: tokenizer.encode(text).ids

    def tokenizer(self):
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self.folder / "tokenizer.json"))


def pack(*, text: str, column: str = "text", vocabulary: int = BYTES, most_tokens: int = 0) -> Pack:
    """The packed corpus, from the cache or built now. Raises TrainerError where that cannot be done.

    `column` is the field that holds the text of a record; with `most_tokens` above 0 packing ends there.
    """
    if vocabulary < BYTES:
        raise TrainerError(f"vocabulary = {vocabulary} must be at least {BYTES}: one token for every byte")
    source = _source(text, column)
    key = json.dumps([PACKING, source.identity, vocabulary, most_tokens])
    folder = cache_folder() / "text" / hashlib.sha256(key.encode()).hexdigest()[:16]
    with keeping(f"text '{text}'", folder.with_suffix(".lock")):
        if not _is_whole(folder):
            _build(folder, source, vocabulary, most_tokens)
        return _open(folder)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Documents in one seeded order, and what decides them."""

    name: str
    identity: list
    documents: Callable[[], Iterator[str]]


def _source(text: str, column: str) -> _Source:
    if text == "docstrings":
        versions = [f"{name} {importlib.metadata.version(name)}" for name in DOCUMENTED]
        return _Source(name=text, identity=[text, *versions], documents=_docstrings)
    if text.startswith("hub:"):
        name, _, subset = text.removeprefix("hub:").partition(":")

        def from_hub() -> Iterator[str]:
            yield from _shuffled(_records(text, column, name, subset or None, split="train"))

        return _Source(name=text, identity=[text, column], documents=from_hub)
    files = _files(text)
    about = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]

    def from_files() -> Iterator[str]:
        kinds, parts = {"parquet": "parquet", "jsonl": "json"}, []
        for suffix, chosen in itertools.groupby(files, key=lambda file: file.suffix[1:]):
            paths = [str(file) for file in chosen]
            if suffix in kinds:
                parts.append(_records(text, column, kinds[suffix], data_files=paths, split="train"))
            else:
                parts.append([block for path in paths for block in _blocks(text, Path(path))])
        yield from _shuffled(*parts)

    return _Source(name=text, identity=[text, column, about], documents=from_files)


def _files(text: str) -> list[Path]:
    """The files of a path, by kind and then by name."""
    path = Path(text).expanduser()
    suffixes = (".parquet", ".jsonl", ".txt", ".md")
    if not path.exists():
        raise TrainerError(f"text '{text}' is neither 'docstrings', 'hub:NAME' nor a path that exists here")
    found = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    files = sorted((file.resolve() for file in found if file.suffix in suffixes), key=lambda file: (file.suffix, file))
    if not files:
        raise TrainerError(f"text '{text}' holds no file that ends in {', '.join(suffixes)}")
    return files


def _records(text: str, column: str, *names, **where) -> Sequence[str]:
    """The text column of a data set, by number, mapped from disk."""
    import datasets

    datasets.disable_progress_bars()
    try:
        records = datasets.load_dataset(*names, **where)
        if column not in records.column_names:
            known = ", ".join(records.column_names)
            raise TrainerError(f"text '{text}' has no column '{column}', only {known}: set text_column")
        return records.select_columns([column])[column]
    except TrainerError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TrainerError(f"text '{text}' cannot be read: {reason[0]}") from error


def _blocks(text: str, path: Path) -> Iterator[str]:
    """A text file in pieces of about BLOCK_CHARACTERS, cut at ends of lines."""
    block, size = [], 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                block.append(line)
                size += len(line)
                if size >= BLOCK_CHARACTERS:
                    yield "".join(block)
                    block, size = [], 0
    except UnicodeDecodeError as error:
        raise TrainerError(f"text '{text}': {path.name} is not UTF-8 ({error.reason})") from error
    if block:
        yield "".join(block)


def _docstrings() -> Iterator[str]:
    """Every documentation string once, of the packages' own files without their tests."""
    found = {}
    for name in DOCUMENTED:
        root = Path(importlib.util.find_spec(name).origin).parent
        for path in sorted(root.rglob("*.py")):
            if {"tests", "testing"} & set(path.relative_to(root).parts):
                continue
            with warnings.catch_warnings(), contextlib.suppress(SyntaxError):
                warnings.simplefilter("ignore", SyntaxWarning)
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                        string = ast.get_docstring(node) or ""
                        if len(string) >= SHORTEST_DOCSTRING:
                            found[string] = None
    yield from _shuffled(list(found))


def _shuffled(*parts: Sequence[str]) -> Iterator[str]:
    """The documents of all parts in one seeded order."""
    ends = np.cumsum([len(part) for part in parts])
    for place in np.random.default_rng(SHUFFLE_SEED).permutation(ends[-1]).tolist():
        number = int(np.searchsorted(ends, place, side="right"))
        yield parts[number][place - int(ends[number])]  # counted from the end of its part


def _is_validation(document: str) -> bool:
    return zlib.crc32(document.encode("utf-8", "replace")) % VALIDATION_SHARE == 0


def _build(folder: Path, source: _Source, vocabulary: int, most_tokens: int) -> None:
    """Write a pack aside, then put it in its place in one step."""
    aside = folder.with_suffix(".building")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        encode, token_bytes = _bytes_encoder() if vocabulary == BYTES else _trained(source, vocabulary, aside)
        about = _write(aside, source, encode, _dtype(vocabulary), most_tokens)
        np.save(aside / "token_bytes.npy", token_bytes)
        (aside / "about.json").write_text(json.dumps(about | {"source": source.name, "vocabulary": vocabulary}))
        for path in aside.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(folder: Path, source: _Source, encode, dtype, most_tokens: int) -> dict:
    """Both token files; what they hold."""
    digest, tokens = hashlib.sha256(), {"training": 0, "validation": 0}
    with (folder / "training.bin").open("wb") as training, (folder / "validation.bin").open("wb") as validation:
        files = {"training": training, "validation": validation}
        documents = (document for document in source.documents() if document)
        for batch in _batched(documents, 256):
            for document, encoded in zip(batch, encode(batch), strict=True):
                part = "validation" if _is_validation(document) else "training"
                if part == "validation" and tokens[part] >= MOST_VALIDATION_TOKENS:
                    continue
                digest.update(document.encode("utf-8", "replace") + END)
                files[part].write(np.asarray(encoded).astype(dtype).tobytes())
                tokens[part] += len(encoded)
            if most_tokens and tokens["training"] > most_tokens:
                break
    if not all(tokens.values()):
        raise TrainerError(f"text '{source.name}' is too short: {sum(tokens.values())} tokens leave no validation set")
    return {"tokens": tokens, "bytes": np.dtype(dtype).itemsize, "digest": digest.hexdigest()}


def _batched(items: Iterator, size: int) -> Iterator[tuple]:
    while batch := tuple(itertools.islice(items, size)):
        yield batch


def _bytes_encoder() -> tuple[Callable, np.ndarray]:
    def encode(documents: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(document.encode("utf-8", "replace") + END, np.uint8) for document in documents]

    return encode, np.ones(BYTES, np.int32)


def _trained(source: _Source, vocabulary: int, folder: Path) -> tuple[Callable, np.ndarray]:
    """A byte-pair tokenizer learned from the training documents, saved beside the pack."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    def learned_from() -> Iterator[str]:
        characters = 0
        for document in source.documents():
            if not _is_validation(document):
                yield document
                characters += len(document)
                if characters > TOKENIZER_CHARACTERS:
                    return

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        learned_from(), trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    )
    if (size := tokenizer.get_vocab_size()) < vocabulary:
        raise TrainerError(f"vocabulary = {vocabulary} must be at most {size}: '{source.name}' has no more merges")
    tokenizer.save(str(folder / "tokenizer.json"))
    # In the byte-level alphabet every character stands for one byte.
    token_bytes = np.zeros(vocabulary, np.int32)
    for token, number in tokenizer.get_vocab().items():
        token_bytes[number] = len(token)

    def encode(documents: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch([d + END.decode() for d in documents])]

    return encode, token_bytes


def _dtype(vocabulary: int):
    return np.uint8 if vocabulary <= 2**8 else np.uint16 if vocabulary <= 2**16 else np.uint32


def _is_whole(folder: Path) -> bool:
    """Whether a pack is there with every byte that it says it has."""
    try:
        about = json.loads((folder / "about.json").read_text())
        sizes = {part: (folder / f"{part}.bin").stat().st_size for part in about["tokens"]}
    except (OSError, ValueError, KeyError):
        return False
    return sizes == {part: count * about["bytes"] for part, count in about["tokens"].items()}


def _open(folder: Path) -> Pack:
    about = json.loads((folder / "about.json").read_text())
    dtype = _dtype(about["vocabulary"])
    return Pack(
        training=np.memmap(folder / "training.bin", dtype, mode="r"),
        validation=np.memmap(folder / "validation.bin", dtype, mode="r"),
        token_bytes=np.load(folder / "token_bytes.npy"),
        digest=about["digest"],
        folder=folder,
    )
