"""Beyond the box of its rows the unified law leans on the additive one where its candidates disagree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from line_form import X, member, rows_of

from fitting import LAWS, Recipe, Table, fit
from fitting.distil import leaning
from fitting.law import Cautious, Frame

PLACES = {"x": np.array([-0.5, 0.7, 1.0, 2.0, 4.0])}
OUT = np.maximum(PLACES["x"] - 1.0, 0.0)


def test_inside_the_box_and_without_a_core_it_is_the_mean():
    members = [member(0.0, 1.0), member(0.5, 2.0)]
    mean = 0.25 + 1.5 * PLACES["x"]
    np.testing.assert_allclose(leaning(members, None, rows_of(X), PLACES), mean)
    leaned = leaning(members, member(9.0, -3.0), rows_of(X), PLACES)
    np.testing.assert_allclose(leaned[:3], mean[:3])
    assert X.min() == -1.0 and X.max() == 1.0 and (np.abs(leaned[3:] - mean[3:]) > 0.03).all()


def test_members_that_agree_need_no_core():
    members = [member(0.0, 1.0), member(0.5, 1.0)]
    np.testing.assert_allclose(leaning(members, member(0.0, 5.0), rows_of(X), PLACES), 0.25 + PLACES["x"], rtol=1e-9)


@pytest.mark.parametrize("apart", [0.1, 1.0, 5.0])
def test_the_increment_is_drawn_to_the_cores_by_the_part_that_chance_explains(apart):
    """Members with slopes 1 +- apart, a core with slope 3: at a distance r, m - t = 2 r and s = apart r."""
    members = [member(0.0, 1.0 - apart), member(0.0, 1.0 + apart)]
    leaned = leaning(members, member(0.0, 3.0), rows_of(X), PLACES)
    kept = 4.0 / (4.0 + apart**2)
    np.testing.assert_allclose(leaned, np.minimum(PLACES["x"], 1.0) + OUT * (3.0 + kept * (1.0 - 3.0)))


def test_the_additive_law_is_a_form_of_the_unified_one_wherever_several_inputs_vary():
    rng = np.random.default_rng(0)
    columns = {name: rng.uniform(1, 100, 30) for name in ("n", "d", "lr")}
    y = 1 + 1 / columns["n"]
    law = LAWS["unsl"]
    assert isinstance(law, Cautious) and not isinstance(LAWS["a1"], Cautious)
    for inputs, hyperparameters, ceiling in ((("n", "d"), (), None), (("n", "d"), ("lr",), 5.0)):
        table = Table(
            inputs={name: columns[name] for name in inputs},
            hyperparameters={name: columns[name] for name in hyperparameters},
            y=y,
            ceiling=ceiling,
        )
        frame = Frame.from_table(table)
        (core,) = (form for form in law.forms(frame) if form.structure == law.core(frame))
        assert set(core.parameters) - {"aM"} == {"a0", *(f"{b}_{name}" for b in ("b", "beta") for name in inputs)}
    assert law.core(Frame.from_table(Table(inputs={"n": columns["n"]}, y=y))) == ""


def test_a_fit_leans(monkeypatch):
    """The equation of a bold law on few rows stands nearer to the additive law than the mean of its candidates does."""
    rng = np.random.default_rng(3)
    n, d = 10 ** rng.uniform(3, 5, 24), 10 ** rng.uniform(3, 5, 24)
    table = Table(inputs={"n": n, "d": d}, y=(n**-0.2 + d**-0.3) * np.exp(0.2 * rng.standard_normal(24)))
    quick = Recipe(ridges=(1e-3, 1e-5), own_ridges=(0.1,), starts=1, budget=10)
    far = {"n": np.array([1e8]), "d": np.array([1e8])}
    leaned = fit("unsl", table, recipe=quick, toward=far)
    monkeypatch.setattr(
        "fitting.selection.distilled", lambda members, rows, wished, lean: distil(members, rows, wished)
    )
    from fitting.distil import distilled as distil

    bold = fit("unsl", table, recipe=quick, toward=far)
    assert [m.key for m in leaned.belief.members] == [m.key for m in bold.belief.members]
    mean = np.log(replace(bold, belief=bold.belief.averaged()).predict(far))
    spread = np.std([m.form.predict_log(m.raw[None], m.form.frame.coordinates(far))[0] for m in bold.belief.members])
    assert spread > 0.05
    assert abs(np.log(leaned.predict(far)) - mean) > 2 * abs(np.log(bold.predict(far)) - mean)
