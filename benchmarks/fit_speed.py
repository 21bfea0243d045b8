"""How long a fit takes: ours beside KFAC, the optimiser that the UNSL paper names, on one problem in one run.

    python benchmarks/fit_speed.py --rival PYTHON      PYTHON: an interpreter with kfac-jax (see fit_speed_kfac.py)
    python benchmarks/fit_speed.py                     without it the rival's measurement on record is used, and marked

The problem: UNSL with 20 parameters, 100 points in three inputs with one per cent of noise, 20 equal starts for both.
KFAC takes 20,000 steps a start; `--runs` of the 20 starts are run and the time is scaled. Also printed: the additive
law on 245 points under the Huber loss, and the whole procedure of selection on 300 points in three inputs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy: its threads would fight over matrices of 20 x 20
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from fitting import PLAIN, Frame, Table, fit
from fitting.laws.unsl import Shape, UnslForm
from fitting.solver import solve

STARTS, STEPS, RIDGE = 20, 20_000, 1e-7
GOAL = 100
# Seconds for one start of 20,000 steps with kfac-jax 0.0.8 on two cores of a CPU.
ON_RECORD = 14.3


def table_of(rows: int, seed: int) -> Table:
    """Three inputs over three decades each; a sum of power laws with a break, an overfitting term and noise."""
    rng = np.random.default_rng(seed)
    n, d, s = (np.exp(rng.uniform(0, 7, rows)) * scale for scale in (1e6, 1e7, 1e3))
    y = 1.7 + 300 * n**-0.34 + 900 * d**-0.37 + 60 * s**-0.6 * (1 + (s / 3e4)) ** 0.3 + 1e-4 * (n * s / d) ** 0.5
    y *= np.exp(0.01 * rng.standard_normal(rows))
    return Table(inputs={"N": n, "D": d, "S": s}, y=y)


def fastest(work: Callable[[], object], repeats: int) -> tuple[float, float, object]:
    """(seconds, seconds of CPU, result) of the fastest of several runs: the others waited for something else."""
    wall, cpu, result = math.inf, math.inf, None
    for _ in range(repeats):
        began, busy = time.perf_counter(), time.process_time()
        result = work()
        wall, cpu = min(wall, time.perf_counter() - began), min(cpu, time.process_time() - busy)
    return wall, cpu, result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rival", metavar="PYTHON", help="an interpreter with kfac-jax")
    parser.add_argument("--runs", type=int, default=2, help="starts that the rival runs; its time is scaled to 20")
    options = parser.parse_args()

    table = table_of(100, seed=0)
    frame = Frame.from_table(table)
    form = UnslForm(frame=frame, shape=Shape(breaks=(1, -1), opposing=1, ceiling=True))
    z, target = frame.coordinates(table.columns), np.log(table.y)
    starts = np.random.default_rng(1).standard_normal((STARTS, form.size))
    starts[0] = 0.0

    def path() -> np.ndarray:
        raw = starts
        for ridge, budget in ((1e-3, 60), (1e-5, 60), (RIDGE, 400)):
            solution = solve(form, z, target, raw, ridge=ridge, budget=budget, gain=1e-8)
            raw = solution.raw
        return solution.objective

    ours, busy, objective = fastest(path, 3)
    assert isinstance(objective, np.ndarray)
    print(f"{form.size} parameters, {len(table)} points, {STARTS} starts")
    losses = f"objective: best {objective.min():.6e}, median {np.median(objective):.6e}"
    print(f"  ours   {ours:9.3f} s (CPU {busy:.3f} s)   {losses}")

    rival, best = ON_RECORD * STARTS, math.nan
    if options.rival:
        problem = {
            "z": np.stack([z[name] for name in frame.inputs], axis=1).tolist(),
            "half": [frame.half[name] for name in frame.inputs],
            "low": frame.low,
            "middle": frame.middle,
            "high": frame.high,
            "target": target.tolist(),
            "starts": starts.tolist(),
            "ridge": RIDGE,
            "steps": STEPS,
            "runs": options.runs,
        }
        script = Path(__file__).with_name("fit_speed_kfac.py")
        try:
            done = subprocess.run([options.rival, script], input=json.dumps(problem), capture_output=True, text=True)
        except OSError as error:
            print(f"{options.rival} cannot be run ({error}); name an interpreter with kfac-jax", file=sys.stderr)
            return 2
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return 1
        answer = json.loads(done.stdout)
        same = np.abs(np.array(answer["log_y"]) - form.predict_log(starts[:1], z)[0]).max()
        if same > 1e-9:
            print(f"the two programs do not fit the same formula: ln y differs by {same:.2g}", file=sys.stderr)
            return 1
        rival, best = float(np.mean(answer["seconds"])) * STARTS, min(answer["losses"])
        print(f"  KFAC   {rival:9.1f} s   objective: best {best:.6e} of {options.runs} starts; scaled from them")
    else:
        print(f"  KFAC   {rival:9.1f} s   on record, on an idle machine, so against our CPU time; see --rival")
        ours = busy

    rng = np.random.default_rng(2)
    n, d = np.exp(rng.uniform(17, 23, 245)), np.exp(rng.uniform(20, 26, 245))
    y = (1.82 + 482 * n**-0.348 + 2085 * d**-0.366) * np.exp(0.005 * rng.standard_normal(245))
    points = Table(inputs={"N": n, "D": d}, y=y, ceiling=math.inf)
    additive, busy, _ = fastest(lambda: fit("cf", points, loss="huber", recipe=PLAIN), 5)
    print(f"additive law, 245 points, Huber, 8 starts: {additive:.3f} s, CPU {busy:.3f} s (goal 0.1 s)")
    whole, busy, _ = fastest(lambda: fit("unsl", table_of(300, seed=3)), 1)
    print(f"selection and fit of UNSL, 300 points, 3 inputs: {whole:.1f} s, CPU {busy:.1f} s (goal 30 s)")
    if not math.isnan(best):
        print(f"best objective, ours to KFAC's: {objective.min() / best:.4f} (goal at most 1)")
    print(f"fit_speed: {rival / ours:.0f} (goal {GOAL})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
