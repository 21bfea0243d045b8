"""What a rehearsal foretold, held against what then happened.

    python benchmarks/rehearsal.py --store runs --data DIR [--law cf] [--draws 50] [--processes 2]

    quickstart       the repository's own study, measured by `unsl run quickstart --store runs`
    teacher-student  real perceptrons with a known floor of 0.01 (github.com/mvigl/scaling-laws-demo), in DIR

Worlds are drawn from a law, the law is fitted to the places that the study fits, and its forecasts are held against
what the worlds measure at the places that it holds out: once with worlds from the law's prior, as before anything was
paid for; once from its fit of the small runs, as before the large ones were; and once from another law's fit of them,
since the world need not be as the fitted law supposes. Then come the forecast from the real small runs and the real
large ones. It agrees where the real figure lies within the 5% to 95% of what the draws gave. Last a line `rehearsal:
<share of figures that agree> (goal 1)`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas

from fitting import Fit, Table, fit
from pipeline import load_study
from pipeline.analysis import divide
from pipeline.forecasts import Targets, held_out_targets
from pipeline.plan import make_plan
from pipeline.rescale import rehearsal
from pipeline.rescale.grids import Grid
from pipeline.rescale.rehearsal import Came
from pipeline.rescale.truths import truths
from pipeline.store import Store

FLOOR = 0.01


@dataclass(frozen=True, kw_only=True)
class Case:
    """A study as its rehearsal sees it, and what was measured."""

    name: str
    asks: Any
    """Its `inputs` and `hyperparameters`."""
    grid: Grid
    targets: Targets
    losses: tuple[float, float]
    """What a person would expect at the best and the worst fitted point."""
    fitted: Table
    held_out: Table


def quickstart(store: str) -> Case:
    study = load_study("quickstart")
    kept = Store(store, study.name)
    divided = divide(study, kept.table())
    return Case(
        name="quickstart",
        asks=study,
        grid=rehearsal.grids(study, make_plan(study, kept).throughput)[0],
        targets=held_out_targets(study),
        losses=(0.33, 0.69),
        fitted=divided.fitted,
        held_out=divided.held_out,
    )


def teacher_student(data: str) -> Case:
    """The split that its README suggests: the largest data and widths are held out."""
    rows = pandas.read_csv(Path(data, "sweep_cosine.csv"))
    rows = rows[np.isfinite(rows["val_loss"]) & (rows["val_loss"] > 0)]
    outside = ((rows["D"] >= 1.6e7) | (rows["width"] >= 512)).to_numpy()
    columns = {name: rows[name].to_numpy(float) for name in ("N", "D")}
    group = rows.groupby(["N", "D"]).ngroup().to_numpy()

    def table(mask: np.ndarray) -> Table:
        inputs = {name: values[mask] for name, values in columns.items()}
        return Table(inputs=inputs, y=rows["val_loss"].to_numpy(float)[mask], group=group[mask])

    inside = {name: values[~outside] for name, values in columns.items()}
    count = int((~outside).sum())
    grid = Grid(name="as it is", columns=inside, run=np.arange(count), group=group[~outside], cells=count, seconds=0.0)
    there = {name: values[outside].tolist() for name, values in columns.items()}
    return Case(
        name="teacher-student",
        asks=SimpleNamespace(inputs=("N", "D"), hyperparameters=()),
        grid=grid,
        targets=Targets(columns=there, keys=(), evaluation=[""] * int(outside.sum())),
        losses=(2 * FLOOR, 1.0),
        fitted=table(~outside),
        held_out=table(outside),
    )


def foretold(case: Case, law: str, known: Fit | None, draws: int, processes: int) -> list[Came]:
    rng = np.random.default_rng(0)
    made = truths(case.asks, case.grid, case.targets, law=law, known=known, noise=None, losses=case.losses, rng=rng)
    tasks = [
        rehearsal.task(case.asks, case.grid, truth, case.targets, law=law, rng=rng)
        for truth in itertools.islice(made, draws)
    ]
    return [one for one in rehearsal.in_processes(tasks, processes) if one is not None]


def happened(case: Case, known: Fit) -> Came:
    """The forecast from the real small runs, and the real large ones."""
    wanted = {name: case.held_out.columns[name] for name in known.columns}
    said, log_y = known.uncertainty(wanted), np.log(case.held_out.y)
    inside = [[bool(low <= one <= high) for low, one, high in zip(*_ends(said, level, log_y), strict=True)]
              for level in (0.5, 0.9)]  # fmt: skip
    half = np.log(known.uncertainty(wanted).interval(0.9)[1]) - said.log_median
    return Came(grid="", error=log_y - said.log_median, half=half, held_50=inside[0], held_90=inside[1])


def _ends(said: Any, level: float, log_y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low, high = (np.log(end) for end in said.interval(level))
    return low, log_y, high


FIGURES = {
    "RMSLE": lambda one: float(np.sqrt(np.mean(np.square(one.error)))),
    "interval": lambda one: float(np.expm1(np.median(one.half))),
    "in 50%": lambda one: float(np.mean(one.held_50)),
    "in 90%": lambda one: float(np.mean(one.held_90)),
}


def compare(title: str, draws: Sequence[Came], real: Came) -> list[bool]:
    agree = []
    for name, figure in FIGURES.items():
        low, middle, high = np.quantile([figure(one) for one in draws], [0.05, 0.5, 0.95])
        came = figure(real)
        agree.append(bool(low <= came <= high))
        says = "agrees" if agree[-1] else "does not agree"
        print(f"  {title:10} {name:9} {middle:8.3f} ({low:.3f} to {high:.3f})   {came:8.3f}   {says}")
    return agree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="folder with the measured quickstart")
    parser.add_argument("--data", help="folder of sweep_cosine.csv")
    parser.add_argument("--law", default="cf")
    parser.add_argument("--truth", default="unsl", help="the other law")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    cases = ([quickstart(options.store)] if options.store else []) + (
        [teacher_student(options.data)] if options.data else []
    )
    agree: list[bool] = []
    for case in cases:
        began = time.perf_counter()
        toward = case.targets.numbers(case.grid.columns)
        known = fit(options.law, case.fitted, toward=toward)
        real = happened(case, known)
        print(
            f"{case.name}: {options.law}, {len(case.fitted)} points fitted and {len(case.held_out)} held out, "
            f"{options.draws} draws"
        )
        print("  worlds by  figure    foretold: median (5% to 95%)   happened")
        other = fit(options.truth, case.fitted, toward=toward)
        for title, source in (("prior", None), (options.law, known), (options.truth, other)):
            draws = foretold(case, options.law, source, options.draws, options.processes)
            agree += compare(title, draws, real)
        if case.name == "teacher-student" and "E" in known.coefficients:
            low, high = known.coefficient_intervals(0.9)["E"]
            print(f"  the floor is {FLOOR}; {options.law} says {known.coefficients['E']:.4f} ({low:.4f} to {high:.4f})")
        print(f"  {time.perf_counter() - began:.0f} s")
    print(f"rehearsal: {sum(agree) / len(agree):.2f} (goal 1)")


if __name__ == "__main__":
    main()
