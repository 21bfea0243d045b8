"""Packing: what a corpus becomes, and that a pack is whole or not there."""

from __future__ import annotations

import errno
import itertools
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from corpus import write_corpus

from trainers import TrainerError
from trainers.language import text as packing
from trainers.language.text import END, pack


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "text"


@pytest.fixture
def corpus(tmp_path):
    return str(write_corpus(tmp_path / "corpus.txt"))


def test_bytes_come_back(corpus):
    packed = pack(text=corpus)
    documents = bytes(packed.training).split(END) + bytes(packed.validation).split(END)
    original = Path(corpus).read_bytes()
    assert sorted(b"".join(documents)) == sorted(original)
    assert all(document in original for document in documents)
    assert packed.training.dtype == np.uint8 and isinstance(packed.training, np.memmap)
    assert packed.decode(packed.training[:8]) == bytes(packed.training[:8]).decode()


def test_documents_are_held_out_whole(corpus):
    packed = pack(text=corpus)
    training, validation = (set(bytes(part).split(END)) - {b""} for part in (packed.training, packed.validation))
    assert training and validation and not training & validation


def test_merges_pack_the_same_text_in_fewer_tokens(corpus):
    packed, letters = pack(text=corpus, vocabulary=300), pack(text=corpus)
    assert packed.training.dtype == np.uint16 and packed.training.max() < 300
    assert packed.token_bytes[packed.training].sum() == len(letters.training)
    assert len(packed.training) < 0.5 * len(letters.training)
    assert packed.decode(packed.training).encode() == bytes(letters.training)
    assert packed.digest == letters.digest
    assert packed.encoder()("the ") == list(packed.tokenizer().encode("the ").ids)


def test_merges_are_learned_from_training_documents_alone(tmp_path):
    """Every document repeats a word of two letters of its own: a merge of the two says that it was learned from."""
    pairs = [chr(0x4E00 + 2 * n) + chr(0x4E01 + 2 * n) for n in range(200)]
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join(json.dumps({"text": pair + " " + pair * 50}) for pair in pairs))
    held_out = bytes(pack(text=str(path)).validation).decode()
    packed = pack(text=str(path), vocabulary=1_000)
    encode = packed.encoder()
    tokens = {pair: len(encode(pair * 50)) for pair in pairs}
    of_validation = [count for pair, count in tokens.items() if pair in held_out]
    of_training = [count for pair, count in tokens.items() if pair not in held_out]
    assert len(of_validation) >= 4 and len(of_training) > 150
    assert max(of_training) < min(of_validation)


def test_merges_are_the_same_when_learned_again(corpus, monkeypatch, tmp_path):
    first = pack(text=corpus, vocabulary=300).training
    monkeypatch.setenv("UNSL_CACHE", str(tmp_path / "other"))
    assert (pack(text=corpus, vocabulary=300).training == first).all()


def test_a_pack_is_built_once(corpus, monkeypatch):
    first = pack(text=corpus)
    monkeypatch.setattr(packing, "_build", lambda *_: pytest.fail("built twice"))
    assert pack(text=corpus).digest == first.digest


def test_other_content_is_another_pack(corpus):
    first = pack(text=corpus).digest
    with open(corpus, "a") as file:
        file.write("one more line\n")
    assert pack(text=corpus).digest != first


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_records_are_packed_from_their_column(kind, tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [f"document {i} says {i * i}" for i in range(200)]
    path = tmp_path / f"corpus.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(pyarrow.table({"body": rows}), path)
    else:
        path.write_text("".join(json.dumps({"body": row}) + "\n" for row in rows))
    packed = pack(text=str(path), column="body")
    documents = (bytes(packed.training) + bytes(packed.validation)).decode().split("\0")
    assert sorted(documents)[1:] == sorted(rows) and documents[:200] != rows
    with pytest.raises(TrainerError, match="no column 'text', only body: set text_column"):
        pack(text=str(path))


def test_a_part_of_a_corpus_is_a_sample_of_all_of_it(tmp_path):
    """Of two files and of two kinds, a tenth: documents from everywhere, in no order of theirs."""
    texts = [f"document {number:05d} " + "word " * 10 for number in range(20_000)]
    records = "".join(json.dumps({"text": text}) + "\n" for text in texts[:10_000])
    (tmp_path / "a.jsonl").write_text(records)
    for name, part in {"b": texts[10_000:15_000], "c": texts[15_000:]}.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(part))
    packed = pack(text=str(tmp_path), most_tokens=130_000)
    words = bytes(packed.training).decode().replace(END.decode(), " ").split()
    numbers = np.array([int(word) for before, word in itertools.pairwise(words) if before == "document"])
    assert 1_500 < len(numbers) < 2_500
    shares = np.histogram(numbers, bins=4, range=(0, 20_000))[0] / len(numbers)
    assert shares.min() > 0.1, shares
    of_records = numbers[numbers < 10_000]
    assert np.histogram(of_records, bins=10, range=(0, 10_000))[0].min() > 0.05 * len(of_records)


def test_packing_ends_at_the_most_tokens(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": "word " * 20 + str(i)}) + "\n" for i in range(2_000)))
    packed = pack(text=str(path), most_tokens=50_000)
    assert 50_000 < len(packed.training) < 80_000


def test_a_damaged_pack_is_built_again(corpus, cache):
    first = pack(text=corpus)
    with open(first.folder / "training.bin", "r+b") as file:
        file.truncate(100)
    again = pack(text=corpus)
    assert len(again.training) == len(first.training) and again.digest == first.digest


def test_a_pack_that_was_interrupted_is_never_read(corpus, cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing.np, "save", interrupted)
        pack(text=corpus)
    assert not [path for path in cache.iterdir() if path.is_dir()]
    leftover = cache / "killed.building"
    leftover.mkdir()
    assert len(pack(text=corpus).training)


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(corpus, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(TrainerError, match="No space left on device; make room there"):
        patch.setattr(packing.np, "save", full)
        pack(text=corpus)
    assert not [path for path in cache.iterdir() if path.is_dir()]
    assert len(pack(text=corpus).training)


def _pack_length(text):
    return len(pack(text=text).training)


def test_processes_that_pack_at_once_get_the_same(corpus):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert len(set(pool.map(_pack_length, [corpus] * 3))) == 1


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"text": "no/such/folder"}, "nor a path that exists here"),
        ({"vocabulary": 100}, "vocabulary = 100 must be at least 256"),
        ({"vocabulary": 60_000}, "vocabulary = 60000 must be at most"),
    ],
)
def test_what_cannot_be_packed_says_why(settings, message, corpus):
    with pytest.raises(TrainerError, match=message):
        pack(**({"text": corpus} | settings))


def test_a_folder_without_text_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainerError, match="holds no file"):
        pack(text=str(tmp_path / "empty"))


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TrainerError, match="x.txt is not UTF-8"):
        pack(text=str(tmp_path / "x.txt"))


def test_a_text_without_validation_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("short")
    with pytest.raises(TrainerError, match="too short"):
        pack(text=str(tmp_path / "x.txt"))


def test_the_default_corpus_is_the_packages_documentation(monkeypatch):
    monkeypatch.setattr(packing, "DOCUMENTED", ("numpy",))
    packed = pack(text="docstrings")
    assert len(packed.training) > 1_000_000
    assert b"ndarray" in bytes(packed.training)
