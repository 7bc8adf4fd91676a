"""What a live chart shows, and what of it its views do not have yet: plain values, no widget and no clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from lepton_nb.errors import LeptonError
from lepton_nb.figures.filled import has_data, until_filled
from lepton_nb.figures.series import FEWEST_POINTS, POINTS_A_PIXEL, Series, ends_of, equal, jsonable, raw
from lepton_nb.figures.words import describe

if TYPE_CHECKING:
    import plotly.graph_objects as go

PLOTLY = "application/vnd.plotly.v1+json"
# Of a chart that nobody has opened yet, and of the picture that a saved notebook keeps.
USUAL_WIDTH = 1000
# A line is thinned anew for a chart of another width when that is so much narrower or wider: less is not seen.
NARROWER, WIDER = 0.6, 1.3


class ChartState:
    """A figure that changes: `take` and `append` change it, `whole` and `frame` are what views are sent.

    Its caller holds `lock` around what belongs together. `x_range`: the part of the x axis that is shown, None for all.
    `revision` grows with what is to be seen.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.series: list[Series] = []
        self.layout: dict[str, Any] = {}
        self.x_range: Any = None
        self.revision = 0
        # The layout as it was given, before it was made ready for JSON.
        self._given: dict[str, Any] = {}
        # What the views have: points of each trace that were sent as they are, None where they were thinned.
        self._sent: list[int | None] = []
        self._stale: set[int] = set()
        self._restyled: set[int] = set()
        self._whole = self._laid_out = True
        # Nothing is drawn yet, and that is told in the figure's place.
        self._empty = True
        # The words of which state the views have.
        self._worded = 0
        self._width = USUAL_WIDTH

    @property
    def over_time(self) -> bool:
        """True where its x axis has times."""
        return (self.layout.get("xaxis") or {}).get("type") == "date"

    @property
    def text(self) -> str:
        """The figure in words."""
        return describe(self.series, self.layout)

    @property
    def behind(self) -> bool:
        """True where views lack points of what they show."""
        return bool(self._stale)

    def take(self, figure: go.Figure) -> bool:
        """Show `figure` from now on; False where it does not differ from what is there."""
        series = [Series(trace.to_plotly_json()) for trace in figure.data]
        given = figure.layout.to_plotly_json()
        # A template is most of a layout, and mostly the same.
        same = equal(given, self._given) and [one.dates for one in series] == [one.dates for one in self.series]
        layout = self.layout if same else jsonable(given)
        self._given = given
        for one in series:
            # Times come as numbers, which Plotly would take for numbers.
            if one.dates:
                layout.setdefault(one.axis, {}).setdefault("type", "date")
        stale, restyled = set(), set()
        whole, laid_out = len(series) != len(self.series), layout != self.layout
        if whole:
            self._sent = [None] * len(series)
        else:
            for index, (old, new) in enumerate(zip(self.series, series, strict=True)):
                if not old.same_options(new):
                    restyled.add(index)
                if not old.same_points(new):
                    stale.add(index)
                    if not old.begins(new):
                        self._sent[index] = None
        self.series, self.layout = series, layout
        empty = not any(map(has_data, series))
        laid_out = laid_out or empty != self._empty
        self._empty = empty
        self._whole, self._laid_out = self._whole or whole, self._laid_out or laid_out
        self._stale |= stale
        self._restyled |= restyled
        changed = whole or laid_out or bool(stale or restyled)
        self.revision += changed
        return changed

    def append(self, trace: int, x: Any, y: Any) -> None:
        """Add points to the end of a trace. Raises LeptonError for what does not fit, and for no such trace."""
        if not isinstance(trace, int) or not 0 <= trace < len(self.series):
            raise LeptonError(f"there is no trace {trace!r}; the chart has {len(self.series)}, counted from 0")
        self.series[trace].append(x, y)
        self._stale.add(trace)
        if self._empty and has_data(self.series[trace]):
            # The first point takes away what stood in its place.
            self._empty, self._laid_out = False, True
        self.revision += 1

    def whole(self) -> dict[str, Any]:
        """All that a view needs to begin with."""
        parts = []
        for index, one in enumerate(self.series):
            part: dict[str, Any] = {"index": index, "options": one.options}
            if one.grows:
                x, y = one.drawn(self._points, self._span(one))
                part |= {"x": {"dtype": "f8", "data": raw(x)}, "y": {"dtype": "f8", "data": raw(y)}}
            parts.append(part)
        return {"revision": self.revision, "whole": True, "layout": self._shown_layout, "traces": parts}

    def frame(self) -> tuple[dict[str, Any], list[memoryview], bool]:
        """What is new since the last frame, its buffers, and whether the words are new; views have it from then on."""
        buffers: list[memoryview] = []
        indices = range(len(self.series)) if self._whole else sorted(self._stale | self._restyled)
        frame: dict[str, Any] = {"whole": self._whole, "traces": [self._part(index, buffers) for index in indices]}
        if self._whole or self._laid_out:
            frame["layout"] = self._shown_layout
        worded = self._whole or self._worded != self.revision
        self._sent_all()
        return frame, buffers, worded

    def lost(self) -> None:
        """A view lacks something: the next frame is whole."""
        self._whole = True

    def greet(self, seen: int, width: int, *, alone: bool) -> bool:
        """Take in a view that began with the state of revision `seen`; False where it is to be sent a frame."""
        current = seen == self.revision
        if not current:
            self._whole = True
        elif alone:
            self._sent_all()
        self.resize(width)
        return current and not self._stale

    def resize(self, width: int) -> None:
        """Note how many pixels wide a view is."""
        if not NARROWER <= width / self._width <= WIDER:
            fewest = self._points
            self._width = max(1, width)
            self._thin_again(min(fewest, self._points))

    def move(self, x_range: Any) -> None:
        """Note which part of the x axis is shown."""
        self.x_range = x_range
        self._thin_again(self._points)

    def still(self, text: str | None = None) -> dict[str, Any]:
        """As an output of a notebook that needs no kernel: thinned for a page, and in words."""
        traces = [jsonable(one.trace(POINTS_A_PIXEL * USUAL_WIDTH)) for one in self.series]
        words = self.text if text is None else text
        return {PLOTLY: {"data": traces, "layout": self._shown_layout}, "text/plain": words}

    @property
    def _shown_layout(self) -> dict[str, Any]:
        return until_filled(self.layout, self.series) if self._empty else self.layout

    @property
    def _points(self) -> int:
        return max(FEWEST_POINTS, POINTS_A_PIXEL * self._width)

    def _span(self, one: Series) -> tuple[float, float] | None:
        """What is shown of a trace's x axis; None: all of it."""
        axis = self.layout.get(one.axis) or {}
        followed = one.axis == "xaxis" or axis.get("matches") == "x" or (one.dates and self.over_time)
        if self.x_range is None or not followed:
            return None
        return ends_of(self.x_range, dates=one.dates)

    def _part(self, index: int, buffers: list[memoryview]) -> dict[str, Any]:
        one = self.series[index]
        part: dict[str, Any] = {"index": index}
        fresh = self._whole or index in self._restyled
        if fresh:
            part |= {"options": one.options}
        if not one.grows:
            return part
        thins = one.thins(self._points)
        sent = None if fresh or thins else self._sent[index]
        x, y = one.drawn(self._points, self._span(one))
        if sent is not None:
            part["at"] = sent
            x, y = x[sent:], y[sent:]
        for name, values in (("x", x), ("y", y)):
            part[name] = {"dtype": "f8", "buffer": len(buffers)}
            buffers.append(raw(values))
        self._sent[index] = None if thins else one.rows
        return part

    def _sent_all(self) -> None:
        self._whole = self._laid_out = False
        self._stale, self._restyled = set(), set()
        self._worded = self.revision

    def _thin_again(self, points: int) -> None:
        """Send lines anew of which not all points were or will be drawn, with room for so many of them."""
        self._stale |= {index for index, one in enumerate(self.series) if one.thins(points)}
