"""All trackers of a run together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lepton_nb.training.tracking.tracker import Tracker, TrackingWarning


def _warn(message: str) -> None:
    warnings.warn(message, TrackingWarning, stacklevel=4)


class Tracking:
    """Tells every tracker the news of a run; one that fails does not end the training.

    What goes wrong is told as a sentence: once for each tracker when it first fails, and once at the end if its
    history may have stayed incomplete. `tell` gets it in the calling thread; by default it is a TrackingWarning.
    """

    def __init__(self, trackers: Sequence[Tracker], tell: Callable[[str], None] = _warn) -> None:
        self._trackers = tuple(trackers)
        self._tell = tell
        self._failed: set[int] = set()

    def begin(self, facts: Mapping[str, Any]) -> None:
        """See `Tracker.begin`."""
        self._each(lambda tracker: tracker.begin(facts))

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See `Tracker.steps`."""
        self._each(lambda tracker: tracker.steps(rows))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """See `Tracker.epoch`."""
        self._each(lambda tracker: tracker.epoch(row))

    def end(self, status: str, facts: Mapping[str, Any]) -> None:
        """See `Tracker.end`."""
        for tracker in self._trackers:
            try:
                tracker.end(status, facts)
            except Exception as error:  # whatever a library raises; it is told
                self._tell(f"the history in {tracker.where} may be incomplete: {_why(error)}")

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for number, tracker in enumerate(self._trackers):
            try:
                call(tracker)
            except Exception as error:  # whatever a library raises; it is told
                if number not in self._failed:
                    self._failed.add(number)
                    self._tell(
                        f"the history cannot be written as {tracker.where}: {_why(error)}; the training goes on, and "
                        "what is missing there is written as soon as that works"
                    )


def _why(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
