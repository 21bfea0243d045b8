"""Everything that touches wandb: where the key is, what a run looks like, and how to leave a wandb that hangs.

wandb is imported by the first run that is opened, in the thread that opens it.
"""

from __future__ import annotations

import configparser
import contextlib
import math
import netrc
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import PipelineError
from pipeline.store import Folder, Measured, SavedFit, Store
from pipeline.study import Cell, Study, show_config
from pipeline.tracking.pace import CREATIONS_AT_ONCE, CREATIONS_PER_SECOND, TokenBucket
from pipeline.tracking.sent import Sent

HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""W&B's own servers, as `wandb login` names them in the netrc file."""
PAGES = "https://wandb.ai"
"""Where W&B's own servers show runs."""
INIT_SECONDS = 30.0
"""For W&B to answer when a run is opened: long for a healthy server, short enough to get back to the other cells."""
TABLE_SECONDS = 30.0
"""For W&B to take a table of a few rows: likewise."""
STOPPED = 255
"""Exit code that W&B shows as a run that was stopped by its user."""
AXES = ("step", "examples")
"""What W&B may draw points along: it takes the first unless its user picks the other."""
POINTS, FIT, COSTS = "points/", "fit/", "costs/"
"""Names are in sections: W&B shows each as a group of panels of its own."""
MOST_NAME, MOST_MESSAGE = 120, 1000
"""Characters: W&B refuses names above 128, and nobody reads a summary above a screen."""


def choose_mode(mode: str) -> str:
    """`online`, `offline` or `off` for a mode that may be `auto`. Raises PipelineError for what cannot work."""
    if mode not in ("auto", "online", "offline", "off"):
        raise PipelineError(f"W&B mode {mode!r} must be auto, online, offline or off")
    wish = os.environ.get("WANDB_MODE", "") if mode == "auto" else ""
    if mode == "off" or wish == "disabled":
        return "off"
    if mode == "offline" or wish in ("offline", "dryrun"):
        return "offline"
    if _has_key():
        return "online"
    if mode == "online":
        raise PipelineError("W&B has no key here: run `wandb login`, set WANDB_API_KEY, or choose W&B offline")
    return "offline"


def runs_url(mode: str, *, study: Study) -> str:
    """Address of a cell's run at W&B, with `{cell}` for the cell; empty where runs stay here, or nobody names the owner
    of the project. Raises PipelineError as `choose_mode` does.
    """
    owner = os.environ.get("WANDB_ENTITY", "")
    if not owner or choose_mode(mode) != "online":
        return ""
    return f"{_base_url() or PAGES}/{owner}/{project()}/runs/{study.name}-{{cell}}"


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
        folder = os.path.abspath(folder)
        # wandb puts its files into a folder of this name whatever it is told: do not nest two of them.
        self._root = os.path.dirname(folder) if os.path.basename(folder) == "wandb" else folder
        self.folder = os.path.join(self._root, "wandb")
        self.project = project()
        self._varied = [name for axis in study.axes for name in axis.fields] + ["seed"]
        self._earlier: dict[str, list[str]] = {}
        """Folders with offline files of a run, by its identity; known once wandb is loaded."""
        self._quiet = False
        self._stuck = False
        """Whether wandb's helper holds a run that could not be opened: it refuses that run as `in use` from then on."""
        self._wandb: Any = None
        self._settings: Any = None

    @property
    def destination(self) -> str:
        where = f"{_base_url()}/{os.environ.get('WANDB_ENTITY', '')}" if self.online else "offline"
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
            run.log(_row(event), step=row_number)
        return row_number, step

    def close_cell(
        self, run: Any, points: Sequence[Measured], *, row: int, status: str, failure: str, message: str
    ) -> None:
        last: dict[str, float] = {}
        for event in points:
            last |= _row(event)
        facts = {"status": status, "points": len(points)}
        if failure:
            facts |= {"failure": failure, "message": _without_passwords(message)[:MOST_MESSAGE]}
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
            rows = [{name: _plain(value) for name, value in row.items()} for row in fit.rows]
            columns = list(dict.fromkeys(name for row in rows for name in row))
            table = self._wandb.Table(
                columns=columns, data=[[row.get(name) for name in columns] for row in rows], allow_mixed_types=True
            )
            media: dict[str, Any] = {f"{FIT}laws": table}
            pages = {f"figures/{name}": page for name, page in fit.panels.items()}
            if fit.report_here is not None:
                with open(fit.report_here, encoding="utf-8") as file:
                    pages["report"] = file.read()
            for name, page in pages.items():
                # As text: what looks like the path of a file, wandb would open.
                media[f"{FIT}{name}"] = self._wandb.Html(page, inject=False, data_is_not_path=True)
            run.log(media)
            run.summary.update(
                {
                    f"{FIT}{_of_task(row)}{row.get('law', number)}/{name}": value
                    for number, row in enumerate(rows)
                    for name, value in row.items()
                    if name not in ("task", "law") and value is not None
                }
            )
            if self.online:
                _wait_for_table(table)
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
        """Wait for wandb's helper process: a finished run's file is complete only a moment after `finish` returns.

        After a failure nothing is waited for: what wandb could not send it would try to send for ever.
        """
        if self._wandb is None:
            return
        self.sent.write()
        if failed:
            self.leave()
            self.recover()  # For whoever opens a run in this process later.
            return
        with contextlib.suppress(Exception):
            if _setup().most_recent_active_run is None:  # Else someone else in this process still needs the helper.
                self._wandb.teardown()

    def recover(self) -> bool:
        """After a failure: let the next run start another helper process where wandb's has died, which wandb does not,
        and where it is stuck. True if so: then no run is open any more, and W&B knows what it has of each.
        """
        with contextlib.suppress(Exception):
            helper = _setup()._connection._proc._process
            if self._stuck:
                self.leave()
                self._stuck = False
            if helper.poll() is not None:
                self._quiet = False
                self._wandb.teardown()
                return True
        return False

    def leave(self) -> None:
        """Let the process end although wandb hangs: its hook at exit would wait for its helper without limit.

        There is no public call for this. Where wandb has moved these names, the process may end late, and no worse.
        """
        with contextlib.suppress(Exception):
            connection = _setup()._connection
            connection._finalizer._queue.put(None)  # Else its thread prints the traceback of a closed connection.
            connection._cleanup()
            connection._proc._process.kill()
            connection._proc._process.wait(5)  # Until then `recover` would take it for alive.

    def _open(self, *, id: str, name: str, job_type: str, tags: list[str], config: dict[str, Any]) -> Any:
        """Sleeps where W&B may not be asked yet: `wait_to_open` says so beforehand."""
        wandb = self._load()
        if self.online:
            self._creations.take()
        else:
            self._remove_earlier(id)
        try:
            run = wandb.init(
                id=id,
                name=name[:MOST_NAME],
                project=self.project,
                group=self.study.name,
                job_type=job_type,
                tags=[tag[:64] for tag in tags],
                config=config,
                dir=self._root,
                mode="online" if self.online else "offline",
                resume="allow",
                reinit="create_new",
                settings=self._settings,
            )
        except Exception:
            self._stuck = self.online
            raise
        if not self.online:
            self._earlier.setdefault(id, []).append(os.path.dirname(run.dir))
        return run

    def _load(self) -> Any:
        if self._wandb is None:
            # Reports about wandb's own crashes would leave this machine, offline too.
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
            import wandb

            os.makedirs(self.folder, exist_ok=True)
            self._settings = quiet_settings(wandb)
            self._earlier = _offline_folders(self.folder)
            self._wandb = wandb
        if not self._quiet:
            self._wandb.setup(self._wandb.Settings(silent=True))  # What wandb says outside of runs, such as at login.
            self._quiet = True
        return self._wandb

    def _remove_earlier(self, id: str) -> None:
        """Delete offline files of this run that nobody has sent: what is in them is written again.

        Files that `wandb sync` has sent, or has begun to send, stay. To write their points again would double them.
        """
        kept = []
        for path in self._earlier.pop(id, []):
            if any(name.endswith((".synced", ".syncstate")) for name in os.listdir(path)):
                kept.append(path)
            else:
                self.sent.withdraw(id, os.path.basename(path))
                shutil.rmtree(path)
        self._earlier[id] = kept


def quiet_settings(wandb: Any) -> Any:
    """Nothing about the machine, its user, the command line or the code is sent: only what a run is given."""
    wish = {
        **{"silent": True, "console": "off", "symlink": False, "use_dot_wandb": False},
        **{"save_code": False, "disable_code": True, "disable_git": True, "label_disable": True},
        **{"disable_job_creation": True, "x_save_requirements": False, "host": ""},
        # Else the path of the file that Python was started with.
        **{"program": "unsl", "x_disable_stats": True, "x_disable_meta": True, "x_disable_machine_info": True},
        **{"init_timeout": INIT_SECONDS, "login_timeout": INIT_SECONDS},
    }
    known = wandb.Settings.model_fields  # Settings come and go with wandb's versions.
    return wandb.Settings(**{name: value for name, value in wish.items() if name in known})


def _wait_for_table(table: Any) -> None:
    """Raises where W&B did not take a table: wandb itself only mentions it in a log that nobody reads.

    There is no public call that asks this of a table. Where wandb has moved these names, it is taken for sent.
    """
    try:
        handle = table._artifact_target.artifact._save_handle
        result = handle.wait_or(timeout=TABLE_SECONDS)
        refusal = result.response.log_artifact_response.error_message
    except AttributeError:
        return
    if refusal:
        raise PipelineError(f"W&B did not take the table of laws: {refusal}")


def _setup() -> Any:
    """wandb's own state in this process. Not imported, as that would wait for a thread that hangs in an import."""
    return sys.modules["wandb.sdk.wandb_setup"]._singleton


def _offline_folders(folder: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in os.listdir(folder):
        if match := re.fullmatch(r"offline-run-\d{8}_\d{6}-(.+)", name):
            path = os.path.join(folder, name)
            # wandb may have added a number to the folder's name; it never does to the file's.
            files = [file for file in os.listdir(path) if re.fullmatch(r"run-.+\.wandb", file)]
            found.setdefault(files[0][4:-6] if files else match[1], []).append(path)
    return found


def _row(event: Measured) -> dict[str, float]:
    point = event.point
    suffix = "" if point.inference_steps == 1 else f"@k{point.inference_steps}"
    row = {f"{POINTS}{name}{suffix}": value for name, value in point.metrics.items()}
    row |= {"step": point.step, "examples": point.examples, "flops": point.flops, "seconds": point.seconds}
    return {name: value for name, value in row.items() if math.isfinite(value)}


def _of_task(row: Mapping[str, Any]) -> str:
    """What keeps the rows of a law apart, where it was fitted to several tasks."""
    return f"{row['task']}/" if row.get("task") else ""


def _plain(value: Any) -> Any:
    """A value of a table as W&B takes it: None for what is not finite, text for what is no number."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int) else str(value)


def _without_passwords(text: str) -> str:
    return re.sub(r"://[^/\s@]+@", "://***@", text)


def project() -> str:
    """The project that all studies' runs are in."""
    return os.environ.get("WANDB_PROJECT") or "unsl"


def _base_url() -> str:
    """The server that wandb would talk to, or nothing where that is its default."""
    if url := os.environ.get("WANDB_BASE_URL"):
        return url
    folder = os.environ.get("WANDB_CONFIG_DIR") or os.path.expanduser("~/.config/wandb")
    settings = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(configparser.Error, OSError):
        settings.read(os.path.join(folder, "settings"))
    return settings.get("default", "base_url", fallback="")


def _has_key() -> bool:
    """Whether wandb would find credentials. Asked without importing it; the key itself goes nowhere."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    hosts = (urlsplit(url).netloc,) if (url := _base_url()) else HOSTS
    paths = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    for path in paths:
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            entries = netrc.netrc(os.path.expanduser(path))
            if any(entries.hosts.get(host) for host in hosts):
                return True
    return False
