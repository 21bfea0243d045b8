"""W&B as a view of the store: it may be off, late, or rebuilt, and training never waits for it."""

from pipeline.tracking.artifacts import send_artifact
from pipeline.tracking.tracker import NoTracker, Tracker, TrackingOutcome, make_tracker, sync
from pipeline.tracking.wandb_runs import choose_mode, project, runs_url

__all__ = [
    "NoTracker",
    "Tracker",
    "TrackingOutcome",
    "choose_mode",
    "make_tracker",
    "project",
    "runs_url",
    "send_artifact",
    "sync",
]
