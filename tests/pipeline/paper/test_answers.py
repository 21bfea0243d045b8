"""The answers to a block's questions, the shares of tasks won, and the page that tells them."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure
from rehearsal import make_study, run_study

from pipeline import Ask, Axis, Block, Metric, PipelineError, Spending, Split
from pipeline.paper import COLUMNS, answer, figures, keep, page, shares, spend, to_csv
from pipeline.paper.answers import asked_of, drawn
from pipeline.paper.public import COLUMNS as COLUMNS_OF_PUBLIC
from pipeline.paper.public import public_answers, read_public
from pipeline.study import TIERS

AXES = [Axis("parameters", (1_000, 2_000, 4_000, 8_000)), Axis("dataset_size", (2_000, 8_000))]


def make_block(**changes) -> Block:
    """Two tasks of the oracle, asked as they are, from a smaller hull and from fewer points."""
    study = make_study(
        axes=[*AXES, Axis("irreducible", (0.1, 3.0))],
        tasks=("irreducible",),
        split=Split(held_out="parameters > 3000"),
        laws=("m2", "cf"),
    )
    settings = {
        "tiers": {"tiny": study},
        "asks": {
            "small hull": Ask(excluded={"beyond": "parameters > 1500 and parameters < 3000"}),
            "few": Ask(points=10),
            "other metric": Ask(metric=Metric(name="twice")),
            "elsewhere": Ask(points=3, tiers=("gpu",)),
        },
        "name": "oracle",
        "text": "Is it so?\n\nPaper     It is.\n          And more.\nOurs      Perhaps.\nExpect    Something.\n",
    }
    return Block(**{**settings, **changes})


@pytest.fixture(scope="module")
def block() -> Block:
    return make_block()


@pytest.fixture(scope="module")
def ran(block, tmp_path_factory):
    from pipeline.store import Store

    study = block.study("tiny")
    store = Store(str(tmp_path_factory.mktemp("paper")), study.name)
    run_study(study, store, forecast=True)
    return store


@pytest.fixture(scope="module")
def points(ran):
    return ran.table().assign(twice=lambda rows: 2 * rows["loss"])


@pytest.fixture(scope="module")
def answers(block, points):
    return answer(block, "tiny", points)


def test_every_question_is_put_to_every_task(answers):
    rows = answers.rows()
    assert list(rows[0]) == list(dict.fromkeys(("block", "tier", "ask", "task", "law", *rows[0])))
    assert {(row["ask"], row["task"], row["law"]) for row in rows} == {
        (ask, task, law)
        for ask in ("", "small hull", "few", "other metric")
        for task in ("irreducible 0.1", "irreducible 3")
        for law in ("m2", "cf")
    }
    sizes = {row["ask"]: (row["rows_fit"], row["rows_held_out"]) for row in rows}
    assert sizes == {"": (48, 48), "small hull": (24, 48), "few": (10, 48), "other metric": (48, 48)}
    for ask in sizes:
        for task in ("irreducible 0.1", "irreducible 3"):
            of = [row for row in rows if (row["ask"], row["task"]) == (ask, task)]
            assert [row["best"] for row in of] == [
                int(float(row["rmsle_held_out"]) == min(float(one["rmsle_held_out"]) for one in of)) for row in of
            ]


def test_a_metric_of_another_unit_has_the_same_errors(answers):
    errors = {(row["ask"], row["task"], row["law"]): float(row["rmsle_held_out"]) for row in answers.rows()}
    for (ask, task, law), error in errors.items():
        if ask == "other metric" and law == "m2":
            assert error == pytest.approx(errors["", task, law], rel=0.1)


def test_points_are_drawn_from_the_fitted_ones_alone_and_always_the_same(answers):
    divided = answers.asks[""].divided["irreducible 3"]
    once, again = drawn(divided, 10), drawn(divided, 10)
    assert once.fitted.y.tolist() == again.fitted.y.tolist()
    assert set(once.fitted.y) < set(divided.fitted.y) and len(once.fitted) == 10
    assert once.held_out is divided.held_out and len(once.rows) == 10 + 48
    assert once.rows.loc[~once.rows["held_out"], "loss"].tolist() == once.fitted.y.tolist()
    assert drawn(divided, 0) is divided and drawn(divided, 1000) is divided


def test_an_ask_keeps_the_rules_of_its_study():
    study = make_study(split=Split(held_out="step > 64", excluded={"early": "step < 20"}))
    asked = asked_of(study, Ask(held_out="step > 128", excluded={"late": "step > 256"}))
    assert asked.held_out == "step > 128" and {"early", "late", "diverged"} <= asked.excluded.keys()


def rows_of(block: str, task: str, ask: str = "", **errors: float) -> list[dict]:
    return [
        {"block": block, "tier": "tiny", "ask": ask, "task": task, "law": law, "rmsle_held_out": str(error)}
        for law, error in errors.items()
    ]


def test_shares_count_tasks_and_metrics_and_not_hulls(block):
    blocks = {"a": make_block(name="a", family="vision"), "b": make_block(name="b")}
    rows = [
        *rows_of("a", "vit", unsl=0.1, cf=0.2, m2=0.01),
        *rows_of("a", "vit", "other metric", unsl=0.3, cf=0.2),
        *rows_of("a", "vit", "small hull", unsl=0.3, cf=0.2),
        *rows_of("a", "vit", "few", unsl=0.3, cf=0.2),
        *rows_of("b", "x", unsl=0.1, cf=0.1),
        *rows_of("b", "y", m2=0.1),
    ]
    found = {one.family: one for one in shares(rows, blocks)}
    assert found["vision"].tasks == 2 and found["vision"].won["unsl"] == found["vision"].won["cf"] == 0.5
    assert found["vision"].published == 0.6087 and found["others"].published is None
    assert found["others"].won["unsl"] == found["others"].won["cf"] == 0.5
    assert found["all"].tasks == 3 and found["all"].won["unsl"] == pytest.approx(0.5)


def test_the_page_tells_every_answer_and_where_it_comes_from(answers, block, ran, tmp_path):
    kept = keep(tmp_path, answers, ran, made_from="here")
    text = page([kept], {"oracle": block}, tmp_path).to_markdown()
    for row in kept.rows:
        assert f"{float(row['rmsle_held_out']):.4f} ± {float(row['rmsle_held_out_error']):.4f}" in text
    assert "**Paper.** It is. And more." in text and "parameters > 3000" in text and kept.date in text
    assert "before 96 of the held-out points were measured" in text and kept.entries[0]["hash"][:12] in text
    assert (tmp_path / "tiny" / "oracle.csv").read_text() == to_csv(kept.rows, COLUMNS)
    assert (tmp_path / "tiny" / "oracle.csv").read_text().startswith("block,tier,ask,task,law,rows_fit")


def test_what_was_forecast_is_kept_where_the_store_knows_of_no_forecast(answers, ran, tmp_path):
    """As in a store made of points that came with unsl."""
    from pipeline.store import Store, pack, unpack

    first = keep(tmp_path, answers, ran, made_from="here")
    other = Store(str(tmp_path / "other"), answers.study.name)
    assert unpack(other, pack(ran)) and not unpack(other, pack(ran))
    again = keep(tmp_path, answers, other, made_from="there")
    assert again.forecasts == first.forecasts != () and again.entries == first.entries


def test_at_an_optimum_every_input_has_the_same_multiplier(points):
    block = make_block(
        spending={
            "tiny": Spending(cost="parameters * (6 * step + 1e4)", budgets=(1e8, 1e9), fixed={"dataset_size": 8_000})
        }
    )
    rows = spend(answer(block, "tiny", points, laws=("cf",)))
    assert {(row["task"], row["law"], row["budget"]) for row in rows} == {
        (task, "cf", budget) for task in ("irreducible 0.1", "irreducible 3") for budget in (1e8, 1e9)
    }
    inside = [row for row in rows if not row["held_by_the_search"]]
    assert inside
    for row in inside:
        assert row["multiplier_parameters"] == pytest.approx(row["multiplier_step"], rel=1e-2)
    assert spend(answer(make_block(), "tiny", points, laws=("m2",))) == []


def test_a_panel_names_the_best_law_beside_the_unified_one(monkeypatch):
    def title(**scores: float) -> str:
        monkeypatch.setattr(figures, "_scores", lambda *_: scores)
        axes = Figure().add_subplot()
        figures._title(axes, "parity", None, "")
        return axes.get_title(loc="left")

    assert title(unsl=0.02, cf=0.01) == "parity   held-out RMSLE unsl 0.02, best: cf 0.01"
    assert title(unsl=0.01, cf=0.02) == "parity   held-out RMSLE unsl 0.01"
    assert title(cf=0.02) == "parity   held-out RMSLE , best: cf 0.02" and title() == "parity"


def test_the_public_table_is_asked_by_the_exams_splits(tmp_path):
    folder = tmp_path / "datablations"
    folder.mkdir()
    rows = [
        f"{n:g},{tokens:g},{unique:g},{2 + 400 * n**-0.34 + 400 * tokens**-0.28!r},1"
        for n in (1e7, 1e8, 1e9, 4e9)
        for tokens, unique in ((1e9, 1e9), (1e10, 2e9), (1e11, 5e10))
    ]
    (folder / "datablations.csv").write_text(
        "\n".join(["N,tokens,unique_tokens,val_loss,in_authors_fit", *rows]) + "\n"
    )
    found = public_answers(str(tmp_path), laws=("m1", "m2"))
    assert {tuple(row) for row in found} == {COLUMNS_OF_PUBLIC}
    exams = ["182-by-size", "182-by-unique", "all-by-size", "all-by-unique"]
    assert sorted(row["exam"] for row in found) == sorted(2 * [f"datablations-{name}" for name in exams])
    assert {(row["rows_fit"], row["rows_held_out"]) for row in found} == {(9, 3), (8, 4)}
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert (first["best"], second["best"]) == (1, 0)
        assert float(first["rmsle_held_out"]) <= float(second["rmsle_held_out"])
    kept = tmp_path / "public.csv"
    assert read_public(kept) == []
    kept.write_text(to_csv(found, COLUMNS_OF_PUBLIC))
    assert [row["best"] for row in read_public(kept)] == [row["best"] for row in found]
    (folder / "datablations.csv").unlink()
    with pytest.raises(PipelineError, match="--data .*datablations.csv"):
        public_answers(str(tmp_path))


def test_tiers_have_an_order():
    assert TIERS == ("tiny", "cpu", "gpu", "paper")
