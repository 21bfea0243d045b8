"""What the runs of a study look like at W&B: one a cell, and one each for its fit, its costs and its live forecast."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from pipeline.store import Folder, Measured, SavedFit, Store
from pipeline.study import Cell, Study, show_config
from pipeline.tracking.account import base_url, project_name
from pipeline.tracking.client import Client, wait_for_table
from pipeline.tracking.pace import CREATIONS_AT_ONCE, CREATIONS_PER_SECOND, TokenBucket
from pipeline.tracking.sent import Sent
from pipeline.tracking.values import COSTS, FIT, POINTS, of_task, plain, row_of, without_passwords

STOPPED = 255
"""Exit code that W&B shows as a run that was stopped by its user."""
AXES = ("step", "examples")
"""What W&B may draw points along: it takes the first unless its user picks the other."""
MOST_MESSAGE = 1000
"""Characters: nobody reads a summary above a screen."""


class WandbRuns:
    """The runs of one study at W&B: one a cell, and one for its fit."""

    def __init__(
        self,
        study: Study,
        folder: str,
        *,
        online: bool,
        store: Store | None = None,
        creations: TokenBucket | None = None,
    ):
        """folder: of this machine, for wandb's files; store: where it is written what a server has received."""
        self.study, self.online = study, online
        self._store = store
        self._creations = creations or TokenBucket(rate=CREATIONS_PER_SECOND, burst=CREATIONS_AT_ONCE)
        self._client = Client(
            folder, group=study.name, online=online, withdrawn=lambda *which: self.sent.withdraw(*which)
        )
        self.folder = self._client.folder
        self.project = project_name()
        self._varied = [name for axis in study.axes for name in axis.fields] + ["seed"]

    @property
    def destination(self) -> str:
        where = f"{base_url()}/{os.environ.get('WANDB_ENTITY', '')}" if self.online else "offline"
        return f"{where}/{self.project}"

    @cached_property
    def sent(self) -> Sent:
        here = Folder(self.folder)
        if not self.online or self._store is None:
            return Sent(here, self.destination)
        return Sent(self._store.folder.folder("tracking"), self.destination, earlier=here)

    def cell_id(self, cell: str) -> str:
        return f"{self.study.name}-{cell}"

    def wait_to_open(self) -> float:
        """Seconds until W&B may be asked for another run. Files may be made at any rate."""
        return self._creations.wait_seconds() if self.online else 0.0

    def open_cell(self, cell: Cell) -> tuple[Any, int]:
        """The run of a cell, and the number of the first row that W&B lacks of it."""
        share = self.study.held_out_share(cell)
        role = "fitted" if share == 0 else "held out" if share == 1 else "partly held out"
        counts = {name: getattr(cell.counts, name) for name in ("flops_per_step", "flops", "bytes")}
        run = self._open(
            id=self.cell_id(cell.id),
            name=show_config({name: cell.config[name] for name in self._varied if name in cell.config}),
            job_type=cell.trainer,
            tags=[self.study.name, cell.trainer, role],
            config={
                **{"study": self.study.name, "cell": cell.id, "trainer": cell.trainer, "trainer_version": cell.version},
                **counts,
                **cell.columns,
            },
        )
        for axis in AXES:
            run.define_metric(axis)
        run.define_metric(f"{POINTS}*", step_metric=AXES[0])
        if self.online:
            return run, run.starting_step if run.resumed else 0
        # What is on the list and no longer due to be sent was sent by `wandb sync`, which adds rows to those it finds.
        return run, max((entry.row for entry in self.sent.entries(run.id)), default=-1) + 1

    def log(self, run: Any, points: Sequence[Measured], last_step: tuple[int, int]) -> tuple[int, int]:
        """Send points in their order. `last_step` is (W&B's step, ours) of the last row; returns the new one.

        A row of W&B is a step, and steps only grow. Points of one step, at several inference budgets, share its row. A
        point that comes late gets the next row: its `step` tells where it belongs.
        """
        row_number, step = last_step
        for event in points:
            point = event.point
            if point.step != step:
                row_number, step = max(point.step, row_number + 1), point.step
            run.log(row_of(event), step=row_number)
        return row_number, step

    def close_cell(
        self, run: Any, points: Sequence[Measured], *, row: int, status: str, failure: str, message: str
    ) -> None:
        last: dict[str, float] = {}
        for event in points:
            last |= row_of(event)
        facts = {"status": status, "points": len(points)}
        if failure:
            facts |= {"failure": failure, "message": without_passwords(message)[:MOST_MESSAGE]}
        run.summary.update({**last, **facts})
        run.finish(exit_code={"failed": 1, "started": STOPPED}.get(status, 0))
        self.sent.add(run.id, points=len(points), status=status, row=row, folder=self._folder_of(run))

    @property
    def fit_id(self) -> str:
        return f"{self.study.name}-fit"

    def has_fit(self, fit: SavedFit) -> bool:
        """Whether this very fit was handed over."""
        return self.sent.has(self.fit_id, points=len(fit.rows), status=fit.digest)

    def send_fit(self, fit: SavedFit) -> None:
        """The table of laws, the report and its figures, as one run that each later fit of the study replaces."""
        study = self.study
        asked = {
            "metric": study.metric.name,
            "inputs": list(study.inputs),
            "hyperparameters": list(study.hyperparameters),
            "held_out": study.split.held_out,
            "laws": list(study.laws),
        }
        with self._study_run("fit", **asked) as run:
            rows = [{name: plain(value) for name, value in row.items()} for row in fit.rows]
            columns = list(dict.fromkeys(name for row in rows for name in row))
            table = self._client.wandb.Table(
                columns=columns, data=[[row.get(name) for name in columns] for row in rows], allow_mixed_types=True
            )
            media: dict[str, Any] = {f"{FIT}laws": table}
            pages = {f"figures/{name}": page for name, page in fit.panels.items()}
            if fit.report_here is not None:
                with open(fit.report_here, encoding="utf-8") as file:
                    pages["report"] = file.read()
            for name, page in pages.items():
                # As text: what looks like the path of a file, wandb would open.
                media[f"{FIT}{name}"] = self._client.wandb.Html(page, inject=False, data_is_not_path=True)
            run.log(media)
            run.summary.update(
                {
                    f"{FIT}{of_task(row)}{row.get('law', number)}/{name}": value
                    for number, row in enumerate(rows)
                    for name, value in row.items()
                    if name not in ("task", "law") and value is not None
                }
            )
            if self.online:
                wait_for_table(table)
        self.sent.add(run.id, points=len(fit.rows), status=fit.digest, row=-1, folder=self._folder_of(run))

    def send_costs(self, costs: Mapping[str, Any]) -> None:
        """What the study has cost, and what was wrong with its nodes: the summary of one run."""
        with self._study_run("costs") as run:
            run.summary.update({f"{COSTS}{name}": value for name, value in costs.items()})

    def send_forecast(self, values: Mapping[str, float]) -> None:
        """What is foretold at the target so far, a step of one run's history a fit."""
        with self._study_run("forecast") as run:
            run.log({f"{FIT}{name}": value for name, value in values.items()})

    def send_alert(self, text: str) -> None:
        """An alert, which W&B passes on by mail or as its user has asked for."""
        with self._study_run("costs") as run:
            run.alert(title=self.study.name, text=text, level="WARN")

    @contextmanager
    def _study_run(self, kind: str, **config: Any) -> Iterator[Any]:
        """The one run of a study that holds its `fit`, its `costs` or its `forecast`."""
        name = self.study.name
        run = self._open(
            id=f"{name}-{kind}",
            name=f"{name} {kind}",
            job_type=kind,
            tags=[name, kind],
            config={"study": name, "trainer": self.study.trainer, **config},
        )
        try:
            yield run
        finally:  # A run left open would be waited for when the process ends.
            run.finish()

    def _folder_of(self, run: Any) -> str:
        """Name of the folder with a run's offline files."""
        return "" if self.online else os.path.basename(os.path.dirname(run.dir))

    def end(self, *, failed: bool) -> None:
        """Wait for wandb; after a failure for nothing: what it could not send it would try to send for ever."""
        if self._client.wandb is None:
            return
        self.sent.write()
        if failed:
            self.leave()
            self.recover()  # For whoever opens a run in this process later.
        else:
            self._client.end()

    def recover(self) -> bool:
        """After a failure: whether a new helper process was needed, so that no run is open any more."""
        return self._client.recover()

    def leave(self) -> None:
        """Let the process end although wandb hangs."""
        self._client.leave()

    def _open(self, **settings: Any) -> Any:
        """Sleeps where W&B may not be asked yet: `wait_to_open` says so beforehand."""
        if self.online:
            self._creations.take()
        return self._client.open(**settings)
