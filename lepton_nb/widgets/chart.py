"""`LiveChart`: a Plotly figure that grows and changes in the browser while a kernel works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from ipywidgets import widget_serialization

from lepton_nb.environment import mode
from lepton_nb.errors import LeptonError
from lepton_nb.figures.plotly_js import TRACES
from lepton_nb.figures.series import FEWEST_POINTS, POINTS_A_PIXEL, Series, ends_of, equal, jsonable, raw
from lepton_nb.figures.words import describe
from lepton_nb.widgets.library import library
from lepton_nb.widgets.pump import Pump

if TYPE_CHECKING:
    import plotly.graph_objects as go

STATIC = Path(__file__).parent / "static"
PLOTLY = "application/vnd.plotly.v1+json"
# Of a chart that nobody has opened yet, and of the picture that a saved notebook keeps.
USUAL_WIDTH = 1000
# A line is thinned anew for a chart of another width when that is so much narrower or wider: less is not seen.
NARROWER, WIDER = 0.6, 1.3
KEYS = "Arrow keys move along the x axis, plus and minus zoom, Home shows all."


class LiveChart(anywidget.AnyWidget):
    """A view of a plain Plotly figure that follows it: at the pace of the browser, the newest state first.

    figure: a `go.Figure`; it is copied. label: what a screen reader calls the chart, by default the figure's title.
    summary: a function that tells the chart in words; by default its lines are counted and their ends told.
    `show` and `append` may be called from any thread, as often as one likes: each frame has what is new since the one
    before, and the next one waits until the browser has drawn it. Lines of more points than the chart has pixels are
    thinned so that they look the same; who zooms in is sent what is there. `x_range` is the part of the x axis that is
    shown (two numbers, or times as text; None: all of it), from the browser and to it.
    """

    _esm = STATIC / "chart.js"
    _css = STATIC / "chart.css"
    _library = traitlets.Any().tag(sync=True, **widget_serialization)
    _frame = traitlets.Any().tag(sync=True, to_json=lambda _, chart: chart._state(), from_json=lambda value, _: value)
    label = traitlets.Unicode().tag(sync=True)
    # Names of traces that are not drawn.
    hidden: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    x_range: Any = traitlets.List(default_value=None, allow_none=True).tag(sync=True)

    def __init__(self, figure: go.Figure, *, label: str = "", summary: Callable[[], str] | None = None) -> None:
        self._changing = threading.RLock()
        self._summary = summary
        self._series: list[Series] = []
        self._layout: dict[str, Any] = {}
        # The layout as it was given, before it was made ready for JSON.
        self._given: dict[str, Any] = {}
        # What the views have: points of each trace that were sent as they are, None where they were thinned.
        self._sent: list[int | None] = []
        self._stale: set[int] = set()
        self._restyled: set[int] = set()
        self._whole = self._laid_out = True
        # Grows with what is to be seen; the words of which state the views have.
        self._revision = self._worded = 0
        self._width = USUAL_WIDTH
        self._pump = Pump(self._send_frame)
        self._take(figure)
        title = (self._layout.get("title") or {}).get("text")
        super().__init__(_library=library(), label=label or str(title or "Chart"))
        self.on_msg(self._heard)
        self.observe(self._moved, "x_range")

    @traitlets.validate("x_range")
    def _check_range(self, proposal: Any) -> Any:
        span = proposal["value"]
        if span is not None and ends_of(span, dates=self.over_time) is None:
            kind = "times, such as '2013-01-31 06:00'" if self.over_time else "numbers"
            raise LeptonError(f"x_range={span!r} must be two {kind}; None shows all")
        return span

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its traces."""
        with self._changing:
            return tuple(dict.fromkeys(one.name for one in self._series if one.name))

    @property
    def over_time(self) -> bool:
        """True where its x axis has times."""
        with self._changing:
            return (self._layout.get("xaxis") or {}).get("type") == "date"

    @property
    def figure(self) -> go.Figure:
        """The figure as it stands, with all its points."""
        import plotly.graph_objects as go

        with self._changing:
            return go.Figure(data=[one.trace() for one in self._series], layout=self._layout)

    @property
    def text(self) -> str:
        """The chart in words."""
        if self._summary is not None:
            return self._summary()
        with self._changing:
            return describe(self._series, self._layout)

    def show(self, figure: go.Figure) -> None:
        """Show another figure in this place; only what differs is sent."""
        with self._changing:
            changed = self._take(figure)
        if changed:
            self._pump.changed()

    def append(self, trace: int, x: Any, y: Any) -> None:
        """Add points to the end of a trace, counted from 0.

        x, y: as many numbers (or times, for x, where the trace has times) each. Raises LeptonError for others, and
        where there is no such trace.
        """
        with self._changing:
            if not isinstance(trace, int) or not 0 <= trace < len(self._series):
                raise LeptonError(f"there is no trace {trace!r}; the chart has {len(self._series)}, counted from 0")
            self._series[trace].append(x, y)
            self._stale.add(trace)
            self._revision += 1
        self._pump.changed()

    @staticmethod
    def still(figure: go.Figure) -> dict[str, Any]:
        """A figure as an output of a notebook that needs no kernel: thinned for a page, and in words."""
        series = [Series(trace.to_plotly_json()) for trace in figure.data]
        layout = jsonable(figure.layout.to_plotly_json())
        return _still(series, layout, describe(series, layout))

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from lepton_nb.widgets.display import bundle

        with self._changing:
            # An app has no use for the picture.
            app = mode() == "app"
            still = {"text/plain": self.text} if app else _still(self._series, self._layout, self.text)
        return bundle(super()._repr_mimebundle_(**options), still)

    def _take(self, figure: go.Figure) -> bool:
        """Note how `figure` differs from what is there; False where it does not."""
        check_traces(figure)
        series = [Series(trace.to_plotly_json()) for trace in figure.data]
        given = figure.layout.to_plotly_json()
        # A template is most of a layout, and mostly the same.
        same = equal(given, self._given) and [one.dates for one in series] == [one.dates for one in self._series]
        layout = self._layout if same else jsonable(given)
        self._given = given
        for one in series:
            # Times come as numbers, which Plotly would take for numbers.
            if one.dates:
                layout.setdefault(one.axis, {}).setdefault("type", "date")
        stale, restyled = set(), set()
        whole, laid_out = len(series) != len(self._series), layout != self._layout
        if whole:
            self._sent = [None] * len(series)
        else:
            for index, (old, new) in enumerate(zip(self._series, series, strict=True)):
                if not old.same_options(new):
                    restyled.add(index)
                if not old.same_points(new):
                    stale.add(index)
                    if not old.begins(new):
                        self._sent[index] = None
        self._series, self._layout = series, layout
        self._whole, self._laid_out = self._whole or whole, self._laid_out or laid_out
        self._stale |= stale
        self._restyled |= restyled
        changed = whole or laid_out or bool(stale or restyled)
        self._revision += changed
        return changed

    @property
    def _points(self) -> int:
        return max(FEWEST_POINTS, POINTS_A_PIXEL * self._width)

    def _span(self, one: Series) -> tuple[float, float] | None:
        """What is shown of a trace's x axis; None: all of it."""
        axis = self._layout.get(one.axis) or {}
        followed = one.axis == "xaxis" or axis.get("matches") == "x" or (one.dates and self.over_time)
        if self.x_range is None or not followed:
            return None
        return ends_of(self.x_range, dates=one.dates)

    def _state(self) -> dict[str, Any]:
        """All that a view needs to begin with."""
        with self._changing:
            parts = []
            for index, one in enumerate(self._series):
                part: dict[str, Any] = {"index": index, "options": one.options}
                if one.grows:
                    x, y = one.drawn(self._points, self._span(one))
                    part |= {"x": {"dtype": "f8", "data": raw(x)}, "y": {"dtype": "f8", "data": raw(y)}}
                parts.append(part)
            return {
                "number": self._pump.number,
                "revision": self._revision,
                "whole": True,
                "layout": self._layout,
                "traces": parts,
                "text": f"{self.text} {KEYS}",
            }

    def _send_frame(self, number: int) -> None:
        with self._changing:
            buffers: list[memoryview] = []
            parts = []
            for index in range(len(self._series)) if self._whole else sorted(self._stale | self._restyled):
                parts.append(self._part(index, buffers))
            frame: dict[str, Any] = {"kind": "frame", "number": number, "whole": self._whole, "traces": parts}
            if self._whole or self._laid_out:
                frame["layout"] = self._layout
            if self._whole or self._worded != self._revision:
                frame["text"] = f"{self.text} {KEYS}"
                self._worded = self._revision
            self._whole = self._laid_out = False
            self._stale, self._restyled = set(), set()
        self.send(frame, buffers)

    def _part(self, index: int, buffers: list[memoryview]) -> dict[str, Any]:
        one = self._series[index]
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

    def _heard(self, _: Any, message: Mapping[str, Any], buffers: Any) -> None:
        kind = message.get("kind")
        if kind == "shown":
            self._pump.shown(int(message["number"]))
        elif kind == "ready":
            self._greet(int(message["seen"]), int(message["width"]))
        elif kind == "gone":
            self._pump.closed()
        elif kind == "width":
            if self._resize(int(message["width"])):
                self._pump.changed()
        elif kind == "idle":
            # Its answer, or a frame, was lost on the way: nothing else would tell.
            if int(message["number"]) < self._pump.number:
                self._send_again()
            else:
                self._pump.shown(int(message["number"]))
        elif kind == "again":
            self._send_again()

    def _send_again(self) -> None:
        with self._changing:
            self._whole = True
        self._pump.missed()

    def _greet(self, seen: int, width: int) -> None:
        """Take in a view that began with the state of revision `seen`."""
        with self._changing:
            current = seen == self._revision
            if not current:
                self._whole = True
            elif not self._pump.views:
                self._whole = self._laid_out = False
                self._stale, self._restyled = set(), set()
                self._worded = self._revision
            self._resize(width)
            current = current and not self._stale
        self._pump.opened(current=current)

    def _resize(self, width: int) -> bool:
        """Note how wide a view is; True where it has to be sent something for that."""
        with self._changing:
            if not NARROWER <= width / self._width <= WIDER:
                fewest = self._points
                self._width = max(1, width)
                self._thin_again(min(fewest, self._points))
            return bool(self._stale)

    def _moved(self, _: Any) -> None:
        with self._changing:
            self._thin_again(self._points)
            changed = bool(self._stale)
        if changed:
            self._pump.changed()

    def _thin_again(self, points: int) -> None:
        """Send lines anew of which not all points were or will be drawn, with room for so many of them."""
        self._stale |= {index for index, one in enumerate(self._series) if one.thins(points)}


def check_traces(figure: go.Figure) -> None:
    """Raises LeptonError for what the plotly.js of the package does not draw, and for what is no figure."""
    if not hasattr(figure, "data") or not hasattr(figure, "layout"):
        raise LeptonError(f"a live chart shows a figure of Plotly (go.Figure), not a {type(figure).__name__}")
    for trace in figure.data:
        if trace.type not in TRACES and trace.type != "scattergl":
            raise LeptonError(
                f"a live chart draws {', '.join(sorted(TRACES))}, not {trace.type}; display the figure itself instead",
                trace=trace.type,
            )


def _still(series: list[Series], layout: dict[str, Any], text: str) -> dict[str, Any]:
    traces = [jsonable(one.trace(POINTS_A_PIXEL * USUAL_WIDTH)) for one in series]
    return {PLOTLY: {"data": traces, "layout": layout}, "text/plain": text}
