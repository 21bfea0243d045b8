"""What lies where in a study's folder, and in which version of the format.

    STORE/STUDY/store.json              the version of the format
    STORE/STUDY/points/*.parquet        points of finished cells, a row a point (`pipeline.store.points`)
    STORE/STUDY/journal/*.jsonl         events of the other cells (`pipeline.store.journal`)
    STORE/STUDY/checkpoints/CELL/       state of unfinished cells, written by workers (`pipeline.run.checkpoints`)
    STORE/STUDY/lease/*.json            who is writing (`pipeline.store.lease`)
    STORE/STUDY/questions/*.json        what was asked, and since when (`pipeline.store.question`)
    STORE/STUDY/rounds/*.json           cells that its rounds have added (`pipeline.store.rounds`)
    STORE/STUDY/tracking/*.jsonl        what W&B has received (`pipeline.tracking.sent`)
    STORE/STUDY/fit.json                the last fit, for W&B (`pipeline.store.saved_fit`)
    STORE/STUDY/wandb_report.json       which of W&B's reports is the study's (`unsl report --wandb`)

Format 1 had no `store.json`, numbered its files without their writer, let every file of `points/` have columns of its
own, and held its lease in `driver.json`. It is read as it is; the first driver turns it into today's.
"""

from __future__ import annotations

import json
import os
import socket
import time

from pipeline.errors import OutsideError, PipelineError
from pipeline.store.files import Folder

FORMAT = 2
NAME = "store.json"
OLD_LEASE = "driver.json"
OLD_EXPIRE_SECONDS = 60.0
"""A driver of format 1 renewed its lease every ten seconds."""


def read_format(folder: Folder) -> int | None:
    """The format of a store; None where it has none yet, as in format 1. Raises PipelineError for a later one."""
    try:
        found = int(json.loads(folder.read(NAME))["format"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{folder.path(NAME)} is damaged: it should be {json.dumps({'format': FORMAT})}") from error
    if found > FORMAT:
        raise PipelineError(
            f"the store {folder.path()} has format {found}, and this version of unsl knows those up to {FORMAT}: "
            "install a later one"
        )
    return found


def bring_up_to_date(folder: Folder) -> None:
    """For the one driver: mark a store as of today's format. Files of earlier ones are rewritten as they are merged.

    Raises OutsideError where a driver of an earlier version is at work, which knows nothing of today's lease.
    """
    if read_format(folder) == FORMAT:
        return
    try:
        holder = json.loads(folder.read(OLD_LEASE))
    except (FileNotFoundError, ValueError):
        holder = None
    if holder and _old_is_alive(holder):
        raise OutsideError(
            f"a driver of an earlier version of unsl is running this study: process {holder['process']} on "
            f"{holder['host']}. Stop it first"
        )
    folder.remove(OLD_LEASE)
    folder.write(NAME, json.dumps({"format": FORMAT}).encode())


def _old_is_alive(holder: dict) -> bool:
    """As format 1 judged."""
    if holder["host"] == socket.gethostname():
        try:
            os.kill(holder["process"], 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
    return time.time() - holder["renewed"] < OLD_EXPIRE_SECONDS
