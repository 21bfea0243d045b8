"""W&B as a view of the store: it may be off, late, or rebuilt, and training never waits for it."""

from pipeline.tracking.account import choose_mode, project_name, runs_url
from pipeline.tracking.artifacts import send_artifact
from pipeline.tracking.tracker import NoTracker, Tracker, TrackingOutcome, make_tracker, sync

__all__ = [
    "NoTracker",
    "Tracker",
    "TrackingOutcome",
    "choose_mode",
    "make_tracker",
    "project_name",
    "runs_url",
    "send_artifact",
    "sync",
]
