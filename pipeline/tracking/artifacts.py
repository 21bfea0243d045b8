"""Files that W&B keeps as they are: an artifact with versions, each with the server's date and digest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pipeline.errors import OutsideError
from pipeline.tracking.account import choose_mode, project_name
from pipeline.tracking.client import quiet_settings

SEND_SECONDS = 300
"""For W&B to take an artifact: a ledger of 100,000 forecasts is some 20 MB."""


def send_artifact(name: str, files: str, *, kind: str, about: Mapping[str, Any], folder: str) -> tuple[str, str]:
    """Send a local folder as the next version of an artifact, and wait until the server has it.

    Returns the version, as `quickstart-ledger:v3`, and its digest. folder: for wandb's own files. Raises PipelineError
    where there is no key, and OutsideError where W&B does not take it.
    """
    choose_mode("online")
    try:
        import wandb

        os.makedirs(folder, exist_ok=True)
        wandb.setup(wandb.Settings(silent=True))
        run = wandb.init(
            project=project_name(),
            name=name,
            job_type=kind,
            dir=os.path.dirname(folder) if os.path.basename(folder) == "wandb" else folder,
            mode="online",
            reinit="create_new",
            settings=quiet_settings(wandb),
        )
        try:
            artifact = wandb.Artifact(name, type=kind, metadata=dict(about))
            artifact.add_dir(files)
            run.log_artifact(artifact).wait(timeout=SEND_SECONDS)
            return f"{name}:{artifact.version}", artifact.digest
        finally:
            run.finish()
    except Exception as error:  # Whatever wandb raises.
        raise OutsideError(
            f"W&B did not take {name} ({type(error).__name__}: {error}). Nothing is lost: publish it again later"
        ) from error
