"""How long a fit takes: ours beside the solvers that one would pick instead, on one problem in one run.

    python benchmarks/fit_speed.py                     beside SciPy's TRF with our exact Jacobian
    python benchmarks/fit_speed.py --rival PYTHON      and KFAC, which the UNSL paper names; PYTHON: an interpreter with
                                                       kfac-jax (see fit_speed_kfac.py)
    python benchmarks/fit_speed.py --scale             what a fit costs against rows and columns, up to a million rows

The problem: UNSL with 20 parameters, 100 points in three inputs with one per cent of noise, 20 equal starts for all.
KFAC takes 20,000 steps a start; of a rival `--runs` of the 20 starts are run and the time is scaled. Also printed: the
additive law on 245 points under the Huber loss, and the whole procedure of selection on 300 points in three inputs.
The last line is the least of the rivals' times in units of ours.
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
GOAL = 3
# Rows and columns of `--scale`.
ROWS, COLUMNS = (100, 1_000, 10_000, 100_000, 1_000_000), (1, 2, 4)


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


def trust_region(form: UnslForm, z: dict, target: np.ndarray, starts: np.ndarray) -> tuple[float, float]:
    """(seconds a start, best objective) of SciPy's trust-region-reflective solver on the same residuals, the prior's
    rows among them, to its own default tolerances.
    """
    from scipy.optimize import least_squares

    share = 1.0 / math.sqrt(target.size)

    def residuals(raw: np.ndarray) -> np.ndarray:
        misfit = form.predict_log(raw[None, :], z)[0] - target
        return np.concatenate([share * misfit, math.sqrt(RIDGE) * raw])

    def jacobian(raw: np.ndarray) -> np.ndarray:
        slopes = form.evaluate(raw[None, :], z)[1][0]
        return np.concatenate([share * slopes.T, math.sqrt(RIDGE) * np.eye(raw.size)])

    began, best = time.perf_counter(), math.inf
    for start in starts:
        with np.errstate(all="ignore"):
            best = min(best, 2.0 * float(least_squares(residuals, start, jacobian, method="trf", max_nfev=400).cost))
    return (time.perf_counter() - began) / len(starts), best


def cost_of_size() -> None:
    """Seconds of the whole procedure with its default recipe, additive law and one of the ablations of UNSL."""
    rng = np.random.default_rng(4)
    print(f"{'rows':>9}  {'columns':>7}  {'cf, s':>8}  {'a1, s':>8}")
    for rows in ROWS:
        for columns in COLUMNS:
            x = {f"x{k}": np.exp(rng.uniform(0, 7, rows)) for k in range(columns)}
            y = (1 + sum(v**-0.4 for v in x.values())) * np.exp(0.01 * rng.standard_normal(rows))
            table = Table(inputs=x, y=y)
            seconds = [fit(law, table).seconds for law in ("cf", "a1")]
            print(f"{rows:>9}  {columns:>7}  {seconds[0]:>8.2f}  {seconds[1]:>8.2f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rival", metavar="PYTHON", help="an interpreter with kfac-jax")
    parser.add_argument("--runs", type=int, default=5, help="starts that a rival runs; its time is scaled to 20")
    parser.add_argument("--scale", action="store_true", help="print the cost against rows and columns, and stop")
    options = parser.parse_args()
    if options.scale:
        cost_of_size()
        return 0

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

    seconds, best = trust_region(form, z, target, starts[: options.runs])
    rival = seconds * STARTS
    print(f"  TRF    {rival:9.1f} s   objective: best {best:.6e} of {options.runs} starts; scaled from them")
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
        kfac, least = float(np.mean(answer["seconds"])) * STARTS, min(answer["losses"])
        print(f"  KFAC   {kfac:9.1f} s   objective: best {least:.6e} of {options.runs} starts; scaled from them")
        rival, best = min(rival, kfac), min(best, least)

    rng = np.random.default_rng(2)
    n, d = np.exp(rng.uniform(17, 23, 245)), np.exp(rng.uniform(20, 26, 245))
    y = (1.82 + 482 * n**-0.348 + 2085 * d**-0.366) * np.exp(0.005 * rng.standard_normal(245))
    points = Table(inputs={"N": n, "D": d}, y=y, ceiling=math.inf)
    additive, busy, _ = fastest(lambda: fit("cf", points, loss="huber", recipe=PLAIN), 5)
    print(f"additive law, 245 points, Huber, 8 starts: {additive:.3f} s, CPU {busy:.3f} s (goal 0.04 s)")
    whole, busy, _ = fastest(lambda: fit("unsl", table_of(300, seed=3)), 1)
    print(f"selection and fit of UNSL, 300 points, 3 inputs: {whole:.1f} s, CPU {busy:.1f} s (goal 3 s)")
    print(f"best objective, ours to the rivals': {objective.min() / best:.4f} (goal at most 1)")
    print(f"fit_speed: {rival / ours:.0f} (goal {GOAL})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
