"""Hopeless hyperparameters are stopped on their way, and nothing else is."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from rehearsal import Told, make_study, write_study

from fitting import FitStatus, Foretold, Table, Uncertainty, by_rank, fit, foretell, hopeless
from pipeline import Axis, Split, cli
from pipeline.errors import PipelineError
from pipeline.plan import State, make_plan
from pipeline.rescale import Halving, halving, look
from pipeline.run import Driver, Outcome
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Held, Measured, Store, Writer
from pipeline.verbs import run as run_verb
from trainers import oracle

RATES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.5)
FITTED = []
"""Fingerprints of the tables that `Oracle` was fitted to."""


class Oracle:
    """A fit of the very law that the points are drawn from, within 2%: it costs nothing."""

    law, columns, status = "oracle", ("parameters", "learning_rate", "step"), FitStatus.CONVERGED

    def uncertainty(self, columns):
        said = [
            oracle.truth(oracle.OracleConfig(parameters=int(n), learning_rate=rate), step)
            for n, rate, step in zip(*(columns[name] for name in self.columns), strict=True)
        ]
        zero = np.zeros(len(said))
        return Uncertainty(
            log_median=np.log(said), coefficients=zero, structures=zero, noise=zero + 1e-4, freedom=zero + 30
        )


@pytest.fixture(autouse=True)
def known(monkeypatch):
    FITTED.clear()
    monkeypatch.setattr(
        halving, "fitted_beside", lambda law, table, toward: FITTED.append(table.fingerprint) or Oracle()
    )


def rates(**changes):
    """Two scales of six rates and two seeds, and one that is held out."""
    axes = [Axis("parameters", (1_000, 2_000, 8_000)), Axis("learning_rate", RATES)]
    how = {"axes": axes, "hyperparameters": ("learning_rate",), "split": Split(held_out="parameters > 4000")}
    return make_study(**{"inputs": ("parameters", "step"), **how, **changes})


def run(study, store, rungs=2, *, listeners=(), watch=None) -> Outcome:
    made = make_plan(study, store)
    rule = Halving(study, store, "cf", rungs, beside=False)
    with Writer.open(store) as writer:
        driver = Driver(
            study=study,
            writer=writer,
            executor=InlineExecutor(device="cpu"),
            listeners=[rule, *listeners],
            rungs=rule,
        )
        if watch:
            watch(driver)
        return driver.run(made.to_run(retry_failed=False, carry_on=False), made.throughput)


def held_of(study, store) -> set:
    return {(cell.config["parameters"], cell.config["learning_rate"]) for cell in study.cells
            if store.records()[cell.id].status == "held"}  # fmt: skip


def test_the_hopeless_are_held_at_a_rung_with_their_reason_and_the_rest_ends(store):
    study = rates()
    outcome = run(study, store)
    records = store.records()
    held = [record for record in records.values() if record.status == "held"]
    assert held and outcome.held == len(held) and outcome.done == len(study.cells) - len(held)
    assert (outcome.left, outcome.exit_code) == (0, 0)
    steps = sorted({record.step for record in held})
    assert set(steps) <= {128, 256}, "a quarter and a half of 512 steps"
    for record in held:
        numbers = r"[\d.]+ to [\d.]+"
        said = rf"halved: foretold by oracle {numbers} against {numbers} with learning_rate [\d.e-]+"
        assert re.fullmatch(said, record.message)
    table = store.table()
    assert set(table["cell"]) == set(records), "their points stay in the table"


def test_what_is_held_out_runs_to_its_end_and_every_scale_keeps_three_values_with_the_best(store):
    study = rates()
    run(study, store)
    held = held_of(study, store)
    assert not any(parameters == 8_000 for parameters, _ in held)
    best = 1e-2  # Of the oracle's law, or the value beside it.
    for parameters in (1_000, 2_000):
        kept = [rate for rate in RATES if (parameters, rate) not in held]
        assert len(kept) >= 3 and best in kept


def test_no_label_of_a_held_out_cell_can_change_a_decision(store, tmp_path):
    """The held-out scale is measured first, with labels that are absurd in one of two stores."""
    decided = []
    for name, factor in (("as it is", 1.0), ("absurd", 100.0)):
        study, own = rates(), Store(str(tmp_path / name), "rehearsal")
        with Writer.open(own) as writer:
            outside = [cell for cell in study.cells if cell.config["parameters"] == 8_000]
            driver = Driver(study=study, writer=writer, executor=InlineExecutor(device="cpu"), listeners=())
            read = driver._read
            driver._read = lambda report, read=read, factor=factor: [
                replace(event, point=replace(event.point, metrics={"loss": factor * event.point.metrics["loss"]}))
                if isinstance(event, Measured)
                else event
                for event in read(report)
            ]
            made = make_plan(study, own)
            driver.run([one for one in made.cells if one.cell in outside], made.throughput)
        run(study, own)
        held = {id: record.message for id, record in own.records().items() if record.status == "held"}
        decided.append((held, tuple(FITTED)))
        FITTED.clear()
    assert decided[0] == decided[1] and all(decided[0])


def test_killed_at_any_moment_nothing_is_lost_or_decided_twice_and_it_can_be_carried_on(store):
    study, told = rates(), []
    for after in (3, 15, 15, 15, 15):  # Events until this driver dies.
        heard = []

        def die(events, heard=heard, after=after):
            heard.extend(events)
            if len(heard) >= after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(study, store, listeners=[Told(die)])
        told += [event.cell for event in heard if isinstance(event, Held)]
    run(study, store, listeners=[Told(lambda events: told.extend(e.cell for e in events if isinstance(e, Held)))])
    records = store.records()
    held = {id for id, record in records.items() if record.status == "held"}
    assert held and set(told) <= held and len(told) == len(set(told))
    assert {record.status for record in records.values()} == {"held", "done"}
    plan = make_plan(study, store)
    assert plan.to_run(retry_failed=True, carry_on=False) == []
    left = plan.to_run(retry_failed=False)
    assert {one.cell.id for one in left} == held and {one.state for one in left} == {State.HELD}
    before = {id: records[id].points for id in held}
    with Writer.open(store) as writer:
        driver = Driver(study=study, writer=writer, executor=InlineExecutor(device="cpu"), listeners=())
        assert driver.run(left, plan.throughput).done == len(held)
    after = store.records()
    assert all(after[id].points > before[id] and after[id].status == "done" for id in held)
    assert not store.table().duplicated(["cell", "step", "inference_steps"]).any()


def test_a_forecast_in_the_ledger_keeps_the_cells_that_it_waits_for(tmp_path, monkeypatch):
    study = rates(seeds=(0,))
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, study)
    common = ["--store", str(tmp_path / "runs")]
    store = Store(str(tmp_path / "runs"), study.name)
    first = [one for one in make_plan(study, store).cells if one.cell.config["parameters"] == 1_000]
    with Writer.open(store) as writer:
        driver = Driver(study=study, writer=writer, executor=InlineExecutor(device="cpu"), listeners=())
        driver.run(first, make_plan(study, store).throughput)
    target = "parameters=2e3, step=512, learning_rate=1e-5"
    assert cli.main(["forecast", study.name, *common, "--at", target, "--laws", "cf", "--ledger"]) == 0
    run(study, store)
    held = held_of(study, store)
    assert (2_000, 1e-5) not in held and (2_000, 1e-4) in held


def test_refused_in_one_sentence(store):
    for study, why in (
        (make_study(), "has no hyperparameter that varies"),
        (rates(axes=[Axis("parameters", (1_000, 8_000)), Axis("learning_rate", (1e-3,))]), "no hyperparameter"),
        (rates(split=Split(held_out="parameters > 4000", excluded={"early": "step < 512"})), "one step alone"),
        (rates(split=Split(held_out="step > 256")), "what is held out is never stopped"),
    ):
        with pytest.raises(PipelineError, match=why):
            Halving(study, store, "cf", 2)
    for wrong in (-1, 11, 1.5, True):
        with pytest.raises(PipelineError, match="halve .* must be a whole number, 0 to 10"):
            rates(halve=wrong)


def test_a_study_may_say_it_the_verb_carries_on_and_status_says_why(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, rates(halve=2))
    run_it = ["run", "rehearsal", "--store", "runs", "--executor", "inline", "--wandb", "off", "--no-forecast"]
    show_run, hints = run_verb.show_run, []
    monkeypatch.setattr(run_verb, "show_run", lambda *ran, goes_on: hints.append(goes_on) or show_run(*ran))
    assert cli.main([*run_it, "--halve", "11"]) == 2
    assert "at most 10" in capsys.readouterr().err
    assert cli.main(run_it) == 0
    assert " held (unsl status says why), " in capsys.readouterr().out
    assert cli.main(run_it) == 0
    assert " held. Next: unsl report" in capsys.readouterr().out, "held cells are not taken up"
    assert cli.main(["status", "rehearsal", "--store", "runs"]) == 0
    said = capsys.readouterr().out
    assert "halved: foretold by oracle" in said and "--halve 0 carries them on" in said
    assert cli.main([*run_it, "--halve", "0"]) == 0
    assert " held" not in capsys.readouterr().out
    assert hints == ["run", "run --halve 0"], "what goes on as it was begun"
    assert {record.status for record in Store("runs", "rehearsal").records().values()} == {"done"}


def test_hopeless_is_who_ends_above_the_best_and_the_best_keeps_its_neighbours():
    values = np.array([[rate] for rate in range(6)], float)
    middle = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    said = Foretold(middle=middle, low=middle - 0.1, high=middle + 0.1)
    assert hopeless(values, said) == [5, 4, 3], "three values beside the edge stay"
    assert hopeless(values, said, gone=middle == 5) == [4, 3]
    inside = np.abs(middle - 3)
    assert hopeless(values, Foretold(middle=inside, low=inside, high=inside)) == [0, 1, 5], "and to both sides of it"
    wide = Foretold(middle=middle, low=middle - 2.2, high=middle + 2.2)
    assert hopeless(values, wide) == [5], "intervals that meet: it may still be the best"
    grid = np.array([[a, b] for a in range(4) for b in range(4)], float)
    far = np.hypot(*(grid - 1).T)
    left = set(range(16)) - set(hopeless(grid, Foretold(middle=far, low=far, high=far)))
    assert {tuple(grid[one]) for one in left} >= {(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)}
    assert all(len({grid[one][name] for one in left}) >= 3 for name in (0, 1))
    broken = Foretold(middle=middle, low=np.full(6, np.nan), high=middle)
    assert hopeless(values, broken) == [], "who is not foretold goes on"


def test_by_rank_only_the_worse_half_beyond_what_seeds_differ():
    log_y, setting = np.array([0.0, 0.02, 1.0, 1.02, 2.0, 2.02, 3.0, 3.02]), np.repeat(np.arange(4), 2)
    said = by_rank(log_y, setting)
    assert hopeless(np.array([[1.0], [2], [3], [4]]), said) == [3]
    noisy = by_rank(np.array([0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]), setting)
    assert hopeless(np.array([[1.0], [2], [3], [4]]), noisy) == []
    assert by_rank(np.array([0.0, 1.0]), np.array([0, 1])) is None, "without seeds nobody knows the noise"


def test_a_run_that_a_law_suits_badly_is_foretold_from_where_it_stands():
    """The second setting is at half of what the law says so far, and so it is at the end."""
    step = np.geomspace(8, 512, 12)
    found = fit("m2", Table(inputs={"step": step}, y=1 + 10 / step**0.5))
    now, end = {"step": np.array([64.0, 64.0])}, {"step": np.array([512.0, 512.0])}
    law = float(found.predict({"step": np.array([64.0])})[0])
    said = foretell(found, now, np.log([law, law / 2]), np.array([0, 1]), end, np.array([0, 1]))
    assert np.isclose(said.middle[0] - said.middle[1], np.log(2))


def test_a_study_that_grows_does_not_take_up_what_it_has_held(store):
    from pipeline import Growth
    from pipeline.study import NEWEST_ROUND

    growth = Growth(
        axes={"parameters": 2}, target="parameters=1e5, step=512, learning_rate=1e-2", budget="1cpu-hours", rule="grid"
    )
    axes = [Axis("parameters", (1_000, 2_000)), Axis("learning_rate", RATES)]
    study = rates(axes=axes, growth=growth, split=Split(held_out=NEWEST_ROUND), halve=2)
    run(study, store)
    assert held_of(study, store)
    assert not look(study, store, every=None, now=0.0).unfinished
    assert len(look(replace(study, halve=0), store, every=None, now=0.0).unfinished) == len(
        [one for one in store.records().values() if one.status == "held"]
    )
