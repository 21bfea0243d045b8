"""How long forecasting takes as it grows: targets of an entry, an allocation's budgets, a ledger that is checked.

    python benchmarks/forecasts.py                    some three minutes on two cores
    python benchmarks/forecasts.py --data DIR         and what allocation gives on public tables (DIR: one folder each)

Seconds are those of the process's CPU, so that other work on the machine does not count; files are on the local disk.
Goals: 10,000 targets in a second after the fit; 20 budgets with intervals in five; 100,000 forecasts verified and
scored in five. A ledger of as many entries of one forecast each, as nobody writes, is measured too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas

from fitting import PLAIN, Fit, Metric, Table, allocate, fit
from pipeline.analysis import Question
from pipeline.forecasts import Entry, Fitted, LawForecast, Targets, check_ledger, make_entry
from pipeline.forecasts.making import question_to_json
from pipeline.store import Store

SIZES = (1_000, 10_000, 100_000)
GOALS = {"targets": (10_000, 1.0), "budgets": (20, 5.0), "checked": (100_000, 5.0)}
LAWS = ("m2", "cf", "bnsl", "unsl")
TARGETS_AN_ENTRY = 1_600
"""As the quickstart has."""
NO_FIT = "e3b0c44298fc1c149afbf4c8996fb924"
"""Name of a fit of which nothing is kept."""


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU of the faster of two runs."""
    best = float("inf")
    for _ in range(2):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def measured_table(rows: int = 300) -> Table:
    """Two inputs and a learning rate with an optimum."""
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(0, 5, rows)) * 1e6, np.exp(rng.uniform(0, 5, rows)) * 1e8
    lr = np.exp(rng.uniform(-3, 3, rows)) * 1e-3
    y = 1.7 + 400 / n**0.34 + 400 / d**0.28 + 0.03 * (lr / 1e-3 + 1e-3 / lr)
    noise = np.exp(0.005 * rng.standard_normal(rows))
    return Table(inputs={"N": n, "D": d}, hyperparameters={"lr": lr}, y=y * noise)


def of_targets(found: Fit, table: Table, count: int) -> Callable[[], object]:
    rng = np.random.default_rng(1)
    columns = {
        name: (values.max() * np.exp(rng.uniform(0, 2, count))).tolist() for name, values in table.columns.items()
    }
    question = Question(about="a table", metric=Metric(name="loss"), inputs=("N", "D"), hyperparameters=("lr",))
    targets = Targets(columns=columns, keys=tuple(columns), evaluation=[""] * count)
    fitted = Fitted(question=question, table=table, fits={"unsl": found}, failed={})
    return lambda: make_entry("a table", fitted, targets, blind=np.ones(count, bool)).to_bytes()


def ledger_of(folder: Path, forecasts: int, *, an_entry: int) -> tuple[Store, pandas.DataFrame]:
    """A chain of entries and a measurement of each of their targets."""
    store = Store(str(folder), f"ledger-{forecasts}-{an_entry}")
    path = Path(store.folder.path()) / "ledger"
    path.mkdir(parents=True)
    an_entry = min(an_entry, forecasts)
    laws = LAWS[: min(len(LAWS), an_entry)]
    each = max(1, an_entry // len(laws))
    question = question_to_json(Question(about="t", metric=Metric(name="loss"), inputs=("size",)))
    rng, previous, sizes = np.random.default_rng(0), "", []
    for number in range(1, forecasts // (each * len(laws)) + 1):
        size = (10.0 + each * number + np.arange(each)).tolist()
        sizes += size
        entry = Entry(
            **{"number": number, "previous": previous, "time": "2026-01-01T00:00:00.000000Z"},
            **{"about": "t", "question": question, "rows": 10, "fingerprint": str(number), "assumed": {}, "code": {}},
            **{"ranges": {"size": [1.0, 8.0]}, "keys": ["size"], "targets": {"size": size}},
            **{"evaluation": [""] * each, "blind": [True] * each},
            laws=tuple(law_of(law, rng.uniform(1, 2, each)) for law in laws),
        )
        (path / f"{number:08d}.json").write_bytes(entry.to_bytes())
        previous = entry.hash
    store.folder.create(f"fits/{NO_FIT}.json", b"")
    return store, pandas.DataFrame({"size": sizes, "loss": rng.uniform(1, 2, len(sizes))})


def law_of(law: str, median: np.ndarray) -> LawForecast:
    columns = {name: median.tolist() for name in ("median", "low_50", "high_50", "low_90", "high_90")}
    scale = [0.1] * median.size
    facts = {"status": "converged", "equation": "e + b x^-c", "coefficients": {"e": 1.0, "b": 2.0, "c": 0.5}}
    return LawForecast(law=law, fit=NO_FIT, scale=scale, freedom=8.0, **facts, **columns)


def growth(name: str, unit: str, sizes: tuple[int, ...], work: Callable[[int], Callable[[], object]]) -> float:
    """Print seconds by size; the ratio to the goal at the goal's size."""
    at, goal = GOALS[name]
    seconds = {size: cpu(work(size)) for size in sizes}
    print(f"{name:9}" + "".join(f"  {size:>7,} {unit}: {value:7.3f} s" for size, value in seconds.items()), flush=True)
    return seconds[at] / goal


def public(data: Path) -> None:
    """Chinchilla's points by three approaches: exponents of the optimum in the budget."""
    rows = pandas.read_csv(data / "chinchilla-epoch" / "chinchilla.csv")
    table = Table(inputs={"N": rows.N.to_numpy(), "D": rows.D.to_numpy()}, y=rows.loss.to_numpy())
    budgets = np.geomspace(1e20, 1e22, 5)
    parametric = fit("cf", table, loss="huber", recipe=PLAIN)
    for name, found in (
        ("approach 3 (cf, Huber, as published)", parametric),
        ("approach 3 by unsl", fit("unsl", table)),
    ):
        slope = allocate(found, "6 * N * D", budgets).exponents["N"]
        print(f"  {name}: N grows as C^{slope[0]:.3f} (90%: {slope[1]:.3f} to {slope[2]:.3f})", flush=True)
    flops = rows.C.to_numpy()
    slices = np.exp(np.round(np.log(flops) * 2) / 2)
    best = []
    for level in np.unique(slices):
        one = rows[slices == level]
        if len(one) >= 6 and np.ptp(np.log(one.N)) > 1.5:
            a, b, _ = np.polyfit(np.log(one.N), one.loss, 2)
            if a > 0 and one.N.min() < np.exp(-b / 2 / a) < one.N.max():
                best.append((np.log(one.C.mean()), -b / 2 / a))
    x, y = np.array(best).T
    print(f"  approach 2 (parabola an isoFLOP slice, {len(x)} slices): N grows as C^{np.polyfit(x, y, 1)[0]:.3f}")
    order = np.argsort(flops)
    least = np.minimum.accumulate(rows.loss.to_numpy()[order])
    envelope = order[rows.loss.to_numpy()[order] <= least]
    slope = np.polyfit(np.log(flops[envelope]), np.log(rows.N.to_numpy()[envelope]), 1)[0]
    print(f"  approach 1 (envelope of all points, {envelope.size} of them): N grows as C^{slope:.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="public tables, one folder each")
    options = parser.parse_args()
    table = measured_table()
    began = time.process_time()
    found = fit("unsl", table)
    print(f"unsl on {len(table)} rows: fitted in {time.process_time() - began:.1f} s")
    ratios = [growth("targets", "targets", SIZES, lambda count: of_targets(found, table, count))]

    def budgets(count: int) -> Callable[[], object]:
        return lambda: allocate(found, "6 * N * D", np.geomspace(1e16, 1e20, count))

    ratios.append(growth("budgets", "budgets", (1, 5, 20), budgets))
    with tempfile.TemporaryDirectory() as folder:

        def checked(an_entry: int) -> Callable[[int], Callable[[], object]]:
            def of(count: int) -> Callable[[], object]:
                store, rows = ledger_of(Path(folder), count, an_entry=an_entry)
                return lambda: check_ledger(store, rows).to_json()

            return of

        ratios.append(growth("checked", "forecasts", SIZES, checked(TARGETS_AN_ENTRY * len(LAWS))))
        growth("checked", "entries", SIZES, checked(1))
    if options.data:
        print("Chinchilla's points, C = 6 N D")
        public(options.data)
    print(f"forecasts: {max(ratios):.2f} (goal 1)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
