"""Figures of window results: a table from `WindowQuery.collect` in, a Plotly figure out."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.figures.palette import COLOURS
from lepton_nb.windowing.calendars import TICK_NS
from lepton_nb.windowing.spec import END, START, listed

if TYPE_CHECKING:
    import plotly.graph_objects as go

DASHES = ("solid", "dash", "dot", "dashdot")

# A line on a regular grid needs no x values, but a slot for each empty window; past this many slots a window,
# x values are smaller.
MOST_SLOTS_PER_WINDOW = 4

# By the length of a tick in nanoseconds: the type, and the format of what is less than a second.
TIMES = {1: (pl.Datetime("ns"), "%.9f"), 1_000: (pl.Datetime("us"), "%.6f"), 1_000_000: (pl.Datetime("ms"), "%.3f")}


def lines(
    table: pl.DataFrame,
    value: str,
    key: str | Sequence[str] | None = None,
    *,
    unit: str = "",
    title: str = "",
) -> go.Figure:
    """One line a key: the column `value` over the start of its window, in UTC.

    table: a window result, with column window_start. key: the key column or columns; needed where the table has
    several rows for a window. unit: of `value`, for the axis, such as "min". A null breaks the line, and so
    does a space between two windows into which one more would fit; a window with no neighbour is a dot. (Windows
    follow each other at the shortest step in the table, or at their length where that is shorter and the table has
    window_end.) Values are drawn in single precision.
    Raises WindowError for columns that are missing or cannot be drawn, and for several rows in one window.
    """
    import plotly.graph_objects as go

    keys = [] if key is None else [key] if isinstance(key, str) else list(key)
    drawn = _prepared(table, value, keys)
    suffix = f" {html.escape(unit, quote=False)}" if unit else ""
    tick_ns = _tick_ns(table)
    step = _step(table)
    seconds = "%S.%6f" if step * tick_ns % 1_000_000_000 else "%S"
    figure = go.Figure()
    series = list(_series(drawn, keys))
    for number, (label, start, values) in enumerate(series):
        style = {"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number // len(COLOURS) % len(DASHES)]}
        # By reference: text of the table must not be read as part of the template.
        extra = "%{fullData.name}" if keys else ""
        hover = f"%{{x|%Y-%m-%d %H:%M:{seconds}}} UTC<br>%{{y:.6~g}}{suffix}<extra>{extra}</extra>"
        figure.add_scatter(
            **_line(start, values, step, tick_ns),
            mode="lines",
            name=html.escape(label or value, quote=False),
            legendgroup=str(number),
            line={"width": 1.5, **style},
            hovertemplate=hover,
            connectgaps=False,
        )
        lonely = _alone(start, values, step)
        if lonely.any():
            figure.add_scatter(
                x=_times(start[lonely], tick_ns),
                y=values[lonely],
                mode="markers",
                legendgroup=str(number),
                showlegend=False,
                marker={"size": 3, "color": style["color"]},
                hoverinfo="skip",
            )
    figure.update_layout(
        template="plotly_white",
        title={"text": html.escape(title, quote=False)} if title else None,
        showlegend=len(series) > 1,
        legend={"title": {"text": html.escape(", ".join(keys), quote=False)}},
        hovermode="closest",
        xaxis={"type": "date", "title": {"text": "window start (UTC)"}},
        yaxis={"title": {"text": html.escape(f"{value} ({unit})" if unit else value, quote=False)}},
    )
    if not drawn.height:
        figure.add_annotation(text="no windows", showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5)
    return figure


def _prepared(table: pl.DataFrame, value: str, keys: list[str]) -> pl.DataFrame:
    """Columns key0, key1, ..., start (ticks since the epoch, UTC) and value (Float32), sorted; one row a window."""
    for column in (START, value, *keys):
        if column not in table.columns:
            raise WindowError.unknown("column", column, table.columns)
    dtype = table.schema[value]
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        raise WindowError(f"column {value!r} is {dtype}; a line needs numbers", column=value, dtype=str(dtype))
    if not isinstance(table.schema[START], pl.Datetime | pl.Date):
        raise WindowError(f"column {START!r} is {table.schema[START]}, not a time; give the result of collect()")
    if table.get_column(START).has_nulls():
        raise WindowError(f"column {START!r} has nulls; leave those rows out: table.drop_nulls({START!r})")
    by = [*_named(keys), "start"]
    drawn = table.select(
        *[pl.col(key).alias(name) for key, name in zip(keys, _named(keys), strict=True)],
        pl.Series("start", _ticks(table, START)),
        pl.col(value).cast(pl.Float32).alias("value"),
    ).sort(by)
    if drawn.select(by).is_duplicated().any():
        others = [c for c in table.columns if c not in (START, END, value, *keys)]
        raise WindowError(
            f"several rows share a window{' and key' if keys else ''}; give the columns that tell them apart as key "
            f"(the table also has {listed(others) or 'none'})"
        )
    return drawn


def _named(keys: list[str]) -> list[str]:
    return [f"key{number}" for number in range(len(keys))]


def _tick_ns(table: pl.DataFrame) -> int:
    dtype = table.schema[START]
    return TICK_NS[dtype.time_unit if isinstance(dtype, pl.Datetime) else "ms"]


def _ticks(table: pl.DataFrame, column: str) -> pl.Series:
    """Times in ticks of their own unit, which are exact; milliseconds for dates."""
    times = table.get_column(column)
    return (times.cast(pl.Datetime("ms")) if times.dtype == pl.Date else times).to_physical()


def _series(
    drawn: pl.DataFrame, keys: list[str]
) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """For each key its label, the starts of its windows and their values."""
    parts = drawn.partition_by(_named(keys), maintain_order=True) if keys else [drawn] if drawn.height else []
    for part in parts:
        label = " ".join("null" if key is None else str(key) for key in part.row(0)[: len(keys)])
        values = part.get_column("value").fill_null(float("nan")).to_numpy()
        yield label, part.get_column("start").to_numpy(), values


def _step(table: pl.DataFrame) -> int:
    """Ticks from the start of a window to that of the next; 0 where the table does not tell."""
    start = _ticks(table, START)
    steps = [start.unique().sort().diff().min()]
    if table.schema.get(END) == table.schema[START]:
        steps.append((_ticks(table, END) - start).min())
    return min((step for step in steps if isinstance(step, int) and step > 0), default=0)


def _line(start: npt.NDArray[np.int64], values: npt.NDArray[np.float32], step: int, tick_ns: int) -> dict[str, Any]:
    """x and y of a line with breaks; x as a start and a step where the windows lie on a regular grid."""
    if not step:
        return {"x": _times(start, tick_ns), "y": values}
    slots, rest = np.divmod(start - start[0], step)
    size = int(slots[-1]) + 1
    if not rest.any() and size <= MOST_SLOTS_PER_WINDOW * len(values):
        grid = np.full(size, np.nan, dtype=np.float32)
        grid[slots] = values
        step_ms = step * tick_ns / TICK_NS["ms"]
        dx = int(step_ms) if step_ms.is_integer() else step_ms
        return {"x0": _times(start[:1], tick_ns)[0], "dx": dx, "y": grid}
    # Civil days are up to an hour or so longer than the shortest, so only a wider space is a gap.
    after = np.flatnonzero(np.diff(start) >= 2 * step) + 1
    x = np.insert(start, after, start[after - 1] + step)
    return {"x": _times(x, tick_ns), "y": np.insert(values, after, np.float32("nan"))}


def _alone(start: npt.NDArray[np.int64], values: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.bool_]:
    """True for windows that no line reaches: both neighbours missing or null."""
    there = ~np.isnan(values)
    joined = there[1:] & there[:-1] & (np.diff(start) < 2 * step)
    return np.asarray(there & ~np.r_[False, joined] & ~np.r_[joined, False])


def _times(ticks: npt.NDArray[np.int64], tick_ns: int) -> list[str]:
    """As Plotly's date axis reads them, in UTC; shortened where all are whole seconds."""
    dtype, fraction = TIMES[tick_ns]
    form = "%Y-%m-%dT%H:%M:%S" + (fraction if (ticks % (1_000_000_000 // tick_ns)).any() else "")
    return pl.Series(ticks).cast(dtype).dt.strftime(form).to_list()
