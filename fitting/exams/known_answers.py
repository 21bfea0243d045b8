"""Numbers that others published for the same tables, and what this package gives: a check of formulas, solver and data.

Each check reads a public table, so it is part of `python -m fitting.exams`, not of the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import PLAIN
from ..data_constrained import log_data_constrained
from ..errors import FittingError
from ..fits import compare, fit
from ..solver import HUBER_WIDTH
from ..table import Table
from ..univariate import Bnsl
from .catalogue import EXAMS
from .definition import load, read_columns, table_path

# Muennighoff et al. 2023, as released: logarithms of A, B and E, then alpha, beta, R_D and R_N.
DATA_CONSTRAINED = {
    "log_A": 6.255414,
    "log_B": 7.3049974,
    "log_E": 0.6254804,
    "alpha": 0.3526596,
    "beta": 0.3526596,
    "log_R_D": math.log(15.387756),
    "log_R_N": math.log(5.309743),
}


@dataclass(frozen=True, kw_only=True)
class KnownAnswer:
    """One published number beside ours. within: the largest relative difference that counts as the same number; inf
    where the published estimator works otherwise, and `note` says how."""

    check: str
    quantity: str
    published: float
    ours: float
    within: float
    note: str = ""

    @property
    def agrees(self) -> bool:
        return abs(self.ours / self.published - 1) <= self.within


def known_answers(data: str | Path) -> tuple[KnownAnswer, ...]:
    """All checks. A table that is missing gives one line that says so."""
    answers: list[KnownAnswer] = []
    for check in (chinchilla, data_constrained, learning_curves):
        try:
            answers += check(data)
        except FittingError as error:
            answers.append(
                KnownAnswer(
                    check=check.__name__.replace("_", " "),
                    quantity="not checked",
                    published=math.nan,
                    ours=math.nan,
                    within=0.0,
                    note=str(error),
                )
            )
    return tuple(answers)


def summed_huber(log_ratio: np.ndarray) -> float:
    """Sum over rows of the Huber loss of width 1e-3 in ln y, as the literature on compute-optimal training writes
    it."""
    size = np.abs(log_ratio)
    return float(np.where(size <= HUBER_WIDTH, size**2 / 2, HUBER_WIDTH * (size - HUBER_WIDTH / 2)).sum())


def chinchilla(data: str | Path, seeds: int = 3) -> Iterator[KnownAnswer]:
    """The additive law on Chinchilla's points without the five largest losses, least summed Huber loss, from several
    seeds.

    Published: the fit by grid search of Besiroglu et al. 2024 (their paper averages a bootstrap: 1.817, 482, 2085,
    .348, .366, which lies within its own standard errors of the same minimum).
    """
    columns = read_columns(table_path(_exam("chinchilla"), data))
    keep = np.argsort(columns["loss"])[:-5]
    table = Table(inputs={"N": columns["N"][keep], "D": columns["D"][keep]}, y=columns["loss"][keep], ceiling=math.inf)
    for seed in range(seeds):
        result = fit("cf", table, loss="huber", recipe=PLAIN, seed=seed)
        ours = {**result.coefficients, "summed Huber": summed_huber(np.log(result.predict(table.columns) / table.y))}
        for name, quantity, published, within in (
            ("E", "E", 1.8172, 1e-3),
            ("A_N", "A", 477.84, 1e-3),
            ("A_D", "B", 2143.86, 1e-3),
            ("alpha_N", "alpha", 0.3473, 1e-3),
            ("alpha_D", "beta", 0.3672, 1e-3),
            ("summed Huber", "summed Huber", 1.01827e-3, 1e-4),
        ):
            yield KnownAnswer(
                check=f"Chinchilla's points, seed {seed}",
                quantity=quantity,
                published=published,
                ours=ours[name],
                within=within,
                note="",
            )


def data_constrained(data: str | Path) -> Iterator[KnownAnswer]:
    """R2 in y of the published constants on the authors' 182 runs, with and without the decay of repeated data."""
    exam = next(e for e in EXAMS if e.name == "datablations-182-by-size")
    sheet = load(exam, data)
    y = np.concatenate([sheet.fitted.y, sheet.held_out.y])
    logs = {
        name: np.log(np.concatenate([sheet.fitted.inputs[name], sheet.held_out.inputs[name]]))
        for name in ("N", "tokens", "unique_tokens")
    }
    for words, published, changed in (
        ("R2, published constants", 0.7722, {}),
        ("R2 without decay", 0.4452, {"log_R_D": math.inf, "log_R_N": math.inf}),
    ):
        constants = DATA_CONSTRAINED | changed
        predicted = np.exp(log_data_constrained(logs["N"], logs["tokens"], logs["unique_tokens"], **constants))
        r2 = 1 - ((predicted - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        yield KnownAnswer(
            check=f"data-constrained law, {y.size} runs",
            quantity=words,
            published=published,
            ours=float(r2),
            within=1e-3,
        )


_CURVE_NOTE = (
    "the released estimator alternates least squares in the coefficients with short gradient steps in the limits, and "
    "often stops with the limit where it began; ours goes to the minimum of the same squared log error"
)


def learning_curves(data: str | Path) -> Iterator[KnownAnswer]:
    """Median over 72 image curves of held-out RMSLE, each law fitted once by least squared log error (`PLAIN`)."""
    curves = [e for e in EXAMS if e.one_input and e.source.folder == "revisiting-nsl" and "shot-" in e.name]
    curves = [e for e in curves if e.domain == "vision"]
    sheets = [load(e, data) for e in curves]
    published: Mapping[str, tuple[float, float, str]] = {
        "m1": (0.0906, 5e-3, ""),
        "m2": (0.0822, math.inf, _CURVE_NOTE),
        "m3": (0.0500, math.inf, _CURVE_NOTE),
        "m4": (0.0302, math.inf, _CURVE_NOTE),
        "bnsl": (0.0223, math.inf, "one break; the reference takes the best of 60 starts, without bounds on the break"),
    }
    for name, (value, within, note) in published.items():
        law = Bnsl(breaks=1) if name == "bnsl" else name
        errors = []
        for sheet in sheets:
            (row,) = compare([law], sheet.fitted, sheet.held_out, recipe=PLAIN)
            errors.append(row.rmsle_held_out.value if row.rmsle_held_out else math.nan)
        yield KnownAnswer(
            check=f"{len(curves)} image curves",
            quantity=f"median RMSLE, {name}",
            published=value,
            ours=float(np.median(errors)),
            within=within,
            note=note,
        )


def _exam(name: str):
    return next(e for e in EXAMS if e.name == name)
