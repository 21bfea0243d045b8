"""What stopping hopeless hyperparameters saves and what it costs: learning curves replayed under five ways to stop.

    python benchmarks/halving.py                  the project's own points: experiments/paper, and a study run here
    python benchmarks/halving.py --data DIR       and the public ones: DIR/procgen-ppg-hparams, DIR/steplaw-dense

Runs are paused at the measurements nearest to a quarter and a half of their steps (`unsl run --halve 2`), and a rule
that sees what is measured by then says which settings of a scale are not carried on. A setting is stopped with all its
seeds. Then each scale's best setting is picked from those that ran to their end.

    law         foretold to end above the best, by the intervals of a law: what `unsl run --halve` does
    rank        behind the best by more than seeds differ, and in the worse half: what it does where no law is fitted
    halving     the better half is kept at every rung, whatever it looks like (successive halving, eta 2)
    current     the worst by current loss, as many as `law` (by unsl) stops at the same rungs of the same scales
    asha        the same share, but settings come to a rung in an order drawn at random and go on as soon as they are
                among the best of those that came; later ones may let them through too
    random      as many, drawn at random

Cost is FLOPs. Regret is ln of the final loss of the setting that is picked to that of the best of all, a mean over the
scales, with the worst in brackets. Where a table has rows to foretell, laws are fitted to what was measured, and their
error there is compared with that of fits to everything. steplaw-dense has no curves: its rung is the grid of a model
trained on about two fifths of the tokens, so each of its runs is paid for anew, which `unsl run --halve` does not do.
At the end: the regret of each rule over all scales at the cost of the law, and last the part of the cost that the law
saves without any regret above 1%, a mean over tables.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas

from fitting import FitStatus, FittingError, Table, by_rank, fit, foretell, hopeless

ROOT = Path(__file__).resolve().parent.parent
RUNGS = (0.25, 0.5)
DRAWS = 20
"""Of the rules that draw: orders and choices."""
REGRET = 0.01
LEAST_GRID = 20
"""Settings that a grid of steplaw-dense must share with the next."""
STUDY = """
from pipeline import Axis, Metric, Split, Study

STUDY = Study(
    name="curves",
    trainer="parity",
    fixed={"bits": 24, "parity_bits": 3, "label_noise": 0.05, "batch_size": 64, "steps": 1_024, "test_size": 2_048},
    axes=[
        Axis("width", (16, 32, 64, 128)),
        Axis("learning_rate", (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2)),
        Axis("init_scale", (0.2, 0.4, 0.8, 1.6)),
    ],
    seeds=(0, 1),
    inputs=("parameters", "step"),
    hyperparameters=("learning_rate", "init_scale"),
    metric=Metric(name="loss"),
    split=Split(held_out="width == 128", excluded={"warm-up": "step < 64"}),
)
"""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Learning curves: rows with `group` (a scale), `setting`, `run`, `step`, `cost` so far and `y`."""

    rows: pandas.DataFrame
    inputs: Sequence[str]
    hyperparameters: Sequence[str]
    test: pandas.DataFrame | None = None
    tasks: bool = False
    """Whether each scale is a task with a fit of its own."""
    rungs: Sequence[float] = RUNGS
    """Shares of the steps of a run."""

    @classmethod
    def of(
        cls, rows: pandas.DataFrame, inputs: Sequence[str], hyperparameters: Sequence[str], *, group: Sequence[str],
        run: Sequence[str], **facts: Any,
    ) -> Curves:  # fmt: skip
        rows = rows.assign(
            group=rows.groupby([*group]).ngroup(),
            setting=rows.groupby([*hyperparameters]).ngroup(),
            run=rows.groupby([*run]).ngroup(),
        )
        return cls(rows=rows, inputs=inputs, hyperparameters=hyperparameters, **facts)

    def table(self, rows: pandas.DataFrame) -> Table:
        return Table(
            inputs={name: rows[name].to_numpy(float) for name in self.inputs},
            hyperparameters={name: rows[name].to_numpy(float) for name in self.hyperparameters},
            y=rows["y"].to_numpy(float),
            group=rows.groupby([*self.inputs, *self.hyperparameters]).ngroup().to_numpy(),
        )

    def last(self, share: float) -> pandas.DataFrame:
        """Of each run, the row nearest to a share of its steps."""
        steps = self.rows.groupby("run")["step"].transform("max")
        away = (np.log(self.rows["step"]) - np.log(share * steps)).abs()
        return self.rows.loc[away.groupby(self.rows["run"]).idxmin()]


Rule = Callable[[Curves, pandas.DataFrame, pandas.DataFrame, pandas.DataFrame], set]
"""From all rows that are seen, those of the runs at their rung, and their last ones: (group, setting) to stop."""


def by_law(law: str) -> Rule:
    def rule(curves: Curves, seen: pandas.DataFrame, now: pandas.DataFrame, end: pandas.DataFrame) -> set:
        stopped = set()
        for group, part in now.groupby("group"):
            known = seen[seen["group"] == group] if curves.tasks else seen
            found = fitted(curves, known, law, end if not curves.tasks else end[end["group"] == group])
            if found is None:
                continue
            names, number = np.unique(part["setting"], return_inverse=True)
            to_come = end[end["run"].isin(part["run"])]
            of_end = np.searchsorted(names, to_come["setting"])
            said = foretell(
                found, columns(found, part), np.log(part["y"].to_numpy()), number, columns(found, to_come), of_end
            )
            stopped |= {(group, names[one]) for one in hopeless(values_of(curves, part, names), said)}
        return stopped

    cache: dict[int, Any] = {}

    def fitted(curves: Curves, known: pandas.DataFrame, law: str, toward: pandas.DataFrame):
        key = hash((len(known), float(known["y"].sum())))
        if key not in cache:
            try:
                wanted = {name: toward[name].to_numpy(float) for name in (*curves.inputs, *curves.hyperparameters)}
                cache[key] = fit(law, curves.table(known), toward=wanted)
            except FittingError:
                cache[key] = None
        found = cache[key]
        return None if found is None or found.status is FitStatus.FAILED else found

    return rule


def columns(found: Any, rows: pandas.DataFrame) -> Mapping[str, np.ndarray]:
    return {name: rows[name].to_numpy(float) for name in found.columns}


def values_of(curves: Curves, part: pandas.DataFrame, names: np.ndarray) -> np.ndarray:
    return part.drop_duplicates("setting").set_index("setting").loc[names, list(curves.hyperparameters)].to_numpy(float)


def rank(curves: Curves, seen: pandas.DataFrame, now: pandas.DataFrame, end: pandas.DataFrame) -> set:
    stopped = set()
    for group, part in now.groupby("group"):
        names, number = np.unique(part["setting"], return_inverse=True)
        if (said := by_rank(np.log(part["y"].to_numpy()), number)) is not None:
            stopped |= {(group, names[one]) for one in hopeless(values_of(curves, part, names), said)}
    return stopped


def halving(curves: Curves, seen: pandas.DataFrame, now: pandas.DataFrame, end: pandas.DataFrame) -> set:
    means = np.log(now["y"]).groupby([now["group"], now["setting"]]).mean()
    return {
        (group, setting)
        for group, part in means.groupby(level=0)
        for _, setting in part.sort_values().index[int(np.ceil(len(part) / 2)) :]
    }


Choice = Callable[[pandas.Series, int], Sequence[int]]
"""From what the settings of a scale measure, by setting, and how many are to be stopped: those that are."""


def current(measured: pandas.Series, count: int) -> Sequence[int]:
    return list(measured.sort_values().index[len(measured) - count :])


def at_random(draw: np.random.Generator) -> Choice:
    return lambda measured, count: list(draw.choice(measured.index, count, replace=False))


def asha(draw: np.random.Generator) -> Choice:
    def choose(measured: pandas.Series, count: int) -> Sequence[int]:
        share, go_on = 1 - count / len(measured), set()
        order = draw.permutation(measured.index)
        for came in range(1, len(order) + 1):
            go_on |= set(measured[order[:came]].nsmallest(int(share * came + 1e-9)).index)
        return [setting for setting in measured.index if setting not in go_on]

    return choose


def as_many(counts: Mapping[tuple[int, int], int], choose: Choice) -> Rule:
    """As another rule has stopped: counts by the number of a rung and the group."""
    turns = iter(range(len(RUNGS)))

    def rule(curves: Curves, seen: pandas.DataFrame, now: pandas.DataFrame, end: pandas.DataFrame) -> set:
        at, stopped = next(turns), set()
        means = np.log(now["y"]).groupby([now["group"], now["setting"]]).mean()
        for group, part in means.groupby(level=0):
            # Who stopped less at an earlier rung has no fewer left than there are to be stopped.
            count = counts.get((at, group), 0)
            stopped |= {(group, setting) for setting in (choose(part.droplevel(0), count) if count else ())}
        return stopped

    return rule


@dataclass(frozen=True, kw_only=True)
class Replay:
    saved: float
    regrets: Sequence[float]
    stopped: Mapping[tuple[int, int], int]
    """How many settings at a rung of a group."""
    kept: pandas.DataFrame
    """The rows that were measured."""


def replay(curves: Curves, rule: Rule) -> Replay:
    rows, end = curves.rows, curves.last(1.0)
    alive, upto = set(zip(end["group"], end["setting"], strict=True)), {}
    counts: dict[tuple[int, int], int] = {}
    for at, share in enumerate(curves.rungs):
        now = curves.last(share)
        reached = dict(zip(now["run"], now["step"], strict=True))
        now = now[[key in alive for key in zip(now["group"], now["setting"], strict=True)]]
        limit = rows["run"].map(lambda run, reached=reached: upto.get(run, reached[run]))
        stopped = rule(curves, rows[rows["step"] <= limit], now, end)
        for group, _ in stopped:
            counts[at, group] = counts.get((at, group), 0) + 1
        alive -= stopped
        for group, setting, run in zip(now["group"], now["setting"], now["run"], strict=True):
            if (group, setting) in stopped:
                upto[run] = reached[run]
    kept = rows[rows["step"] <= rows["run"].map(lambda run: upto.get(run, np.inf))]
    spent = kept.groupby("run")["cost"].max().sum() / rows.groupby("run")["cost"].max().sum()
    finals = np.log(end["y"]).groupby([end["group"], end["setting"]]).mean()
    regrets = []
    for _, part in finals.groupby(level=0):
        left = part[[key in alive for key in part.index]]
        regrets.append(float(left.min() - part.min()))
    return Replay(saved=1 - spent, regrets=regrets, stopped=counts, kept=kept)


def error(curves: Curves, rows: pandas.DataFrame, law: str) -> float:
    """RMSLE of a law on the rows that are to be foretold."""
    test = curves.test
    found = fit(law, curves.table(rows), toward={name: test[name].to_numpy(float) for name in
                                                 (*curves.inputs, *curves.hyperparameters)})  # fmt: skip
    said = found.predict({name: test[name].to_numpy(float) for name in found.columns})
    return float(np.sqrt(np.mean(np.log(said / test["y"].to_numpy(float)) ** 2)))


def initial_scale() -> Curves:
    """Ours: one width, runs of 512 steps; those of 2,048 steps are to be foretold beyond 512."""
    rows = pandas.read_parquet(ROOT / "experiments/paper/results/cpu/initial_scale.parquet")
    rows = rows.assign(y=rows["loss"], cost=rows["flops"])
    test = rows[(rows["steps"] == 2_048) & (rows["step"] > 512)]
    return Curves.of(rows[(rows["steps"] == 512) & (rows["step"] >= 64)], ["step"], ["learning_rate", "init_scale"],
                     group=["steps"], run=["cell"], test=test)  # fmt: skip


def initial_scale_long() -> Curves:
    """The same, its runs of 2,048 steps."""
    rows = pandas.read_parquet(ROOT / "experiments/paper/results/cpu/initial_scale.parquet")
    rows = rows.assign(y=rows["loss"], cost=rows["flops"])
    return Curves.of(rows[(rows["steps"] == 2_048) & (rows["step"] >= 64)], ["step"], ["learning_rate", "init_scale"],
                     group=["steps"], run=["cell"])  # fmt: skip


def study(table: Path) -> Curves:
    """Ours: three widths, of which the widest is to be foretold."""
    rows = pandas.read_parquet(table)
    rows = rows.assign(y=rows["loss"], cost=rows["flops"])
    rows = rows[rows["step"] >= 64]
    return Curves.of(rows[rows["width"] < 128], ["parameters", "step"], ["learning_rate", "init_scale"],
                     group=["width"], run=["cell"], test=rows[rows["width"] == 128])  # fmt: skip


def procgen(data: Path) -> Curves:
    """Public: PPG on 16 games, one of three hyperparameters moved at a time; each game is a task. Loss = 1 / return
    above the worst that the game has shown, as returns of several games have no common best."""
    rows = pandas.read_csv(data / "procgen-ppg-hparams" / "returns.csv")
    rows = rows[(rows["algorithm"] == "ppg") & (rows["env_steps"] > 8e6)]
    floor = rows.groupby("game")["return"].transform("min") - 0.1 * rows.groupby("game")["return"].transform("std")
    rows = rows.assign(y=1 / (rows["return"] - floor), step=rows["env_steps"], cost=rows["env_steps"])
    thin = rows[rows["step"].rank(method="dense") % 6 == rows["step"].rank(method="dense").max() % 6]
    return Curves.of(thin, ["step"], ["e_pi", "e_aux", "n_pi"], group=["game"], run=["game", "run"], tasks=True)


def steplaw(data: Path) -> Curves:
    """Public: language models, learning rate by batch size. Where one grid was trained on two numbers of tokens of
    about the same order, the smaller is the rung of the larger."""
    rows = pandas.read_csv(data / "steplaw-dense" / "steplaw_dense.csv")
    rows = rows.assign(y=rows["smooth_loss"], batch=rows["batch_seqs"], lr=rows["lr"].round(9))
    pairs = []
    for size, some in rows.groupby("N"):
        tokens = sorted(some["D"].unique())
        for first, last in zip(tokens, tokens[1:], strict=False):
            two = some[some["D"].isin([first, last])]
            both = two.groupby(["lr", "batch"])["D"].transform("nunique") == 2
            if both.sum() >= 2 * LEAST_GRID:
                pairs.append(two[both].assign(step=lambda r, last=last: r["D"] / last, pair=f"{size} to {last}"))
    rows = pandas.concat(pairs, ignore_index=True).sort_values(["pair", "lr", "batch", "D"])
    flops = 6.0 * rows["N"] * rows["D"]  # more than 64 bits hold
    rows = rows.assign(cost=flops.groupby([rows["pair"], rows["lr"], rows["batch"]]).cumsum())
    return Curves.of(rows, ["N", "D"], ["lr", "batch"], group=["pair"], run=["pair", "lr", "batch"], rungs=(0.4,))


def run_study(folder: Path, *options: str) -> pandas.DataFrame:
    """The study at the head of this file, run by `unsl`."""
    (folder / "curves.py").write_text(STUDY)
    command = [sys.executable, str(ROOT / "unsl.py"), "run", "curves", "--executor", "inline", "--wandb", "off"]
    store = folder / ("halved" if options else "whole")
    subprocess.run(
        [*command, "--no-forecast", "--store", str(store), *options], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    from pipeline.store import Store

    return Store(str(store), "curves").table()


def shown(name: str, found: Sequence[Replay], rows: Mapping[str, float]) -> str:
    regrets = [regret for one in found for regret in one.regrets]
    return (
        f"  {name:12}{np.mean([one.saved for one in found]):>8.0%}"
        f"{np.mean(regrets):>10.4f} ({max(regrets):.4f})"
        + "".join(f"   {law} {value:.4f}" for law, value in rows.items())
    )


def over_all(replays: Mapping[str, Sequence[Sequence[Replay]]]) -> None:
    """Regrets over the scales of all tables in which the law stops any, and how they differ from the law's."""
    means = {rule: np.concatenate([np.mean([one.regrets for one in found], axis=0) for found in tables])
             for rule, tables in replays.items()}  # fmt: skip
    stops = np.concatenate([[any(key[1] == group for key in found[0].stopped) for group in range(len(found[0].regrets))]
                            for found in replays["law unsl"]])  # fmt: skip
    print(f"over the {stops.sum()} scales of all tables where the law stops any, at its cost")
    print(f"  {'':12}{'regret':>8}{'and less that of the law':>30}")
    for rule, values in means.items():
        values, less = values[stops], (values - means["law unsl"])[stops]
        print(f"  {rule:12}{values.mean():>8.4f}{less.mean():>+20.4f} +- {less.std(ddof=1) / np.sqrt(len(less)):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--table", type=Path, help="the points of the study here, from an earlier call's --keep")
    parser.add_argument("--keep", type=Path, help="where to write the points of the study that is run here")
    parser.add_argument("--only", help="one of the tables")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unsl-halving-") as folder:
        tables: dict[str, Callable[[], Curves]] = {
            "initial-scale": initial_scale,
            "initial-scale, long": initial_scale_long,
        }
        if options.data:
            tables["steplaw-dense"] = lambda: steplaw(options.data)
            tables["procgen-ppg-hparams"] = lambda: procgen(options.data)

        def measured() -> Curves:
            path = options.table or options.keep or Path(folder, "curves.parquet")
            if not options.table:
                run_study(Path(folder)).to_parquet(path)
            return study(path)

        tables["widths"] = measured
        saved, kept = [], dict[str, list]()
        for name, make in tables.items():
            if options.only and options.only != name:
                continue
            began, curves = time.perf_counter(), make()
            runs, groups = curves.rows["run"].nunique(), curves.rows["group"].nunique()
            settings = curves.rows.groupby("group")["setting"].nunique().max()
            print(f"{name}: {runs} runs, {groups} scales or tasks, up to {settings} settings each")
            print(f"  {'':12}{'saved':>8}{'regret':>10} (worst)   held-out RMSLE of laws fitted to what is left")
            laws = ("cf", "unsl") if curves.test is not None else ()
            print(f"  {'all':12}{0:>8.0%}{0:>10.4f} {'':8}" + "".join(
                f"   {law} {error(curves, curves.rows, law):.4f}" for law in laws), flush=True)  # fmt: skip
            replays = {"law unsl": by_law("unsl"), "law cf": by_law("cf"), "rank": rank, "halving": halving}
            for rule, stop in replays.items():
                found = replay(curves, stop)
                if rule == "law unsl":
                    first = found
                print(shown(rule, [found], {law: error(curves, found.kept, law) for law in laws}), flush=True)
            kept.setdefault("law unsl", []).append([first])
            drawing = {"current": lambda draw: current, "asha": asha, "random": at_random}
            for rule, choose in drawing.items():
                draws = range(1 if rule == "current" else DRAWS)
                found = [replay(curves, as_many(first.stopped, choose(np.random.default_rng(seed)))) for seed in draws]
                print(shown(rule, found, {law: error(curves, found[0].kept, law) for law in laws}), flush=True)
                kept.setdefault(rule, []).append(found)
            print(f"  {time.perf_counter() - began:.0f} s\n", flush=True)
            saved.append(first.saved if max(first.regrets) <= REGRET else 0.0)
    over_all(kept)
    print(f"halving: {np.mean(saved):.2f} (goal 0.3), the part of the cost that unsl saves where no regret exceeds 1%")


if __name__ == "__main__":
    main()
