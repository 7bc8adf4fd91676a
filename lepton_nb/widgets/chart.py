"""`LiveChart`: a Plotly figure that grows and changes in the browser while a kernel works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from ipywidgets import widget_serialization

from lepton_nb.environment import mode
from lepton_nb.errors import LeptonError
from lepton_nb.figures.plotly_js import TRACES
from lepton_nb.figures.series import ends_of
from lepton_nb.widgets.chart_state import PLOTLY as PLOTLY
from lepton_nb.widgets.chart_state import ChartState
from lepton_nb.widgets.library import library
from lepton_nb.widgets.pump import Pump

if TYPE_CHECKING:
    import plotly.graph_objects as go

STATIC = Path(__file__).parent / "static"
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
    _frame = traitlets.Any().tag(sync=True, to_json=lambda _, chart: chart._begin(), from_json=lambda value, _: value)
    label = traitlets.Unicode().tag(sync=True)
    # Names of traces that are not drawn.
    hidden: Any = traitlets.List(traitlets.Unicode()).tag(sync=True)
    x_range: Any = traitlets.List(default_value=None, allow_none=True).tag(sync=True)

    def __init__(self, figure: go.Figure, *, label: str = "", summary: Callable[[], str] | None = None) -> None:
        check_traces(figure)
        self._summary = summary
        self._state = ChartState()
        self._state.take(figure)
        self._pump = Pump(self._send_frame)
        title = (self._state.layout.get("title") or {}).get("text")
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
        with self._state.lock:
            return tuple(dict.fromkeys(one.name for one in self._state.series if one.name))

    @property
    def over_time(self) -> bool:
        """True where its x axis has times."""
        with self._state.lock:
            return self._state.over_time

    @property
    def figure(self) -> go.Figure:
        """The figure as it stands, with all its points."""
        import plotly.graph_objects as go

        with self._state.lock:
            return go.Figure(data=[one.trace() for one in self._state.series], layout=self._state.layout)

    @property
    def text(self) -> str:
        """The chart in words."""
        if self._summary is not None:
            return self._summary()
        with self._state.lock:
            return self._state.text

    def show(self, figure: go.Figure) -> None:
        """Show another figure in this place; only what differs is sent."""
        check_traces(figure)
        with self._state.lock:
            changed = self._state.take(figure)
        if changed:
            self._pump.changed()

    def append(self, trace: int, x: Any, y: Any) -> None:
        """Add points to the end of a trace, counted from 0.

        x, y: as many numbers (or times, for x, where the trace has times) each. Raises LeptonError for others, and
        where there is no such trace.
        """
        with self._state.lock:
            self._state.append(trace, x, y)
        self._pump.changed()

    @staticmethod
    def still(figure: go.Figure) -> dict[str, Any]:
        """A figure as an output of a notebook that needs no kernel: thinned for a page, and in words."""
        state = ChartState()
        state.take(figure)
        return state.still()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from lepton_nb.widgets.display import bundle

        with self._state.lock:
            # An app has no use for the picture.
            still = {"text/plain": self.text} if mode() == "app" else self._state.still(self.text)
        return bundle(super()._repr_mimebundle_(**options), still)

    def _begin(self) -> dict[str, Any]:
        """All that a view needs to begin with."""
        with self._state.lock:
            return self._state.whole() | {"number": self._pump.number, "text": f"{self.text} {KEYS}"}

    def _send_frame(self, number: int) -> None:
        with self._state.lock:
            frame, buffers, worded = self._state.frame()
            frame |= {"kind": "frame", "number": number}
            if worded:
                frame["text"] = f"{self.text} {KEYS}"
        self.send(frame, buffers)

    def _heard(self, _: Any, message: Mapping[str, Any], buffers: Any) -> None:
        kind = message.get("kind")
        if kind == "shown":
            self._pump.shown(int(message["number"]))
        elif kind == "ready":
            with self._state.lock:
                alone = not self._pump.views
                current = self._state.greet(int(message["seen"]), int(message["width"]), alone=alone)
            self._pump.opened(current=current)
        elif kind == "gone":
            self._pump.closed()
        elif kind == "width":
            with self._state.lock:
                self._state.resize(int(message["width"]))
            self._send_what_is_missing()
        elif kind == "idle":
            # Its answer, or a frame, was lost on the way: nothing else would tell.
            if int(message["number"]) < self._pump.number:
                self._send_again()
            else:
                self._pump.shown(int(message["number"]))
        elif kind == "again":
            self._send_again()

    def _send_again(self) -> None:
        with self._state.lock:
            self._state.lost()
        self._pump.missed()

    def _moved(self, _: Any) -> None:
        with self._state.lock:
            self._state.move(self.x_range)
        self._send_what_is_missing()

    def _send_what_is_missing(self) -> None:
        if self._state.behind:
            self._pump.changed()


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
