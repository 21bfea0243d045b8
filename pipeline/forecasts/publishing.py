"""A witness outside: the ledger's files in a W&B artifact, whose version has the server's date and digest.

Whoever rewrites the whole ledger on this machine cannot rewrite what the server has seen.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.forecasts.ledger import Ledger, Receipt, now
from pipeline.tracking import send_artifact


def publish(ledger: Ledger, *, about: str, folder: str) -> Receipt:
    """Put every entry into the artifact `STUDY-ledger` and keep the receipt beside the ledger.

    folder: for wandb's own files. Raises PipelineError where W&B has no key, or does not take it.
    """
    entries = ledger.entries()
    if not entries:
        raise PipelineError("the ledger has no entry to publish")
    last = entries[-1]
    with tempfile.TemporaryDirectory(prefix="unsl-ledger-") as files:
        for name, content in ledger.files().items():
            Path(files, name).write_bytes(content)
        version, digest = send_artifact(
            f"{Path(about).stem}-ledger",
            files,
            kind="forecasts",
            about={"entries": last.number, "head": last.hash, "forecasts": sum(one.forecasts for one in entries)},
            folder=os.path.abspath(folder),
        )
    receipt = Receipt(number=last.number, hash=last.hash, witness=version, digest=digest, time=now())
    ledger.keep_receipt(receipt)
    return receipt
