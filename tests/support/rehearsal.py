"""Small studies of the oracle, and a way to run them without the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline import Axis, Metric, Split, Study
from pipeline.forecasts import ForecastFirst, forecast_held_out
from pipeline.plan import make_plan
from pipeline.run import Driver, Executor, Outcome
from pipeline.run.executors.inline import InlineExecutor
from pipeline.store import Event, Store, Writer


class Told:
    """A listener of a run that hands all news to a function."""

    def __init__(self, tell: Callable[[Sequence[Event]], Any]):
        self.tell = tell

    def begin(self, cell, points) -> None:
        pass


def make_study(**changes: Any) -> Study:
    """Eight cells of the oracle, six points each."""
    settings: dict[str, Any] = {
        "name": "rehearsal",
        "trainer": "oracle",
        "fixed": {"steps": 512},
        "axes": [Axis("parameters", (1_000, 4_000)), Axis("dataset_size", (2_000, 8_000))],
        "seeds": (0, 1),
        "inputs": ("parameters", "dataset_size", "step"),
        "metric": Metric(name="loss"),
        "split": Split(held_out="parameters > 2000"),
        "laws": ("cf",),
    }
    return Study(**{**settings, **changes})


def write_study(folder: Path, study: Study) -> Path:
    """The study as a file of a person's, which `unsl VERB NAME` finds in its folder."""
    path = folder / f"{study.name}.py"
    path.write_text(f"from pipeline import Axis, Growth, Metric, Split, Study\n\nSTUDY = {study!r}\n")
    return path


def run_study(
    study: Study,
    store: Store,
    executor: Executor | None = None,
    *,
    listeners: Sequence[Any] = (),
    retry_failed: bool = False,
    watch: Callable[[Driver], Any] | None = None,
    checkpoint_seconds: float = 30.0,
    forecast: bool = False,
    **driving: Any,
) -> Outcome:
    """Run what is not done, or forecast what is held out in between. `watch` is handed the driver before it starts;
    `driving` are other fields of it."""
    made = make_plan(study, store)
    planned = made.to_run(retry_failed=retry_failed)
    first = ForecastFirst(study, planned, lambda: forecast_held_out(study, store), beside=executor is not None)
    with Writer.open(store) as writer:
        driver = Driver(
            study=study,
            writer=writer,
            executor=executor or InlineExecutor(device="cpu"),
            listeners=[*listeners, first],
            checkpoint_seconds=checkpoint_seconds,
            **driving,
        )
        if watch:
            watch(driver)
        return driver.run(first if forecast else planned, made.throughput)


def sorted_points(store: Store, *, without: Sequence[str] = ("seconds",)):
    """The table in a fixed order, without what differs between two equal runs."""
    table = store.table()
    return table.sort_values(["cell", "step", "inference_steps"], ignore_index=True).drop(columns=list(without))
