"""What a tracker is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


class TrackingWarning(UserWarning):
    """The history of a run could not be written somewhere; the training went on."""


@runtime_checkable
class Tracker(Protocol):
    """Keeps the history of one run in one place; its methods are called by one thread, one after the other.

    `where` says in words what is written to, such as "JSON lines in runs/history.jsonl". A method that cannot write
    raises, and what it was given is written with a later call, if that succeeds. Rows may come twice.
    """

    where: str

    def begin(self, facts: Mapping[str, Any]) -> None:
        """The run begins. `facts`: name (str), options (mapping), resumed (True for a run that goes on with one)."""
        ...

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows of `history.STEP_SCHEMA`, and perhaps further figures."""
        ...

    def epoch(self, row: Mapping[str, Any]) -> None:
        """A row of `history.EPOCH_SCHEMA`, and perhaps further figures."""
        ...

    def end(self, status: str, facts: Mapping[str, Any]) -> None:
        """The run ended: "finished", "stopped" or "failed". `facts`: what it cost, its error, and the like."""
        ...
