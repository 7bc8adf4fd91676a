"""Figures of window results: a table from `WindowQuery.collect` in, a Plotly figure out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lepton_nb.errors import WindowError
from lepton_nb.figures.axes import check_numbers, check_times, key_label, moments, short, style, text, tick_ns, ticks
from lepton_nb.figures.drawing import say
from lepton_nb.windowing.calendars import TICK_NS
from lepton_nb.windowing.partials import named
from lepton_nb.windowing.spec import END, START, listed

if TYPE_CHECKING:
    import plotly.graph_objects as go

# A line on a regular grid needs no x values, but a slot for each empty window; past this many slots a window,
# x values are smaller.
MOST_SLOTS_PER_WINDOW = 4


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
    suffix = f" {text(unit)}" if unit else ""
    unit_ns = tick_ns(table.schema[START])
    step = _step(table)
    seconds = "%S.%6f" if step * unit_ns % 1_000_000_000 else "%S"
    figure = go.Figure()
    series = list(_series(drawn, keys))
    for number, (label, start, values) in enumerate(series):
        # By reference: text of the table must not be read as part of the template.
        extra = "%{fullData.name}" if keys else ""
        hover = f"%{{x|%Y-%m-%d %H:%M:{seconds}}} UTC<br>%{{y:.6~g}}{suffix}<extra>{extra}</extra>"
        figure.add_scatter(
            **_line(start, values, step, unit_ns),
            mode="lines",
            name=text(label or value),
            legendgroup=str(number),
            line={"width": 1.5, **style(number)},
            hovertemplate=hover,
            connectgaps=False,
        )
        lonely = _alone(start, values, step)
        if lonely.any():
            figure.add_scatter(
                x=moments(start[lonely], unit_ns),
                y=values[lonely],
                mode="markers",
                legendgroup=str(number),
                showlegend=False,
                marker={"size": 3, "color": style(number)["color"]},
                hoverinfo="skip",
            )
    figure.update_layout(
        template="plotly_white",
        title={"text": text(title)} if title else None,
        showlegend=len(series) > 1,
        legend={"title": {"text": text(short(", ".join(keys)))}},
        hovermode="closest",
        xaxis={"type": "date", "title": {"text": "window start (UTC)"}},
        yaxis={"title": {"text": text(short(f"{value} ({unit})" if unit else value))}},
    )
    if not drawn.height:
        say(figure, "no windows")
    return figure


def _prepared(table: pl.DataFrame, value: str, keys: list[str]) -> pl.DataFrame:
    """Columns key0, key1, ..., start (ticks since the epoch, UTC) and value (Float32), sorted; one row a window."""
    for column in (START, value, *keys):
        if column not in table.columns:
            raise WindowError.unknown("column", column, table.columns)
    check_numbers(table, value)
    check_times(table, START, "give the result of collect()")
    by = [*_named(keys), "start"]
    drawn = table.select(
        *[named(key).alias(name) for key, name in zip(keys, _named(keys), strict=True)],
        ticks(table.get_column(START)).alias("start"),
        named(value).cast(pl.Float32).alias("value"),
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


def _series(
    drawn: pl.DataFrame, keys: list[str]
) -> Iterator[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """For each key its label, the starts of its windows and their values."""
    parts = drawn.partition_by(_named(keys), maintain_order=True) if keys else [drawn] if drawn.height else []
    for part in parts:
        label = key_label(part.row(0)[: len(keys)])
        values = part.get_column("value").fill_null(float("nan")).to_numpy()
        yield label, part.get_column("start").to_numpy(), values


def _step(table: pl.DataFrame) -> int:
    """Ticks from the start of a window to that of the next; 0 where the table does not tell."""
    start = ticks(table.get_column(START))
    steps = [start.unique().sort().diff().min()]
    if table.schema.get(END) == table.schema[START]:
        steps.append((ticks(table.get_column(END)) - start).min())
    return min((step for step in steps if isinstance(step, int) and step > 0), default=0)


def _line(start: npt.NDArray[np.int64], values: npt.NDArray[np.float32], step: int, unit_ns: int) -> dict[str, Any]:
    """x and y of a line with breaks; x as a start and a step where the windows lie on a regular grid."""
    if not step:
        return {"x": moments(start, unit_ns), "y": values}
    slots, rest = np.divmod(start - start[0], step)
    size = int(slots[-1]) + 1
    if not rest.any() and size <= MOST_SLOTS_PER_WINDOW * len(values):
        grid = np.full(size, np.nan, dtype=np.float32)
        grid[slots] = values
        step_ms = step * unit_ns / TICK_NS["ms"]
        dx = int(step_ms) if step_ms.is_integer() else step_ms
        return {"x0": moments(start[:1], unit_ns)[0], "dx": dx, "y": grid}
    # Civil days are up to an hour or so longer than the shortest, so only a wider space is a gap.
    after = np.flatnonzero(np.diff(start) >= 2 * step) + 1
    x = np.insert(start, after, start[after - 1] + step)
    return {"x": moments(x, unit_ns), "y": np.insert(values, after, np.float32("nan"))}


def _alone(start: npt.NDArray[np.int64], values: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.bool_]:
    """True for windows that no line reaches: both neighbours missing or null."""
    there = ~np.isnan(values)
    joined = there[1:] & there[:-1] & (np.diff(start) < 2 * step)
    return np.asarray(there & ~np.r_[False, joined] & ~np.r_[joined, False])
