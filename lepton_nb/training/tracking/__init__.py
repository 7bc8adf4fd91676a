"""The history of a run, kept where other programs read it: JSON lines, TensorBoard event files, MLflow."""

from __future__ import annotations

from lepton_nb.training.tracking.choose import check_track, trackers
from lepton_nb.training.tracking.tracker import Tracker, TrackingWarning
from lepton_nb.training.tracking.tracking import Tracking

__all__ = ["Tracker", "Tracking", "TrackingWarning", "check_track", "trackers"]
