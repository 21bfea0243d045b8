"""What a store costs as it grows: to open, to look at again, to read as a table and to resume; on a disk and on S3.

    python benchmarks/store.py                        some ten minutes on two cores
    python benchmarks/store.py --cells 100,1000 --points 100000

Each store is what a driver leaves that committed every ten cells and was killed: nine cells of ten are done, one of a
hundred failed, the others are under way. Tables of many points are stores of finished cells with long curves. Each
measurement is a process of its own: seconds without the start of Python, its most memory beyond what it has after its
imports, and how often it asked the S3 server (moto on loopback, so seconds there are mostly that server's).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from pipeline import Axis, Metric, Split, Study
from pipeline.plan import make_plan
from pipeline.store import Ended, Event, Failed, Failure, History, Measured, Store, Writer
from pipeline.store import points as files
from trainers import Ending, Point

NAME = "growth"
TOGETHER = 10
"""Cells that are committed together."""
CURVE = 10
"""Points of a cell."""
LONG_CURVE = 1_000
FILE_ROWS = 1_000_000
RESUME_SECONDS, RESUME_REQUESTS, TABLE_SECONDS, TABLE_MIB = 10, 100, 10, 2048
WORK = ("open", "again", "table", "resume")


def study_of(cells: int) -> Study:
    return Study(
        name=NAME,
        trainer="oracle",
        axes=[Axis("parameters", tuple(range(1_000, 1_000 + cells)))],
        metric=Metric(name="loss"),
        inputs=("parameters", "step"),
        split=Split(held_out="parameters > 1500"),
        laws=("cf",),
    )


def curve(cell: str, points: int) -> list[Measured]:
    return [
        Measured(
            cell=cell,
            point=Point(cell=0, step=step, metrics={"loss": 1 / step}, examples=step, flops=1.0 * step, seconds=0.1),
        )
        for step in range(1, points + 1)
    ]


def fill(cells: int, root: str) -> None:
    """A driver that committed every few cells, and was killed."""
    study = study_of(cells)
    with Writer.open(Store(root, NAME)) as writer:
        for first in range(0, cells, TOGETHER):
            some = study.cells[first : first + TOGETHER]
            *done, last = (cell.id for cell in some)
            events: list[Event] = [event for cell in done for event in curve(cell, CURVE)]
            events += [Ended(cell=cell, step=CURVE, ending=Ending.DONE) for cell in done]
            events += curve(last, CURVE // 2)
            if first // TOGETHER % 10 == 0:
                events.append(Failed(cell=last, failure=Failure.BUG, message="no", traceback="no " * 300))
            writer.begin(some, device="cpu")
            writer.append(events)
            writer.commit()
        sys.stdout.flush()
        os._exit(0)


def fill_long(points: int, root: str) -> None:
    """Finished cells with long curves, in files as large as they are merged to."""
    study, folder = study_of(max(points // LONG_CURVE, 1)), Store(root, NAME).folder
    with Writer.open(Store(root, NAME)):
        pass
    each = FILE_ROWS // LONG_CURVE
    for number, first in enumerate(range(0, len(study.cells), each)):
        histories = []
        for cell in study.cells[first : first + each]:
            history = History(
                description={
                    **{"id": cell.id, "trainer": cell.trainer, "version": cell.version, "config": cell.config},
                    **{"columns": cell.columns, "flops_per_step": cell.counts.flops_per_step, "device": "cpu"},
                }
            )
            for event in [*curve(cell.id, LONG_CURVE), Ended(cell=cell.id, step=LONG_CURVE, ending=Ending.DONE)]:
                history.take(event)
            histories.append(history)
        folder.write(f"points/e00000001-{number:08d}-benchmark.parquet", files.write_cells(histories)[0])


def work(what: str, cells: int, root: str) -> None:
    """One measurement, in this process."""
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import s3fs  # noqa: F401

    store, study = Store(root, NAME), study_of(cells)
    _ = study.cells
    if what == "again":
        store.records()
        ask("counted")
    before, began = memory(), time.perf_counter()
    if what == "resume":
        with Writer.open(store):
            found = len(make_plan(study, store).to_run(retry_failed=False))
            report(what, found, began, before)
            os._exit(0)
    found = len(store.table()) if what == "table" else len(store.records())
    report(what, found, began, before)


def report(what: str, found: int, began: float, before: float) -> None:
    seconds = time.perf_counter() - began
    print(json.dumps({"what": what, "found": found, "seconds": seconds, "mib": memory() - before}), flush=True)


def ask(what: str) -> None:
    """Let the parent count from here."""
    print(json.dumps({"what": what}), flush=True)
    sys.stdin.readline()


def memory() -> float:
    """The most memory that this process has had, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(what: str, cells: int, root: str, server: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", what, str(cells), root]
    requests = sum(server.requests.values())
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        said = json.loads(line)
        if said["what"] == "counted":
            requests = sum(server.requests.values())
            child.stdin.write("\n")
            child.stdin.flush()
            continue
        child.wait()
        return {**said, "requests": sum(server.requests.values()) - requests}
    raise SystemExit(f"{what} of {cells} cells failed")


def upload(folder: str, root: str) -> None:
    """A store from the disk to the server."""
    import fsspec

    filesystem, path = fsspec.url_to_fs(root, use_listings_cache=False)
    filesystem.put(f"{folder}/", f"{path}/", recursive=True)


def rows_for(cells: int, points: int, disk: str, server: Any, kinds: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for place in ("disk", "S3"):
        for what in kinds:
            root = tempfile.mkdtemp(dir=os.path.dirname(disk)) if place == "disk" else f"s3://studies/{time.time_ns()}"
            # Each works on a store of its own, since to resume is to change it.
            if place == "disk":
                shutil.copytree(disk, root, dirs_exist_ok=True)
            else:
                upload(disk, root)
            measured = measure(what, cells, root, server)
            found.append({"place": place, "cells": cells, "points": points, **measured})
            print_row(found[-1], len(os.listdir(f"{disk}/{NAME}/points")))
            if place == "disk":
                shutil.rmtree(root)
    return found


def print_row(row: dict[str, Any], files: int) -> None:
    requests = f"{row['requests']:10,}" if row["place"] == "S3" else f"{'':10}"
    print(
        f"{row['place']:6}{row['cells']:8,}{row['points']:12,}{files:7,}  {row['what']:8}"
        f"{row['seconds']:9.2f}{requests}{row['mib']:9.0f}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="100,1000,10000", help="sizes of killed studies")
    parser.add_argument("--points", default="1000000,10000000", help="sizes of tables")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, count, root = options.child
        make = {"fill": fill, "fill long": fill_long}.get(what)
        make(int(count), root) if make else work(what, int(count), root)
        return 0

    from s3_server import S3Server

    folder = tempfile.mkdtemp(prefix="unsl-store-")
    print(f"{'':6}{'cells':>8}{'points':>12}{'files':>7}  {'':8}{'seconds':>9}{'requests':>10}{'MiB':>9}")
    found: list[dict[str, Any]] = []
    try:
        with S3Server.running() as server:
            for cells in map(int, options.cells.split(",")):
                disk = f"{folder}/{cells}"
                subprocess.run([sys.executable, __file__, "--child", "fill", str(cells), disk], check=True)
                found += rows_for(cells, cells * CURVE, disk, server, WORK)
            for points in map(int, options.points.split(",")):
                disk = f"{folder}/long-{points}"
                subprocess.run([sys.executable, __file__, "--child", "fill long", str(points), disk], check=True)
                found += rows_for(max(points // LONG_CURVE, 1), points, disk, server, ("open", "table"))
    finally:
        shutil.rmtree(folder)
    resumed = [row for row in found if row["what"] == "resume" and row["place"] == "S3"][-1]
    table = [row for row in found if row["what"] == "table" and row["place"] == "disk"][-1]
    shares = {
        "seconds to resume": resumed["seconds"] / RESUME_SECONDS,
        "requests to resume": resumed["requests"] / RESUME_REQUESTS,
        "seconds of the table": table["seconds"] / TABLE_SECONDS,
        "memory of the table": table["mib"] / TABLE_MIB,
    }
    worst = max(shares, key=shares.get)
    print(f"\nof what they may cost, {worst} take most")
    print(f"store: {shares[worst]:.3g} (goal 1)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
