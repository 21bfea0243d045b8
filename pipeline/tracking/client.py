"""The wandb library: loaded late, opened quietly, and left where it hangs.

wandb is imported by the first run that is opened, in the thread that opens it. Some of its names that are used here are
private; where a version has moved them, a process ends later, and no worse.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from typing import Any

from pipeline.errors import PipelineError
from pipeline.tracking.account import project_name

INIT_SECONDS = 30.0
"""For W&B to answer when a run is opened: long for a healthy server, short enough to get back to the other cells."""
TABLE_SECONDS = 30.0
"""For W&B to take a table of a few rows: likewise."""
MOST_NAME, MOST_TAG = 120, 64
"""Characters: W&B refuses names above 128, and tags above 64."""


class Client:
    """Opens runs of one group, and leaves no helper process of wandb's behind.

    folder: of this machine, for wandb's files. withdrawn: told of offline files that are written anew, by the run's
    identity and the name of their folder.
    """

    def __init__(self, folder: str, *, group: str, online: bool, withdrawn: Callable[[str, str], None]):
        folder = os.path.abspath(folder)
        # wandb puts its files into a folder of this name whatever it is told: do not nest two of them.
        self._root = os.path.dirname(folder) if os.path.basename(folder) == "wandb" else folder
        self.folder = os.path.join(self._root, "wandb")
        self._group, self._online, self._withdrawn = group, online, withdrawn
        self._earlier: dict[str, list[str]] = {}
        """Folders with offline files of a run, by its identity; known once wandb is loaded."""
        self._quiet = False
        self._stuck = False
        """Whether wandb's helper holds a run that could not be opened: it refuses that run as `in use` from then on."""
        self._wandb: Any = None
        self._settings: Any = None

    @property
    def wandb(self) -> Any:
        """The library itself, once a run was opened; None until then."""
        return self._wandb

    def open(self, *, id: str, name: str, job_type: str, tags: list[str], config: dict[str, Any]) -> Any:
        wandb = self._load()
        if not self._online:
            self._remove_earlier(id)
        try:
            run = wandb.init(
                id=id,
                name=name[:MOST_NAME],
                project=project_name(),
                group=self._group,
                job_type=job_type,
                tags=[tag[:MOST_TAG] for tag in tags],
                config=config,
                dir=self._root,
                mode="online" if self._online else "offline",
                resume="allow",
                reinit="create_new",
                settings=self._settings,
            )
        except Exception:
            self._stuck = self._online
            raise
        if not self._online:
            self._earlier.setdefault(id, []).append(os.path.dirname(run.dir))
        return run

    def end(self) -> None:
        """Wait for wandb's helper process: a finished run's file is complete only a moment after `finish` returns."""
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

        There is no public call for this.
        """
        with contextlib.suppress(Exception):
            connection = _setup()._connection
            connection._finalizer._queue.put(None)  # Else its thread prints the traceback of a closed connection.
            connection._cleanup()
            connection._proc._process.kill()
            connection._proc._process.wait(5)  # Until then `recover` would take it for alive.

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
                self._withdrawn(id, os.path.basename(path))
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


def wait_for_table(table: Any) -> None:
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
