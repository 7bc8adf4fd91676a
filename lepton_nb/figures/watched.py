"""A stream as a live view sees it: figures and numbers as they stand now, whoever made it, however long it runs."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.events import Event, Progress
from lepton_nb.figures import live, streams
from lepton_nb.figures.batches import Course
from lepton_nb.windowing.aggregates import Count
from lepton_nb.windowing.progress import nothing_found, told
from lepton_nb.windowing.spec import START

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lepton_nb.windowing.stream import StreamRun

# For a report: of each key, so that the busiest together stay below what a figure draws.
MOST_WINDOWS = 3_000
# More results than that are not read back for a picture.
MOST_ROWS_READ = 1_000_000


class Watched:
    """Watches a stream, from its kept events on, until `close()`. It starts and stops nothing.

    Everything it gives is bounded: the last windows of the busiest keys, and the course of the run in at most 1,000
    batches. `batches` counts those that were seen, so that a view can tell whether there is something new.
    """

    def __init__(self, stream: StreamRun, *, most_keys: int = 6, windows: int = 60) -> None:
        self.stream = stream
        self.course = Course()
        self.batches = 0
        self._most_keys, self._windows = most_keys, windows
        self._last: Progress | None = None
        self._pick: live.Pick | None = None
        # Two threads may look at once: a view that refreshes, and one that is being stored in a report.
        self._looking = threading.Lock()
        self._unwatch = stream.watch(self._seen)

    def close(self) -> None:
        """Watch no longer; what was seen stays."""
        self._unwatch()

    @property
    def recent(self) -> pl.DataFrame | None:
        """The results given last; None where nothing has been read yet."""
        with contextlib.suppress(WindowError):
            return self.stream.recent()
        return None

    @property
    def drawable(self) -> list[str]:
        """The columns of the result that can be drawn; empty where nothing has been read yet."""
        recent = self.recent
        return [] if recent is None else live.drawable(recent.schema)

    def facts(self) -> list[tuple[str, str]]:
        """How the stream stands, as labels and values; empty before the first batch."""
        return [] if self._last is None else told(self._last.done, self._last.values)

    @property
    def nothing_found(self) -> str:
        """Why a stream that is over gave no result, and what to do; "" where it gave one, or still runs."""
        return "" if self._last is None else nothing_found(self._last.done, self._last.values)

    def results(self, value: str, *, unit: str = "") -> tuple[go.Figure, str]:
        """The last windows of the busiest keys as a figure, and in words which they are.

        Raises WindowError where nothing has been read yet, or `value` cannot be drawn.
        """
        recent = self.stream.recent()
        with self._looking:
            if self._pick is None:
                keys = recent.columns[: recent.columns.index(START)]
                self._pick = live.Pick(keys, self._weight(recent), most_keys=self._most_keys, windows=self._windows)
            picked = self._pick.of(recent)
        watermark = self.stream.watermark
        return live.windows(picked.table, value, self._pick.keys, watermark=watermark, unit=unit), picked.text

    def all_results(self, value: str, *, unit: str = "") -> tuple[go.Figure, str]:
        """As `results`, with all windows of the busiest keys, up to 3,000 each: for a report, which is drawn once."""
        recent = self.stream.recent()
        whole = recent
        if self._last is not None and self._last.values["windows"] <= MOST_ROWS_READ:
            # Of a run that went on where another stood, also what that one gave; some sinks cannot be read back.
            with contextlib.suppress(WindowError):
                whole = self.stream.table()
        keys = recent.columns[: recent.columns.index(START)]
        picked = live.Pick(keys, self._weight(recent), most_keys=self._most_keys, windows=MOST_WINDOWS).of(whole)
        watermark = self.stream.watermark
        figure = live.windows(picked.table, value, keys, watermark=watermark, unit=unit)
        return figure, live.told(picked, whole.height, keys)

    def progress(self) -> go.Figure:
        """Throughput, lag, late rows and state over the seconds of the run."""
        return streams.course(self.course.batches)

    def last_rows(self, count: int) -> pl.DataFrame:
        """The results whose windows end last, the latest first; empty where there is none."""
        recent = self.recent
        return pl.DataFrame() if recent is None else live.last_rows(recent, count)

    def _weight(self, recent: pl.DataFrame) -> str:
        """The column that says how busy a key is: a count of rows, if the query has one."""
        counts = [name for name, aggregate in self.stream.specs[0].aggregates if isinstance(aggregate, Count)]
        return next((name for name in counts if name in recent.columns), "")

    def _seen(self, event: Event) -> None:
        self.course.add(event)
        if isinstance(event, Progress):
            self._last = event
            self.batches += 1
