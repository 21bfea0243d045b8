"""Drift and alarms: what chance explains is not called more, what it does not is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.forecasts import Entry
from pipeline.forecasts.checking import Scored
from pipeline.rescale import Knowledge, LawKnown, Said, current_alarms, drift
from pipeline.rescale.alarms import drifted, missed, not_narrowing, of_cells
from pipeline.store import Round


def known(log_median: float = 0.0, *, unknown: float = 0.1, half: float = 0.2, structure: str = "n", a: float = 1.0):
    median = float(np.exp(log_median))
    said = Said(
        median=median, low=median / 1.2, high=median * 1.2, log_median=log_median, unknown=unknown, half=half,
        freedom=100.0,
    )  # fmt: skip
    law = LawKnown(
        status="converged", structure=structure, coefficients={"a": (a, 0.9, 1.3), "c": (0.5, 0.4, 0.6)}, said=(said,),
        fit="",
    )  # fmt: skip
    return Knowledge(rows=10, fingerprint="f", targets=("n=1e6",), laws={"cf": law})


def of(found, what: str):
    return next(one for one in found.drifts if one.what == what)


def test_a_change_within_the_earlier_interval_is_noise():
    found = drift(known(), known(0.15))
    assert not found.alarming and of(found, "n=1e6").deviations == pytest.approx(1.5)
    assert drifted(found, "cf") == []


@pytest.mark.parametrize("change", [0.3, -0.3])
def test_a_change_beyond_it_is_more(change):
    found = drift(known(), known(change))
    assert [one.what for one in found.alarming] == ["n=1e6"]
    (text,) = drifted(found, "cf")
    assert text.startswith("cf has drifted: n=1e6 was 1 (0.8333 to 1.2) and is ") and "3.0 standard" in text
    assert drifted(found, "unsl") == [], "another law's drift is its own"


def test_a_coefficient_is_held_to_the_side_to_which_it_went():
    up, down = drift(known(), known(a=1.25)), drift(known(), known(a=0.75))
    assert not of(up, "a").more_than_noise and of(down, "a").more_than_noise


def test_one_of_many_coefficients_is_expected_to_leave_its_interval():
    """A change of 2.7 deviations is beyond the 99% interval of one coefficient, and not of one among twenty."""
    few = known(a=1.0 + 2.7 * 0.3 / 1.645)
    base = known()
    many = {f"x{i}": (1.0, 0.9, 1.1) for i in range(18)}

    def wide(one):
        law = one.laws["cf"]
        return replace(one, laws={"cf": replace(law, coefficients={**law.coefficients, **many})})

    assert of(drift(replace(base, laws=_alone(base)), replace(few, laws=_alone(few))), "a").more_than_noise
    assert not of(drift(wide(base), wide(few)), "a").more_than_noise


def _alone(one):
    law = one.laws["cf"]
    return {"cf": replace(law, coefficients={"a": law.coefficients["a"]})}


def test_coefficients_of_another_equation_are_not_compared():
    found = drift(known(), known(structure="n + d"))
    assert [one.what for one in found.drifts] == ["n=1e6"] and found.restructured == ["cf: n -> n + d"]


def test_forecasts_of_another_target_are_not_compared():
    found = drift(known(), replace(known(0.9), targets=("n=1e7",)))
    assert not [one for one in found.drifts if one.is_forecast]


def entry(cells: int) -> Entry:
    return Entry(
        number=1, time="", about="", question={}, rows=0, fingerprint="", ranges={}, assumed={}, code={},
        keys=("cell", "step"), evaluation=[""] * 2 * cells, blind=[True] * 2 * cells,
        targets={"cell": [f"c{i // 2}" for i in range(2 * cells)], "step": [1 + i % 2 for i in range(2 * cells)]},
    )  # fmt: skip


def scored(pits, *, blind: bool = True) -> Scored:
    size = len(pits)
    rest = {name: np.zeros(size) for name in Scored.__dataclass_fields__}
    return Scored(
        **rest
        | {
            "law": np.array(["cf"] * size),
            "entry": np.ones(size, int),
            "target": np.arange(size),
            "blind": np.full(size, blind),
            "pit": np.asarray(pits, float),
        }
    )


def test_a_miss_beyond_the_99_percent_interval_is_said():
    assert missed(scored([0.5, 0.5, 0.5, 0.999]), [entry(2)], "cf").startswith("1 of 2 runs ended beyond the 99%")
    assert missed(scored([0.5, 0.5, 0.5, 0.99]), [entry(2)], "cf") == ""
    assert missed(scored([0.5, 0.5, 0.5, 0.001]), [entry(2)], "cf") != "", "either way"


def test_a_miss_is_that_of_its_task():
    """Among forty runs two are chance; both of one task are not."""
    pits = np.full(80, 0.5)
    pits[-4:] = 0.999
    both = replace(scored(pits), entry=np.repeat([1, 2], [76, 4]), target=np.r_[np.arange(76), np.arange(4)])
    tasks = [
        replace(entry(38), question={"task": {"a": 3.0}}),
        replace(entry(2), number=2, question={"task": {"a": 1.0}}),
    ]
    assert missed(both, tasks, "cf").startswith("a 1: 2 of 2 runs ended beyond the 99% interval")
    assert missed(both, [replace(one, question={}) for one in tasks], "cf") == ""


def test_a_run_counts_once_by_its_last_point():
    assert missed(scored([0.999, 0.5, 0.999, 0.5]), [entry(2)], "cf") == ""


def test_one_miss_among_many_runs_is_chance():
    pits = np.full(200, 0.5)
    pits[1] = 0.999
    assert missed(scored(pits), [entry(100)], "cf") == ""
    pits[3::2][:5] = 0.999
    assert "6 of 100 runs" in missed(scored(pits), [entry(100)], "cf")


def test_what_was_not_blind_and_other_laws_wake_nobody():
    assert missed(scored([0.999] * 4, blind=False), [entry(2)], "cf") == ""
    assert missed(scored([0.999] * 4), [entry(2)], "unsl") == ""


def test_only_a_rounds_own_cells_are_its_scores():
    assert len(of_cells(scored([0.5] * 6), [entry(3)], {"c0", "c2"})) == 4


def test_half_a_budget_that_narrowed_nothing_is_said():
    spent = {"spent": 0.5, "budget": 1.0, "unit": "cpu-hours"}
    assert "is no narrower: it was ±22.1% and is ±22.1%" in not_narrowing(known(), known(), "cf", **spent)
    assert not_narrowing(known(), known(half=0.19), "cf", **spent) == ""
    assert not_narrowing(known(), known(), "cf", **{**spent, "spent": 0.49}) == ""
    assert not_narrowing(known(), known(), "unsl", **spent) == "", "a law that says nothing has no interval"


def test_the_last_closed_round_is_the_one_that_is_heard():
    def closed(number, alarms):
        return Round(number=number, cells=(), closed={"alarms": alarms})

    assert current_alarms([]) == []
    assert current_alarms([closed(1, ["old"]), closed(2, ["new"]), Round(number=3, cells=())]) == ["round 2: new"]
    assert current_alarms([closed(1, ["old"]), closed(2, [])]) == []
