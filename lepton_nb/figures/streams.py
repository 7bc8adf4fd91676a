"""Figures of a stream: its windows, watermark and late rows on one time axis, and how the run went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import TYPE_CHECKING, Protocol

import polars as pl

from lepton_nb.events import Event
from lepton_nb.figures import prepared, traces
from lepton_nb.figures.axes import moment, short, text, tick_ns
from lepton_nb.figures.batches import Batch, batches, by_run, thinned
from lepton_nb.figures.palette import COLOURS, GREY
from lepton_nb.windowing.progress import byte_unit
from lepton_nb.windowing.spec import START

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_BATCHES = 2_000


class Stream(Protocol):
    """What `timeline_of` asks of a stream; a `StreamRun` is one."""

    @property
    def events(self) -> Sequence[Event]:
        """What happened so far."""

    def table(self) -> pl.DataFrame:
        """The results so far."""

    def late(self) -> pl.DataFrame:
        """Late rows so far."""

    def early(self) -> pl.DataFrame:
        """Windows that are still open."""


def timeline_of(
    stream: Stream,
    value: str,
    time: str,
    *,
    events: Sequence[Event] | None = None,
    since: date | None = None,
    unit: str = "",
    title: str = "",
) -> go.Figure:
    """`timeline` of a stream as it stands, running or over: its results, open windows, late rows and watermark.

    time: the query's column of event time. events: of a stream that went on from a checkpoint, those of the run before
    too, `[*before.events, *stream.events]`; its own if left out. since: draw from this event time on.
    """
    table = stream.table()
    return timeline(
        table,
        value,
        table.columns[: table.columns.index(START)],
        late=stream.late(),
        time=time,
        early=stream.early(),
        watermark=stream.events if events is None else events,
        since=since,
        unit=unit,
        title=title,
    )


def timeline(
    table: pl.DataFrame,
    value: str,
    key: str | Sequence[str] | None = None,
    *,
    late: pl.DataFrame | None = None,
    time: str = "",
    early: pl.DataFrame | None = None,
    watermark: date | Sequence[Event] | None = None,
    since: date | None = None,
    unit: str = "",
    title: str = "",
) -> go.Figure:
    """Windows, watermark and late rows of a stream over event time, in UTC.

    Above, each window is a bar from window_start to window_end at the height of its `value`, one colour a key; bars
    that touch are joined. Where windows of a key overlap (sliding, cumulating), each is a point at its window_end
    instead, and a line joins them. A vertical line is the watermark now.

    Below, with `watermark` as events, the way of the watermark: where it stood how many seconds into the run. A late
    row lies to its left: at its own time, and at the moment at which its batch was done. Without events, late rows have
    a lane for each key.

    table: a window result, from `StreamRun.table` or `collect`. key: its key columns. late: from `StreamRun.late`, with
    `time` the column of event time; past 2,000 rows, neighbours are one mark, and a larger one. early: windows that are
    still open, from `StreamRun.early`, drawn dotted. watermark: its time now, or the events of a run (or of several,
    one after the other). since: draw from this event time on; all of it if left out. unit: of `value`, such as "min".

    Nulls are not drawn. Raises WindowError for columns that are missing or cannot be drawn, for several rows with the
    same window and key, and for more than 20,000 windows.
    """
    from plotly.subplots import make_subplots

    keys = [] if key is None else [key] if isinstance(key, str) else list(key)
    run = [] if watermark is None or isinstance(watermark, date) else batches(watermark)
    closed = prepared.windows(table, value, keys, since)
    opened = None if early is None else prepared.windows(early, value, keys, since)
    rows = None if late is None else prepared.late_rows(late, time, keys, run, since)
    numbers = prepared.numbered([frame for frame in (closed, opened, rows) if frame is not None], keys)
    below = bool(run) or (rows is not None and rows.height > 0)
    suffix = f" {text(unit)}" if unit else ""

    figure = make_subplots(
        rows=2 if below else 1,
        shared_xaxes=True,
        row_heights=[0.6, 0.4] if below else [1],
        vertical_spacing=0.1,
        subplot_titles=["", _said(run, 0 if rows is None else int(rows.get_column("count").sum()))] if below else [""],
    )
    drawn: set[int] = set()
    for frame, source, dash in ((closed, table, None), (opened, early, "dot")):
        if frame is not None and source is not None:
            unit_ns = tick_ns(source.schema[START])
            for number, label, part in prepared.parts(frame.drop_nulls("value"), keys, numbers):
                trace = traces.bars(part, unit_ns, number, label, suffix, dash)
                figure.add_scatter(**trace, showlegend=number not in drawn and bool(keys), row=1, col=1)
                drawn.add(number)
    if opened is not None and opened.height:
        figure.add_scatter(
            x=[None], y=[None], mode="lines", name="still open", line={"color": GREY, "width": 1.5, "dash": "dot"}
        )
    if run:
        seen = [batch for batch in run if since is None or (batch.latest and moment(batch.latest) >= moment(since))]
        for trace in traces.way(thinned(seen, MOST_BATCHES)):
            figure.add_scatter(**trace, row=2, col=1)
    if late is not None and rows is not None and rows.height:
        unit_ns = tick_ns(late.schema[time])
        for number, label, part in prepared.parts(rows, keys, numbers):
            figure.add_scatter(**traces.marks(part, unit_ns, number, label, run), row=2, col=1)
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name="late row", marker=traces.mark(GREY, 8), row=2, col=1
        )
    now = watermark if isinstance(watermark, date) else run[-1].watermark if run else None
    if now is not None:
        _add_now(figure, moment(now))
    _lay_out(figure, keys, text(short(f"{value} ({unit})" if unit else value)), text(title), below, bool(run))
    if not drawn:
        figure.add_annotation(text="no windows", showarrow=False, xref="x domain", yref="y domain", x=0.5, y=0.5)
    return figure


def _said(run: Sequence[Batch], count: int) -> str:
    rows = "1 late row" if count == 1 else f"{count:,} late rows"
    if not run:
        return rows
    return f"Where the watermark stood, and when {rows} came" if count else "Where the watermark stood; no late rows"


def _add_now(figure: go.Figure, now: str) -> None:
    figure.add_shape(
        type="line",
        xref="x",
        yref="paper",
        x0=now,
        x1=now,
        y0=0,
        y1=1,
        line={"color": traces.INK, "width": 1, "dash": "dash"},
    )
    figure.add_annotation(text="watermark", showarrow=False, xref="x", yref="paper", x=now, y=1, yanchor="bottom")


def _lay_out(figure: go.Figure, keys: Sequence[str], value: str, title: str, below: bool, clock: bool) -> None:
    last = 2 if below else 1
    figure.update_layout(
        template="plotly_white",
        title={"text": title} if title else None,
        height=600 if below else 400,
        margin={"t": 60 if title else 30, "b": 60, "l": 70, "r": 20},
        hovermode="closest",
        showlegend=bool(keys) or below,
        legend={"title": {"text": text(short(", ".join(keys)))}, "tracegroupgap": 0},
    )
    figure.update_xaxes(type="date", tickangle=0)
    figure.update_xaxes(title={"text": "event time (UTC)"}, row=last, col=1)
    figure.update_yaxes(title={"text": value}, row=1, col=1)
    if below:
        figure.update_annotations(x=0, xanchor="left", font={"size": 14}, selector={"xref": "paper"})
        lane = {"title": {"text": "seconds into the run"}} if clock else {"type": "category", "autorange": "reversed"}
        figure.update_yaxes(lane, row=2, col=1)


def progress(events: Sequence[Event], *, title: str = "") -> go.Figure:
    """How a stream ran, over the seconds since its first batch: throughput, lag, late rows and the size of its state.

    events: `StreamRun.events`; those of several runs may follow each other. Throughput is over the last 10 s. Lag is
    what the source has and the stream has not read. The state is what the open windows take.
    Raises WindowError for events that are not a stream's.
    """
    return course(thinned(batches(events), MOST_BATCHES), title=title)


def course(run: Sequence[Batch], *, title: str = "") -> go.Figure:
    """`progress` of batches that are kept already, such as those of a `lepton_nb.figures.batches.Course`."""
    from plotly.subplots import make_subplots

    size, unit = byte_unit(max((batch.state_bytes for batch in run), default=0))
    panels: list[tuple[str, str, Callable[[Batch], float | None]]] = [
        ("throughput (rows/s)", "rows/s", lambda batch: batch.rows_per_s),
        ("lag (rows not read yet)", "rows", lambda batch: batch.lag_rows),
        ("late rows so far", "rows", lambda batch: batch.late),
        (f"state of the open windows ({unit})", unit, lambda batch: batch.state_bytes / size),
    ]
    figure = make_subplots(
        rows=2,
        cols=2,
        shared_xaxes=True,
        vertical_spacing=0.16,
        horizontal_spacing=0.1,
        subplot_titles=[name for name, _, _ in panels],
    )
    for number, (_, unit, read) in enumerate(panels):
        line = by_run(run, x=lambda batch: batch.seconds, y=read)
        figure.add_scatter(
            x=line["x"],
            y=line["y"],
            mode="lines+markers" if len(run) < 3 else "lines",
            line={"width": 1.5, "color": COLOURS[number]},
            hovertemplate=f"%{{y:,.4~r}} {unit}<br>%{{x:.2f}} s into the run<extra></extra>",
            row=number // 2 + 1,
            col=number % 2 + 1,
        )
    figure.update_layout(
        template="plotly_white",
        title={"text": text(title)} if title else None,
        height=480,
        margin={"t": 80 if title else 40, "b": 60, "l": 60, "r": 20},
        showlegend=False,
        hovermode="closest",
    )
    figure.update_annotations(font={"size": 14})
    figure.update_xaxes(title={"text": "seconds into the run"}, row=2)
    figure.update_yaxes(rangemode="tozero")
    for number, rows in ((2, [batch.lag_rows or 0 for batch in run]), (3, [batch.late for batch in run])):
        if max(rows, default=0) < 5:
            # There are no half rows.
            figure.update_yaxes({"dtick": 1}, selector={"anchor": f"x{number}"})
    if not run:
        figure.add_annotation(text="no batch yet", showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
    elif all(batch.lag_rows is None for batch in run):
        figure.add_annotation(
            text="the source cannot tell", showarrow=False, xref="x2 domain", yref="y2 domain", x=0.5, y=0.5
        )
    return figure
