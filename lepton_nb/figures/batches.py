"""What the events of a stream say, batch by batch: plain values for figures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from lepton_nb.errors import WindowError
from lepton_nb.events import Event, Progress

# What is read of an event's values; see `lepton_nb.windowing.progress`.
NEEDED = ("rows_per_s", "lag_rows", "watermark", "latest", "late", "state_bytes", "over")


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of a run that is done. Numbers of rows are those since the stream's very beginning.

    seconds: after the first of the batches given. rows_per_s: over the last 10 s. lag_rows: None where the source
    cannot tell. watermark, latest: None before the first rows, and the watermark also at the end of the source.
    """

    run: str
    seconds: float
    rows: int
    rows_per_s: float
    lag_rows: int | None
    watermark: date | None
    latest: date | None
    late: int
    state_bytes: int
    over: bool


def batches(events: Iterable[Event]) -> list[Batch]:
    """The batches that `Progress` events tell of, in order; other events are passed over.

    Events of several runs may follow each other. Raises WindowError for what is no event, and for events of a run that
    is no stream.
    """
    found = []
    for event in events:
        if not isinstance(event, Event):
            raise WindowError(f"events are those of a stream, stream.events, not a {type(event).__name__}")
        if isinstance(event, Progress):
            _check(event)
            found.append(event)
    found.sort(key=lambda event: event.at_s)
    return [_batch(event, found[0].at_s) for event in found]


class Course:
    """The batches of a stream that may run for days, in bounded memory: of older ones fewer, evenly spread.

    Holds at most `most` batches, the first and the last among them. One thread may add while others read.
    """

    def __init__(self, most: int = 1_000) -> None:
        self._most = max(4, most)
        self._lock = threading.Lock()
        self._kept: list[Batch] = []
        self._last: Batch | None = None
        self._begun_s = 0.0
        self._every = 1
        self._seen = 0

    def add(self, event: Event) -> None:
        """Take in an event of the stream. Only `Progress` events say something."""
        if not isinstance(event, Progress):
            return
        _check(event)
        with self._lock:
            self._begun_s = self._begun_s or event.at_s
            self._last = _batch(event, self._begun_s)
            if self._seen % self._every == 0:
                self._kept.append(self._last)
            self._seen += 1
            if len(self._kept) >= self._most:
                self._kept = self._kept[::2]
                self._every *= 2

    @property
    def batches(self) -> list[Batch]:
        """In their order."""
        with self._lock:
            if self._last is None or self._kept[-1] is self._last:
                return [*self._kept]
            return [*self._kept, self._last]


def _check(event: Progress) -> None:
    missing = [name for name in NEEDED if name not in event.values]
    if missing:
        raise WindowError(
            f"the events of {event.run!r} are not those of a stream (they have no {missing[0]!r}); give stream.events",
            run=event.run,
        )


def _batch(event: Progress, begun_s: float) -> Batch:
    return Batch(event.run, event.at_s - begun_s, event.done, **{name: event.values[name] for name in NEEDED})


def thinned(found: list[Batch], most: int) -> list[Batch]:
    """At most about `most` of them, evenly spread, the last one among them."""
    step = -(-len(found) // most) if found else 1
    return found[::step] + (found[-1:] if (len(found) - 1) % step else [])


def by_run(found: Sequence[Batch], **columns: Callable[[Batch], Any]) -> dict[str, list[Any]]:
    """Columns of values for one line, broken between runs: name to a function of a batch."""
    made: dict[str, list[Any]] = {name: [] for name in columns}
    for number, batch in enumerate(found):
        for name, read in columns.items():
            if number and found[number - 1].run != batch.run:
                made[name].append(None)
            made[name].append(read(batch))
    return made
