"""experiments/rescaling.py from its grid to its last round, with the table and the figure of what came.

    python benchmarks/rescaling.py --rounds 6 --figure rescaling.png      half an hour on two busy cores
    python benchmarks/rescaling.py --rounds 0 --store runs                of rounds that are there already

Every round is a call of `unsl rescale`; what the target measures is run last, and no fit has seen it.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from pipeline import load_study
from pipeline.store import Round, Store

ROOT = Path(__file__).resolve().parent.parent


def unsl(*arguments: str) -> None:
    how = ("--executor", "inline", "--wandb", "off")
    subprocess.run([sys.executable, str(ROOT / "unsl.py"), *arguments, *how], check=False)


def truth(store: Store, target: dict[str, float]) -> np.ndarray:
    """What was measured at the target, by seed; empty where nothing was."""
    rows = store.table()
    if rows.empty:
        return np.zeros(0)
    return rows[np.all([rows[name] == value for name, value in target.items()], axis=0)]["loss"].to_numpy()


def line(one: Round, law: str, measured: np.ndarray) -> str:
    said = one.closed["knowledge"]["laws"][law]["said"][0]
    scores = {row["law"]: row for row in one.closed["scores"]}
    off = f"{math.log(measured.mean() / said['median']):+8.1%}" if measured.size else ""
    held = "-" if law not in scores else f"{scores[law]['held_50']:5.0%} {scores[law]['held_90']:5.0%}"
    error = "-" if law not in scores else f"{scores[law]['rmsle']:.4f}"
    return (
        f"{one.number:5} {len(one.cells):5} {one.closed['done']:5} {one.closed['spent'] * 3600:6.0f} s"
        f"{one.closed['knowledge']['rows']:7}   {law:5} {error:>7} {held:>11}   {said['median']:.4f} "
        f"({said['low']:.4f} to {said['high']:.4f}, ±{math.expm1(said['half']):6.1%}) {off}"
    )


def draw(rounds: list[Round], measured: np.ndarray, path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained", dpi=150)
    axes = figure.subplots()
    laws = list(rounds[0].facts["knowledge"]["laws"])
    knowledge = [rounds[0].facts["knowledge"], *(one.closed["knowledge"] for one in rounds)]
    for place, (law, color) in enumerate(zip(laws, ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), strict=False)):
        said = [one["laws"][law]["said"][0] for one in knowledge]
        x = np.arange(len(said)) + 0.12 * (place - (len(laws) - 1) / 2)
        median = np.array([one["median"] for one in said])
        ends = np.array([[one["low"], one["high"]] for one in said]).T
        axes.errorbar(x, median, yerr=np.abs(ends - median), fmt="o", color=color, capsize=3, label=law)
    if measured.size:
        axes.axhspan(measured.min(), measured.max(), color="0.85", zorder=0)
        axes.axhline(measured.mean(), color="0.35", lw=1, zorder=0, label=f"measured, {measured.size} seeds")
    axes.set(xlabel="rounds measured", ylabel="loss at the target", yscale="log", xticks=range(len(knowledge)))
    axes.yaxis.set_major_formatter("{x:.2g}")
    axes.yaxis.set_minor_formatter("{x:.2g}")
    figure.legend(loc="outside upper left", ncols=len(laws) + 1, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="runs")
    parser.add_argument("--tier", default="parity")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--figure")
    options = parser.parse_args()
    began, name = time.perf_counter(), str(ROOT / "experiments" / "rescaling.py")
    study, proof = load_study(name, options.tier), load_study(name, f"{options.tier}-truth")
    store = Store(options.store, study.name)
    for _ in range(2 * options.rounds + 1):  # A call that was stopped is made up for; growth may be over before.
        if sum(one.closed is not None for one in store.rounds()) >= options.rounds:
            break
        unsl("rescale", name, "--tier", options.tier, "--store", options.store)
    unsl("run", name, "--tier", f"{options.tier}-truth", "--store", options.store, "--no-forecast")
    rounds = [one for one in store.rounds() if one.closed is not None]
    (text,) = study.growth.targets
    target = {key.strip(): float(value) for key, value in (part.split("=") for part in text.split(","))}
    measured = truth(Store(options.store, proof.name), target)
    seconds = time.perf_counter() - began
    print(f"{study.name}: target {text}")
    if measured.size:
        print(f"measured there in the end: {measured.mean():.4f} ({measured.min():.4f} to {measured.max():.4f})")
    print("round cells  done   spent   rows   law     RMSLE  held 50 90%   foretold at the target, 90% (±)    off by")
    for one in rounds:
        for law in one.closed["knowledge"]["laws"]:
            print(line(one, law, measured))
        for alarm in one.closed["alarms"]:
            print(f"      alarm: {alarm}")
    if options.figure:
        draw(rounds, measured, options.figure)
    first, last = (math.expm1(one["laws"][rounds[0].facts["law"]]["said"][0]["half"]) for one in (
        rounds[0].facts["knowledge"], rounds[-1].closed["knowledge"]
    ))  # fmt: skip
    print(f"this call took {seconds:.0f} s")
    print(f"rescaling: {last / first:.2f} (goal below 1), the interval at the target after the rounds to that before")


if __name__ == "__main__":
    main()
