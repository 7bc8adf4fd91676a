"""A tracker that may be slow, in a background run of its own."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_nb.background import BackgroundRun, Control
from lepton_nb.errors import LeptonError, TrainingError
from lepton_nb.training.tracking.tracker import Tracker

END_TIMEOUT_S = 30.0

_Message = tuple[str, tuple[Any, ...]]


class Apart:
    """Hands everything to `tracker` in another thread, so that a slow server does not hold up who tells the news.

    While the tracker cannot write, calls here raise what it raised, at least one of them; once it has caught up they
    do not. `end` waits until all is written, at most `end_timeout_s`.
    """

    def __init__(self, tracker: Tracker, end_timeout_s: float = END_TIMEOUT_S) -> None:
        self.where = tracker.where
        self._tracker = tracker
        self._end_timeout_s = end_timeout_s
        self._waiting: queue.SimpleQueue[_Message | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._raised = False
        self._run = BackgroundRun(self._work, name=f"tracking with {type(tracker).__name__}")

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Start the other thread."""
        self._run.start()
        self._hand("begin", facts)

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Returns at once."""
        self._hand("steps", list(rows))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Returns at once."""
        self._hand("epoch", row)

    def end(self, status: str, facts: Mapping[str, Any]) -> None:
        """Waits; raises TrainingError where the tracker takes too long, and it then goes on in the background."""
        self._waiting.put(("end", (status, facts)))
        self._waiting.put(None)
        try:
            self._run.wait(self._end_timeout_s)
        except LeptonError as error:
            raise TrainingError(
                f"not everything was taken within {self._end_timeout_s} s; the rest goes there as long as this "
                "program lives"
            ) from error
        self._raise()

    def _hand(self, method: str, argument: Any) -> None:
        self._waiting.put((method, (argument,)))
        self._raise()

    def _raise(self) -> None:
        error = self._error
        if error is not None:
            self._raised = True
            raise error

    def _work(self, control: Control) -> None:
        control.on_stop(lambda: self._waiting.put(None))
        while True:
            batch = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    batch.append(self._waiting.get_nowait())
            for method, arguments in _merged(batch):
                try:
                    getattr(self._tracker, method)(*arguments)
                    if self._raised:
                        self._error, self._raised = None, False
                except Exception as error:  # raised again in the thread that tells the news
                    self._error = error
            if None in batch:
                return


def _merged(batch: Sequence[_Message | None]) -> list[_Message]:
    """The messages, with rows of steps that follow each other as one: a slow server catches up."""
    found: list[_Message] = []
    for message in batch:
        if message is None:
            continue
        if message[0] == "steps" and found and found[-1][0] == "steps":
            message = ("steps", ([*found.pop()[1][0], *message[1][0]],))
        found.append(message)
    return found
