"""What a design saves: public tables replayed, measurement by measurement, under six ways to choose the next one.

    python benchmarks/design.py --data DIR              DIR: one folder a table; 20 seeds, hours on two cores
    python benchmarks/design.py --data DIR --seeds 3    in small

A replay begins with the cheapest rows of a table's pool, within 2% of what the whole pool cost. From then on a rule
chooses, and the labels of what it chose are uncovered, until 5, 10, 20 and 50% of the cost are spent; the law is then
fitted to what is uncovered and scored on the table's test rows, which lie beyond the pool. Each seed replays another
nine tenths of the pool, so that every rule has a spread. No rule sees a label that is not paid for: candidates are
columns and costs, and noise is what the fit says of it.

    target      variance at the test rows' columns per cost (`fitting.design`)
    at its word likewise, without the fading of what is far from the test rows
    V-optimal   variance over the pool per cost
    D-optimal   volume of what is not known per cost
    cheapest    the cheapest first
    random      any

The last line is the share of tables on which `target` at 10% of the cost errs no more than all data do.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas

from fitting import Fit, FitStatus, FittingError, Table, design, fit
from fitting.design import Field, by_cell

SHARES = (0.05, 0.1, 0.2, 0.5)
START = 0.02
"""Of the cost, spent on the cheapest rows before a rule decides."""
LEAST_ROWS = 12
"""That are uncovered at the start whatever they cost: with fewer no law of several inputs can be fitted."""
DECISIONS = 3
"""Fits between two shares of the cost."""
GROWTH_SIZE, GROWTH_GOAL = 1_000, 5.0
"""Candidates of one step, and seconds that it may take."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A public table with its split: rows that may be bought, and rows that are to be foretold."""

    columns: Mapping[str, np.ndarray]
    hyperparameters: tuple[str, ...]
    y: np.ndarray
    cost: np.ndarray
    test: np.ndarray

    def table(self, rows: np.ndarray) -> Table:
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Table(
            inputs={name: values for name, values in columns.items() if name not in self.hyperparameters},
            hyperparameters={name: columns[name] for name in self.hyperparameters},
            y=self.y[rows],
        )

    @property
    def target(self) -> dict[str, np.ndarray]:
        return {name: values[self.test] for name, values in self.columns.items()}


def read(path: Path, inputs: str, y: str, cost: Callable, *, hyperparameters: str = "", rows: Callable | None = None):
    """A pool from a CSV with a column `split`, or with a rule that says which rows are the test."""
    frame = pandas.read_csv(path)
    test = (frame["split"] == "test") if rows is None else rows(frame)
    names = [*inputs.split(), *hyperparameters.split()]
    frame = frame.assign(_test=test, _cost=cost(frame)).dropna(subset=[*names, y])
    return Pool(
        columns={name: frame[name].to_numpy(float) for name in names},
        hyperparameters=tuple(hyperparameters.split()),
        y=frame[y].to_numpy(float),
        cost=frame["_cost"].to_numpy(float),
        test=frame["_test"].to_numpy(bool),
    )


def pools(data: Path) -> dict[str, Callable[[], Pool]]:
    extra, bench = data / "scalebench-extra", data / "sldbench"
    return {
        "farseer": lambda: read(extra / "farseer.csv", "N D", "loss", lambda t: 6 * t.N * t.D),
        "chinchilla": lambda: read(extra / "chinchilla.csv", "N D", "loss", lambda t: 6 * t.N * t.D),
        "sparsity": lambda: read(
            extra / "sparsity.csv",
            "N_dense N_active D1 D2",
            "loss",
            lambda t: 6 * t.N_dense * t.D1 + 6 * t.N_active * t.D2,
        ),
        "data-constrained": lambda: read(
            bench / "data_constrained.csv", "params tokens unique_tokens", "loss", lambda t: 6 * t.params * t.tokens
        ),
        "datablations": lambda: read(
            data / "datablations" / "datablations.csv",
            "N tokens unique_tokens",
            "val_loss",
            lambda t: 6 * t.N * t.tokens,
            rows=lambda t: t.N >= 2.8e9,
        ),
        "lr_bsz": lambda: read(
            bench / "lr_bsz.csv",
            "data_size non_embedding_param_size",
            "lm_loss",
            lambda t: 6 * t.data_size * t.non_embedding_param_size,
            hyperparameters="lr bsz",
        ),
        "steplaw-dense": lambda: read(
            data / "steplaw-dense" / "steplaw_dense.csv",
            "N D",
            "smooth_loss",
            lambda t: 6 * t.N * t.D,
            hyperparameters="lr batch_seqs",
            rows=lambda t: t.N > 1e9,
        ),
    }


def by_target(
    pool: Pool, found: Fit, left: np.ndarray, budget: float, rng: np.random.Generator, **how: float
) -> np.ndarray:
    columns = {name: values[left] for name, values in pool.columns.items()}
    said = {"cell": np.arange(left.size), "cost": pool.cost[left], "target": pool.target, "budget": budget}
    return left[[pick.candidate for pick in design(found, columns, **said, **how).picks]]


def at_its_word(pool: Pool, found: Fit, left: np.ndarray, budget: float, rng: np.random.Generator) -> np.ndarray:
    return by_target(pool, found, left, budget, rng, fade=0.0)


def by_variance(pool: Pool, found: Fit, left: np.ndarray, budget: float, rng: np.random.Generator) -> np.ndarray:
    over = {name: values[~pool.test] for name, values in pool.columns.items()}
    return _greedy(pool, found, left, budget, lambda field, rows: field.gains(rows, field.features(over)))


def by_volume(pool: Pool, found: Fit, left: np.ndarray, budget: float, rng: np.random.Generator) -> np.ndarray:
    return _greedy(pool, found, left, budget, lambda field, rows: field.information(rows))


def _greedy(pool: Pool, found: Fit, left: np.ndarray, budget: float, gain: Callable) -> np.ndarray:
    field = Field(found)
    columns = {name: pool.columns[name][left] for name in found.columns}
    rows = by_cell(field.features(columns), np.arange(left.size), left.size)[:, :1]
    free, chosen = np.ones(left.size, bool), []
    while (open_ := np.flatnonzero(free & (pool.cost[left] <= budget))).size:
        best = open_[int(np.argmax(gain(field, rows[open_]) / pool.cost[left][open_]))]
        field.measure(rows[best])
        free[best], budget = False, budget - pool.cost[left][best]
        chosen.append(best)
    return left[chosen]


def cheapest(pool: Pool, found: Fit, left: np.ndarray, budget: float, rng: np.random.Generator) -> np.ndarray:
    order = left[np.argsort(pool.cost[left], kind="stable")]
    return order[np.cumsum(pool.cost[order]) <= budget]


def at_random(pool: Pool, found: Fit, left: np.ndarray, budget: float, rng: np.random.Generator) -> np.ndarray:
    chosen = []
    for row in rng.permutation(left):
        if pool.cost[row] <= budget:
            chosen.append(row)
            budget -= pool.cost[row]
    return np.array(chosen, int)


RULES = {
    "target": by_target,
    "at its word": at_its_word,
    "V-optimal": by_variance,
    "D-optimal": by_volume,
    "cheapest": cheapest,
    "random": at_random,
}


def replay(pool: Pool, rule: Callable, law: str, seed: int) -> dict[float, tuple[float, float]]:
    """RMSLE and R2 on the test rows at each share of the cost."""
    rng = np.random.default_rng(seed)
    bought_from = np.flatnonzero(~pool.test)
    bought_from = rng.permutation(bought_from)[: int(0.9 * bought_from.size)]
    whole = float(pool.cost[bought_from].sum())
    order = bought_from[np.argsort(pool.cost[bought_from], kind="stable")]
    within = int((np.cumsum(pool.cost[order]) <= START * whole).sum())
    known = order[: max(within, LEAST_ROWS)]
    scores = {}
    before = START
    for share in SHARES:
        for step in range(1, DECISIONS + 1):
            until = (before + (share - before) * step / DECISIONS) * whole
            left = np.setdiff1d(bought_from, known)
            budget = until - float(pool.cost[known].sum())
            if left.size and budget > 0:
                found = fitted(pool, known, law) if rule not in (cheapest, at_random) else None
                choice = cheapest if found is None and rule not in (cheapest, at_random) else rule
                known = np.concatenate([known, choice(pool, found, left, budget, rng)])
        scores[share] = score(pool, known, law)
        before = share
    return scores


def fitted(pool: Pool, rows: np.ndarray, law: str) -> Fit | None:
    try:
        found = fit(law, pool.table(rows), toward=pool.target)
    except FittingError:
        return None
    return None if found.status is FitStatus.FAILED else found


def score(pool: Pool, rows: np.ndarray, law: str) -> tuple[float, float]:
    found = fitted(pool, rows, law)
    y = pool.y[pool.test]
    if found is None:
        return np.nan, -1.0
    said = found.predict({name: pool.target[name] for name in found.columns})
    error = float(np.sqrt(np.mean(np.log(said / y) ** 2)))
    return error, float(np.clip(1 - ((said - y) ** 2).sum() / ((y - y.mean()) ** 2).sum(), -1, 1))


def one_step(law: str) -> float:
    """Seconds of CPU of one step over many candidates."""
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(0, 5, 200)) * 1e6, np.exp(rng.uniform(0, 5, 200)) * 1e8
    y = (1.7 + 400 / n**0.34 + 400 / d**0.28) * np.exp(0.005 * rng.standard_normal(200))
    found = fit(law, Table(inputs={"N": n, "D": d}, y=y))
    places = {"N": np.repeat(np.exp(rng.uniform(4, 7, GROWTH_SIZE)) * 1e6, 6)}
    places["D"] = np.repeat(np.exp(rng.uniform(4, 7, GROWTH_SIZE)) * 1e8, 6)
    cells = np.repeat(np.arange(GROWTH_SIZE), 6)
    began = time.process_time()
    cost = places["N"][::6] * places["D"][::6]
    design(found, places, cell=cells, cost=cost, target={"N": np.array([1e9]), "D": np.array([1e11])}, most=8)
    return time.process_time() - began


def shown(values: list[float]) -> str:
    values = [value for value in values if np.isfinite(value)]
    if not values:
        return "-"
    half = 1.645 * np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{np.mean(values):.4f}±{half:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--law", default="unsl")
    parser.add_argument("--tables", help="some of them, separated by commas")
    options = parser.parse_args()
    for law in ("cf", "unsl"):
        print(f"one step over {GROWTH_SIZE:,} cells of six rows, eight chosen, by {law}: {one_step(law):.1f} s of CPU")
    print(f"goal: {GROWTH_GOAL:g} s\n", flush=True)
    kept = []
    for name, make in pools(options.data).items():
        if options.tables and name not in options.tables.split(","):
            continue
        pool, began = make(), time.perf_counter()
        everything = score(pool, np.flatnonzero(~pool.test), options.law)
        print(
            f"{name}: {int((~pool.test).sum())} rows in the pool, {int(pool.test.sum())} to foretell; all data by "
            f"{options.law}: RMSLE {everything[0]:.4f}, R2 {everything[1]:.3f}"
        )
        print(f"  {'':11} " + "".join(f"{share:>18.0%}" for share in SHARES) + "   RMSLE, mean and 90% interval")
        errors = {}
        for rule, choose in RULES.items():
            runs = [replay(pool, choose, options.law, seed) for seed in range(options.seeds)]
            errors[rule] = {share: [run[share][0] for run in runs] for share in SHARES}
            r2 = np.mean([run[SHARES[-1]][1] for run in runs])
            print(
                f"  {rule:11} " + "".join(f"{shown(errors[rule][share]):>18}" for share in SHARES) + f"   R2 {r2:.2f}",
                flush=True,
            )
        kept.append(float(np.nanmean(errors["target"][0.1])) <= everything[0])
        print(f"  {time.perf_counter() - began:.0f} s\n", flush=True)
    print(f"design: {np.mean(kept):.2f} (goal 1), the share of tables where a tenth of the cost errs no more than all")


if __name__ == "__main__":
    main()
