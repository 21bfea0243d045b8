"""Every law records its own formula, and the recording gives what the law gives."""

from __future__ import annotations

import numpy as np
import pytest
from reported import QUICK

from fitting import LAWS, FittingError, Table, fit
from pipeline.report.program import OPERATIONS, run, translate


@pytest.fixture(scope="module")
def table() -> Table:
    random = np.random.default_rng(0)
    n, d = 10 ** random.uniform(3, 6, (2, 160))
    unique, rate = np.minimum(d, 10 ** random.uniform(3, 5, 160)), 10 ** random.uniform(-4, -2, 160)
    y = 1 + 20 * n**-0.3 + 30 * d**-0.3 + 0.1 * np.abs(np.log(rate / 1e-3))
    return Table(
        inputs={"parameters": n, "tokens": d, "unique_tokens": unique}, hyperparameters={"learning_rate": rate}, y=y
    )


@pytest.mark.parametrize("law", LAWS)
def test_a_law_computes_in_a_page_what_it_computes_here(law, table):
    made = fit(law, table, recipe=QUICK)
    program = translate(made)
    assert program is not None
    # Far outside too: an explorer goes there.
    places = {name: values * 7 for name, values in table.columns.items()}
    np.testing.assert_allclose(run(program, places), made.predict(places), rtol=1e-12)


def test_what_only_derivatives_need_is_not_in_the_program(table):
    program = translate(fit("m2", table, recipe=QUICK))
    # ln x - centre, the slope, two terms, their logarithm of a sum, the mean: no derivative of any of it.
    assert len(program.code) < 20
    used = {operand for _, *operands in program.code for operand in operands if operand >= 0}
    first = len(program.columns)
    assert used >= set(range(first, first + len(program.code) - 1)), "every result but the last is used"


def test_a_law_that_no_page_can_compute_has_no_program(table, monkeypatch):
    made = fit("m1", table, recipe=QUICK)
    form = type(made.predictors[0].form)
    monkeypatch.setattr(form, "log_y", lambda self, p, z: np.sort(next(iter(z.values()))))
    assert translate(made) is None
    monkeypatch.setattr(form, "log_y", lambda self, p, z: np.sin(next(iter(z.values()))))
    assert translate(made) is None


def test_a_fit_that_failed_has_no_program(table):
    from dataclasses import replace

    assert translate(replace(fit("m1", table, recipe=QUICK), belief=None)) is None
    with pytest.raises(FittingError):
        fit("nonsense", table)


def test_operations_are_those_of_the_page():
    """The script has the same list, in the same order: its length, at least, is checked where no browser is."""
    from pipeline.report.shell import HERE

    text = (HERE / "templates" / "law.js").read_text()
    listed = text.split("const OPERATIONS = [")[1].split("];")[0]
    depth, count = 0, 0
    for letter in listed:
        depth += (letter == "(") - (letter == ")")
        count += letter == "," and depth == 0
    assert count == len(OPERATIONS)
