"""The ledger: the forecasts of a study, in the order in which they were made, none of which can be changed in silence.

    STORE/STUDY/ledger/00000042.json     an entry; it holds its own hash and that of the entry before
    STORE/STUDY/ledger/head.json         the last entry's number and hash, rewritten after each
    STORE/STUDY/ledger/published.json    the last entry that a witness outside has seen
    STORE/STUDY/fits/HASH.json           the fits that were forecast with, each once

The name of an entry is its number alone, and a file is created only where none is: of two writers at once one gets the
number, and the other reads that entry and chains its own behind it. So the chain cannot fork, there is no moment
between two files that belong together, and nobody needs the lease. A hash in the name would have allowed two entries of
one number. Whoever changes, removes or reorders entries breaks the chain; whoever removes the last ones contradicts
`head.json`; and whoever rewrites all of it contradicts the witness (`unsl ledger STUDY --publish`).
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from fitting import Fit
from pipeline.errors import OutsideError, PipelineError
from pipeline.forecasts.entry import Entry
from pipeline.store import CellRecord, Folder

FOLDER, FITS = "ledger", "fits"
HEAD, PUBLISHED = "head.json", "published.json"
MOST_TRIES = 1000
"""Entries that others may write between a look at the ledger and the next before something else must be wrong."""
MOST_LATE = 100
"""Entries that a list may not show yet; who lays a file of a huge number here must not make all others be asked for."""
CLOCK_SECONDS = 30.0
"""By how much the clocks of two machines may differ before a date counts as false."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is not as it was written."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a witness outside has of the ledger."""

    number: int
    hash: str
    witness: str
    """Where: the artifact, with its version."""
    digest: str
    """By which the witness knows what it has."""
    time: str
    """UTC, by the clock of the machine that published; the witness has its own."""


class Ledger:
    """The ledger in a study's folder. Anyone may read it and add to it, at any time."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self._read: dict[str, tuple[Entry, str]] = {}
        """Sound files by name, with their hashes: they never change, so each is read once."""

    def entries(self) -> list[Entry]:
        """All entries in their order. Raises PipelineError where the chain does not hold."""
        links, faults = self._chain()
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            raise PipelineError(f"the ledger does not hold: {faults[0]}{more}. `unsl ledger STUDY --verify` says all")
        return [entry for entry, _ in links]

    def append(self, entry: Entry) -> Entry:
        """Write an entry behind the last one and return it as it was written.

        An entry that says nothing new is not written again: the one that says it is returned. Its time is never before
        its predecessor's, whatever the clocks. Raises PipelineError where the ledger does not hold, or cannot be
        written.
        """
        for _ in range(MOST_TRIES):
            known = self.entries()
            same = {"question": entry.digest, "fingerprint": entry.fingerprint, "laws": entry.law_names}
            for earlier in known:
                if entry.target_keys() <= earlier.says(**same):
                    return earlier
            last = known[-1] if known else None
            time = max(now(), last.time) if last else now()
            chained = replace(entry, time=time).chained(number=len(known) + 1, previous=self._hash(last))
            name = _name(chained.number)
            with self._reached("written"):
                created = self.folder.create(f"{FOLDER}/{name}", chained.to_bytes())
            if created:
                self._write(HEAD, {"number": chained.number, "hash": chained.hash})
                return chained
        raise PipelineError(f"the ledger in {self.folder.path()} grows faster than one can add to it: try again")

    def keep_fit(self, fit: Fit) -> str:
        """Keep a fit where it is not kept yet, and return its name."""
        text = fit.to_json().encode()
        name = hashlib.sha256(text).hexdigest()[:32]
        with self._reached("written"):
            self.folder.create(f"{FITS}/{name}.json", text)
        return name

    def fit(self, name: str) -> Fit:
        """A fit that an entry names. Raises PipelineError where it is not there."""
        if not (text := self._file(f"{FITS}/{name}.json")):
            raise PipelineError(f"the store {self.folder.path()} has no fit {name}")
        return Fit.from_json(text.decode())

    def files(self) -> dict[str, bytes]:
        """Every entry's file by name, for a witness."""
        names = [f"{FOLDER}/{_name(one.number)}" for one in self.entries()]
        with self._reached("read"):
            found = self.folder.read_all(names)
        return {path.rpartition("/")[2]: data for path, data in found.items()}

    def receipt(self) -> Receipt | None:
        """What was published last."""
        value = self._load(PUBLISHED)
        return Receipt(**value) if value else None

    def keep_receipt(self, receipt: Receipt) -> None:
        self._write(PUBLISHED, vars(receipt))

    def verify(self, records: Mapping[str, CellRecord] | None = None) -> list[Fault]:
        """Everything that contradicts what was written; empty where the ledger holds.

        records: of the store, by which entries that claim to be blind are held against what had been measured.
        """
        links, faults = self._chain()
        faults += self._missing_at_the_end({entry.number: own_hash for entry, own_hash in links})
        known_fits: dict[str, str] = {}
        for entry, _ in links:
            faults += self._faults_of_fits(entry, known_fits) + _faults_of_time(entry, records or {})
        return faults

    def _chain(self) -> tuple[list[tuple[Entry, str]], list[Fault]]:
        """The entries that can be read with their hashes, and what is wrong with them and between them."""
        with self._reached("read"):
            names = self.folder.names(FOLDER, ending=".json")
        faults = [
            Fault(where=name, what="is no entry: move it out of the ledger")
            for name in names
            if not re.fullmatch(r"\d{8}\.json", name) and name not in (HEAD, PUBLISHED)
        ]
        listed = {int(name[:8]) for name in names if re.fullmatch(r"\d{8}\.json", name)}
        # A list may be late: what it skips is asked for by name before it is called missing.
        skipped = islice((one for one in range(1, max(listed, default=0)) if one not in listed), MOST_LATE)
        asked = [number for number in {*listed, *skipped} if _name(number) not in self._read]
        with self._reached("read"):
            data = self.folder.read_all(f"{FOLDER}/{_name(number)}" for number in asked)
        numbers = sorted(listed | {number for number in asked if f"{FOLDER}/{_name(number)}" in data})
        links: list[tuple[Entry, str]] = []
        number_before, hash_before, last_time = 0, "", ""
        for number in numbers:
            where, missing = _name(number), number - number_before - 1
            number_before = number
            if missing:
                names = _name(number - 1) if missing == 1 else f"{_name(number - missing)} to {_name(number - 1)}"
                faults.append(Fault(where=names, what="missing: removed from the ledger"))
            try:
                entry, own_hash = self._entry(where, data)
            except PipelineError as error:
                faults.append(Fault(where=where, what=str(error)))
                hash_before = None
                continue
            if entry.number != number:
                faults.append(Fault(where=where, what=f"holds entry {entry.number}: entries were reordered"))
            elif not missing and hash_before is not None and entry.previous != hash_before:
                faults.append(Fault(where=where, what="does not follow the one before it: one of the two was replaced"))
            if entry.time < last_time:
                faults.append(Fault(where=where, what=f"is dated {entry.time}, before its predecessor: back-dated"))
            links.append((entry, own_hash))
            hash_before, last_time = own_hash, max(last_time, entry.time)
        return links, faults

    def _hash(self, entry: Entry | None) -> str:
        return self._read[_name(entry.number)][1] if entry else ""

    def _entry(self, name: str, data: Mapping[str, bytes]) -> tuple[Entry, str]:
        if name not in self._read:
            # What was listed and is not there has just been removed.
            self._read[name] = Entry.from_bytes(data.get(f"{FOLDER}/{name}", b""))
        return self._read[name]

    def _missing_at_the_end(self, hashes: Mapping[int, str]) -> list[Fault]:
        faults = []
        for name in (HEAD, PUBLISHED):
            seen = self._load(name)
            if not seen:
                continue
            if seen["number"] not in hashes:
                what = f"was once entry {seen['number']}, and it is not there: removed from the ledger"
                faults.append(Fault(where=_name(seen["number"]), what=what))
            elif hashes[seen["number"]] != seen["hash"]:
                what = f"is not what {name} has seen: it was replaced"
                faults.append(Fault(where=_name(seen["number"]), what=what))
        return faults

    def _faults_of_fits(self, entry: Entry, known: dict[str, str]) -> list[Fault]:
        faults = []
        for law in entry.laws:
            if law.fit not in known:
                text = self._file(f"{FITS}/{law.fit}.json")
                same = text is not None and hashlib.sha256(text).hexdigest()[:32] == law.fit
                known[law.fit] = "is missing" if text is None else "" if same else "was changed after it was written"
            if known[law.fit]:
                what = f"the fit of {law.law}, {FITS}/{law.fit}.json, {known[law.fit]}"
                faults.append(Fault(where=_name(entry.number), what=what))
        return faults

    def _load(self, name: str) -> dict[str, Any]:
        try:
            return json.loads(self._file(f"{FOLDER}/{name}") or "{}")
        except ValueError:
            return {}

    def _file(self, name: str) -> bytes | None:
        """A file's bytes, or None where there is no such file."""
        with self._reached("read"):
            try:
                return self.folder.read(name)
            except FileNotFoundError:
                return None

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        with self._reached("written"):
            self.folder.write(f"{FOLDER}/{name}", json.dumps(dict(value), indent=1).encode())

    @contextmanager
    def _reached(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutsideError(f"the ledger in {self.folder.path()} cannot be {done}: {error}") from error


def _faults_of_time(entry: Entry, records: Mapping[str, CellRecord]) -> list[Fault]:
    """A date to come, and targets that claim to be blind although their cells had ended by then."""
    where, made = _name(entry.number), _seconds(entry.time)
    if made > _seconds(now()) + CLOCK_SECONDS:
        return [Fault(where=where, what=f"is dated {entry.time}, which is yet to come")]
    cells = entry.targets.get("cell", [])
    claimed = {cell for cell, blind in zip(cells, entry.blind, strict=False) if blind}
    ended = {
        cell
        for cell in claimed
        if cell in records and records[cell].finished and records[cell].updated < made - CLOCK_SECONDS
    }
    if not ended:
        return []
    what = f"claims to be blind to {len(ended)} cells that had ended before it, the first {min(ended)}"
    return [Fault(where=where, what=what)]


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(time: str) -> float:
    return datetime.datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.UTC).timestamp()


def _name(number: int) -> str:
    return f"{number:08d}.json"


def entries_to_json(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """What a list of the ledger shows of each entry."""
    return [
        {
            "number": one.number,
            "time": one.time,
            "laws": [law.law for law in one.laws],
            "failed": dict(one.failed),
            "targets": len(one),
            "forecasts": one.forecasts,
            "blind_targets": sum(one.blind),
            "blind": sum(one.blind) * len(one.laws),
            "rows": one.rows,
            "fingerprint": one.fingerprint,
            "question": one.digest,
            "hash": one.hash,
            "previous": one.previous,
        }
        for one in entries
    ]
