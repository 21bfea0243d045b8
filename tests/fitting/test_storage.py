"""A fit that was written and read again forecasts the same, to the bit, and a law that has changed is refused."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fitting import LAWS, Fit, FittingError, Form, Recipe, Table, fit

QUICK = Recipe(ridges=(1e-4,), own_ridges=(0.1,), starts=1, budget=8)
N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e7, 1e10, 5)))
RNG = np.random.default_rng(0)
COLUMNS = {"parameters": N, "tokens": D, "unique_tokens": D / np.exp(RNG.uniform(0, 3, N.size))}
Y = (1.7 + 400 * N**-0.34 + 410 * D**-0.28) * np.exp(0.01 * RNG.standard_normal(N.size))
TABLE = Table(inputs=COLUMNS, y=Y, ceiling=math.inf, group=np.arange(N.size) // 2)
BEYOND = {name: 7.3 * values for name, values in COLUMNS.items()}


@pytest.mark.parametrize("law", sorted(LAWS))
def test_forecasts_are_equal_to_the_bit_after_the_round_trip(law):
    one = fit(law, TABLE, recipe=QUICK)
    text = one.to_json()
    two = Fit.from_json(text)
    for level in (0.5, 0.9):
        before, after = one.forecast(BEYOND, level=level), two.forecast(BEYOND, level=level)
        for part in ("low", "median", "high"):
            np.testing.assert_array_equal(getattr(before, part), getattr(after, part))
    np.testing.assert_array_equal(one.predict(BEYOND), two.predict(BEYOND))
    assert two.coefficient_intervals() == one.coefficient_intervals()
    assert two.to_json() == text
    assert (two.law, two.status, two.structure, two.rows) == (one.law, one.status, one.structure, one.rows)
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_the_fingerprint_tells_tables_apart_and_knows_no_order():
    shuffled = TABLE.where(np.random.default_rng(1).permutation(len(TABLE)))
    assert shuffled.fingerprint == TABLE.fingerprint == fit("m1", TABLE, recipe=QUICK).fingerprint
    nudged = Y.copy()
    nudged[3] = np.nextafter(nudged[3], 10)
    others = [
        Table(inputs=COLUMNS, y=nudged, ceiling=math.inf, group=TABLE.group),
        Table(inputs=COLUMNS, y=Y, ceiling=12.0, group=TABLE.group),
        Table(inputs=COLUMNS, y=Y, ceiling=math.inf),
        Table(inputs={**COLUMNS, "tokens": N, "parameters": D}, y=Y, ceiling=math.inf, group=TABLE.group),
    ]
    assert len({TABLE.fingerprint, *(t.fingerprint for t in others)}) == 5


@dataclass(frozen=True, kw_only=True)
class Line(Form):
    structure = "line"
    parameters = ("a", "b")
    tilt: float = 1.0

    def log_y(self, p, z):
        return p["a"] - p["b"] * self.tilt * z["tokens"]

    def natural(self, p):
        return dict(p)


@dataclass(frozen=True)
class Own:
    form: type = Line
    tilt: float = 1.0
    name: str = "own"

    def forms(self, frame):
        return (self.form(frame=frame, tilt=self.tilt),)


def test_a_law_of_ones_own_is_given_along():
    one = fit(Own(), TABLE, recipe=QUICK)
    np.testing.assert_array_equal(Fit.from_json(one.to_json(), law=Own()).predict(BEYOND), one.predict(BEYOND))
    with pytest.raises(FittingError, match="unknown law 'own'"):
        Fit.from_json(one.to_json())


@dataclass(frozen=True, kw_only=True)
class Renamed(Line):
    structure = "another line"


@pytest.mark.parametrize("law, words", [(Own(tilt=1.01), "other numbers"), (Own(form=Renamed), "is not a form")])
def test_a_law_that_has_changed_is_refused(law, words):
    text = fit(Own(), TABLE, recipe=QUICK).to_json()
    with pytest.raises(FittingError, match=words):
        Fit.from_json(text, law=law)


@pytest.mark.parametrize(
    "text, words",
    [
        ("no", "not JSON"),
        ("[1]", "not a fit"),
        ('{"a": 1}', "not a fit"),
        ('{"format": "unsl fit", "version": 99}', "99"),
    ],
)
def test_other_text_is_refused(text, words):
    with pytest.raises(FittingError, match=words):
        Fit.from_json(text)


def test_a_fit_that_failed_stays_so():
    failed = replace(fit("m1", TABLE, recipe=QUICK), belief=None)
    with pytest.raises(FittingError, match="cannot predict"):
        Fit.from_json(failed.to_json()).predict(BEYOND)
