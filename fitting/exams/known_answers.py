"""Numbers that others published for the same tables, and what this package gives: a check of formulas, solver and data.

Each check reads a public table, so it is part of `python -m fitting.exams`, not of the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fitting import HUBER_WIDTH, PLAIN, Bnsl, FittingError, Table, compare, fit, log_data_constrained, rmsle

from .catalogue import EXAMS
from .definition import load, read_columns, table_path
from .reference_curves import reference_m1, reference_m2, reference_m3

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


# Medians over the 72 image curves of the table that was made with the released estimators, and of its one-break BNSL.
_REFERENCE = {"m1": 0.0906, "m2": 0.0822, "m3": 0.0500, "m4": 0.0302, "bnsl": 0.0223}
_OURS = "minimum of the squared error of ln y, which the released estimators do not seek or do not reach"


def learning_curves(data: str | Path) -> Iterator[KnownAnswer]:
    """Median over 72 image curves of held-out RMSLE: by the released estimators' procedure (`reference_curves`), and
    with each law fitted once by least squared log error (`PLAIN`), one break for BNSL."""
    curves = [e for e in EXAMS if e.one_input and e.source.folder == "revisiting-nsl" and e.domain == "vision"]
    sheets = [load(e, data) for e in curves]
    check = f"{len(curves)} image curves"
    for name, procedure in (("m1", reference_m1), ("m2", reference_m2), ("m3", reference_m3)):
        errors = []
        for sheet in sheets:
            (column,) = sheet.fitted.columns
            curve = procedure(sheet.fitted.columns[column], sheet.fitted.y)
            errors.append(rmsle(curve(sheet.held_out.columns[column]), sheet.held_out.y).value)
        yield KnownAnswer(
            check=f"{check}, their procedure",
            quantity=f"median RMSLE, {name}",
            published=_REFERENCE[name],
            ours=float(np.median(errors)),
            within=0.01,
        )
    for name, published in _REFERENCE.items():
        law = Bnsl(breaks=1) if name == "bnsl" else name
        errors = []
        for sheet in sheets:
            (row,) = compare([law], sheet.fitted, sheet.held_out, recipe=PLAIN)
            errors.append(row.rmsle_held_out.value if row.rmsle_held_out else math.nan)
        yield KnownAnswer(
            check=f"{check}, our solver",
            quantity=f"median RMSLE, {name}, ours",
            published=published,
            ours=float(np.median(errors)),
            within=0.01 if name in ("m1", "bnsl") else math.inf,
            note=_OURS if name in ("m2", "m3", "m4") else "",
        )


def _exam(name: str):
    return next(e for e in EXAMS if e.name == name)
