"""W&B as a view of the store: it may be off, late, or rebuilt, and training never waits for it."""

from pipeline.tracking.account import runs_url
from pipeline.tracking.artifacts import send_artifact
from pipeline.tracking.tracker import NoTracker, Tracker, TrackingOutcome, make_tracker, sync

__all__ = ["NoTracker", "Tracker", "TrackingOutcome", "make_tracker", "runs_url", "send_artifact", "sync"]
