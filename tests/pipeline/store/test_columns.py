"""One schema that only grows: pandas, DuckDB and Polars read the rows that we do, and no name hides another."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, replace

import duckdb
import pandas
import polars
import pytest
from cells import CELLS, ended, fill, finish, measured
from rehearsal import make_study, run_study

from pipeline import Axis, PipelineError
from pipeline.analysis import of_grid
from pipeline.run import Job, run_job
from pipeline.store import Failure, Store, Writer
from pipeline.study import Cell, identity
from trainers import Ending, Point, TrainerError, load_trainer
from trainers.oracle import ORACLE, OracleConfig

ORDER = ["cell", "step", "inference_steps"]


def three_readers(store: Store) -> dict[str, pandas.DataFrame]:
    """What each makes of the folder `points/`, told nothing but where it is."""
    folder = os.path.join(store.folder.path(), "points")
    read = {
        "pandas": pandas.read_parquet(folder),
        "duckdb": duckdb.sql(f"SELECT * FROM '{folder}/*.parquet'").df(),
        "polars": polars.read_parquet(f"{folder}/*.parquet").to_pandas(),
    }
    return {name: table.sort_values(ORDER, ignore_index=True) for name, table in read.items()}


def check_readers(store: Store, rows: int) -> None:
    ours = store.table().sort_values(ORDER, ignore_index=True)
    assert len(ours) == rows
    for name, theirs in three_readers(store).items():
        assert list(theirs) == list(ours), name
        for column in ours:
            pandas.testing.assert_series_equal(theirs[column], ours[column], check_dtype=False, obj=f"{name} {column}")


def test_three_readers_find_our_rows(store):
    run_study(make_study(), store)
    check_readers(store, 48)


def test_columns_that_come_later_are_in_every_file(store):
    with Writer.open(store) as writer:
        finish(writer, CELLS[:1])
        writer.begin(CELLS[1:2], device="cpu")
        writer.append([measured(CELLS[1].id, 1, accuracy=0.5), ended(CELLS[1].id)])
        writer.commit()
        assert len(store.folder.names("points")) == 2
        check_readers(store, 3)
    assert store.table()["accuracy"].notna().sum() == 1


def test_first_cells_without_points_hide_no_rows(store):
    with Writer.open(store) as writer:
        writer.begin(CELLS[:1], device="cpu")
        writer.append([replace(ended(CELLS[0].id), ending=Ending.DIVERGED)])
        writer.commit()
        assert {len(table) for table in three_readers(store).values()} == {0}
        finish(writer, CELLS[1:2])
        check_readers(store, 2)


@pytest.mark.parametrize(
    "before, after, kind, values",
    [
        (1, 0.5, "float64", {1.0, 0.5}),
        (1, "half", "object", {"1", "half"}),
        (True, 0.5, "float64", {1.0, 0.5}),
        (True, 2, "int64", {1, 2}),
        (0.25, "half", "object", {"0.25", "half"}),
        (2**70, 1, "float64", {float(2**70), 1.0}),
    ],
)
def test_a_field_whose_type_changes_with_the_version(store, before, after, kind, values):
    """As both types can be told; every reader, ours too, finds one column."""
    with Writer.open(store) as writer:
        for version, (cell, value) in enumerate(zip(CELLS, (before, after), strict=False), start=1):
            one = replace(cell, version=version, config={**cell.config, "gate": value})
            finish(writer, [one])
    table = Store(store.folder.url.rpartition("/")[0], "rehearsal").table()
    assert str(table["gate"].dtype) == kind
    assert set(table["gate"]) == values
    check_readers(store, 4)
    assert {record.config["gate"] for record in store.records().values()} == {before, after}, "exactly, in the records"


def test_a_type_that_grows_while_the_cell_is_in_the_journal(store):
    with Writer.open(store) as writer:
        finish(writer, [replace(CELLS[0], config={**CELLS[0].config, "gate": 1})])
        writer.begin([replace(CELLS[1], config={**CELLS[1].config, "gate": "half"})], device="cpu")
        writer.append([measured(CELLS[1].id, 1)])
        assert set(store.table()["gate"]) == {"1", "half"}


def test_only_the_columns_that_are_needed(store):
    with Writer.open(store) as writer:
        fill(writer)
        writer.commit()
        table = store.table(["cell", "loss", "nowhere"])
        assert list(table) == ["cell", "loss"] and len(table) == 4
    assert list(store.table(["step"])) == ["step"]


def trainer_with(fields, *, counts=None):
    """The oracle with more fields in its configuration."""
    made = [(name, type(default).__name__, dataclasses.field(default=default)) for name, default in fields.items()]
    Config = dataclasses.make_dataclass("Config", made, bases=(OracleConfig,), frozen=True, kw_only=True)

    class Other(type(ORACLE)):
        def count(self, config):
            return replace(super().count(config), **counts) if counts else super().count(config)

    Other.Config = Config
    return Other()


@pytest.mark.parametrize(
    "name",
    ["cell", "status", "trainer", "version", "step", "inference_steps", "examples", "flops", "seconds", "loss"]
    + ["held_out", "in_grid", "replicate", "Cell", "STEPS"],
)
def test_a_field_that_would_hide_a_column_is_refused_in_words(name):
    with pytest.raises(TrainerError, match="the configuration has a field"):
        Cell.build(trainer_with({name: 1}), {})


def test_the_plan_refuses_it_too(monkeypatch):
    monkeypatch.setattr("pipeline.study.study.load_trainer", lambda name, base: trainer_with({"cell": 1}))
    with pytest.raises(PipelineError, match="study 'rehearsal': the configuration has a field 'cell'.*otherwise"):
        make_study().check()


def test_a_field_that_is_called_like_a_count_must_be_that_count():
    assert Cell.build(ORACLE, {}).columns["parameters"] == 10_000
    with pytest.raises(TrainerError, match="parameters = 10000 in the configuration, and 7 as the trainer counts"):
        Cell.build(trainer_with({}, counts={"parameters": 7}), {})


@pytest.mark.parametrize("name", ["step", "width", "Loss", "parameters", "learning_rate", "", "cell\n"])
def test_a_metric_that_would_hide_a_column_is_a_bad_config(monkeypatch, tmp_path, name):
    @dataclass(frozen=True)
    class Config:
        width: int = 1
        learning_rate: float = 0.1

    class Measuring:
        def train(self, configs, context):
            yield Point(cell=0, step=1, metrics={"loss": 1.0, name: 2.0}, examples=1, flops=1.0, seconds=1.0)

    Measuring.Config = Config
    monkeypatch.setattr("pipeline.run.worker.load_trainer", lambda name, base: Measuring())
    job = Job(
        number=1,
        trainer="measuring",
        cells=("c",),
        configs=({"width": 1, "learning_rate": 0.1},),
        device="cpu",
        checkpoints=str(tmp_path),
        checkpoint_seconds=1.0,
    )
    [event] = run_job(job, lambda: False)
    assert event.failure is Failure.BAD_CONFIG
    assert "the trainer measures" in event.message


def with_parts(field) -> type:
    """The oracle's configuration with one more field."""
    return dataclasses.make_dataclass(
        "Config", [("parts", "int", field)], bases=(OracleConfig,), frozen=True, kw_only=True
    )


def marked(value: int = 1, **marks: bool):
    field = dataclasses.field(default=1, metadata=marks)
    Config = with_parts(field)
    trainer = type("Marked", (type(ORACLE),), {"Config": Config})()
    return Cell.build(trainer, {"parts": value})


def test_identities_are_what_they_were():
    """Of stores that exist: hashes from before fields could be marked."""
    assert Cell.build(ORACLE, {}).id == identity("oracle", 1, vars(OracleConfig()))
    assert CELLS[0].id == "f822b93c12724ec1"


def test_a_field_that_came_later_changes_no_cell_at_its_default():
    assert marked(added=True).id == Cell.build(ORACLE, {}).id
    assert marked(2, added=True).id != Cell.build(ORACLE, {}).id
    assert marked().id != Cell.build(ORACLE, {}).id, "unmarked, it is part of the cell"


def test_how_a_cell_is_carried_out_is_no_part_of_it():
    assert marked(execution=True).id == marked(4, execution=True).id == marked().id
    assert marked(4, execution=True).config["parts"] == 4
    assert marked(4, execution=True, added=True).id == Cell.build(ORACLE, {}).id


@pytest.mark.parametrize("trainer", ["language", "vision"])
def test_the_parts_of_a_batch_are_no_part_of_a_cell(trainer):
    """Where a GPU is too small, a study goes on with smaller parts on what it has."""
    made = load_trainer(trainer)
    assert Cell.build(made, {"accumulation": 2}).id == Cell.build(made, {}).id


def test_a_grid_with_a_field_that_came_later_is_done(store, monkeypatch):
    from pipeline.plan import make_plan

    run_study(make_study(), store)
    Config = with_parts(dataclasses.field(default=1, metadata={"added": True}))
    monkeypatch.setattr(type(load_trainer("oracle")), "Config", Config)
    assert make_plan(make_study(), store).counts() == {"done": 8}
    grown = make_study(axes=[*make_study().axes, Axis("parts", (1, 2))])
    assert make_plan(grown, store).counts() == {"done": 8, "new": 8}
    assert of_grid(grown, store.table())["parts"].tolist() == [1] * 48, "what ran was the default"
    assert "parts" not in of_grid(make_study(), store.table()), "nobody asks for it: the table is what it was"
    run_study(grown, store)
    check_readers(store, 96)
    assert of_grid(grown, store.table())["parts"].value_counts().to_dict() == {1: 48, 2: 48}
